"""Snapshots as directories of overlayfs: each holds what it changes, mounts stack them.

    ROOT/<number>/fs      the changes        ROOT/<number>/work    overlayfs's own, while active

Numbers are short, since the kernel takes at most one page of mount options.
Source: the kernel's ``Documentation/filesystems/overlayfs.rst``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from workbench.linux.mount import Mount
from workbench.store.access import TreeAccess
from workbench.store.capture import Member, Notice
from workbench.store.options import Whiteouts, ignore
from workbench.store.recorded import RecordedSnapshotter
from workbench.store.records import Record
from workbench.store.snapshots import Kind


class OverlaySnapshotter(RecordedSnapshotter):
    """A ``Snapshotter`` over overlayfs. ``userxattr`` is for mounts made without root, ``access``
    for trees whose files this process may not read or remove itself."""

    whiteouts = Whiteouts.OVERLAY

    def __init__(
        self, root: Path, *, userxattr: bool = False, access: TreeAccess | None = None
    ) -> None:
        super().__init__(root, access)
        self.user_attributes = userxattr

    def prepare(self, key: str, parent: str | None) -> list[Mount]:
        return self._mounts(self._records.create(key, parent, Kind.ACTIVE, _fill))

    def view(self, key: str, parent: str | None) -> list[Mount]:
        return self._mounts(self._records.create(key, parent, Kind.VIEW, _fill))

    def commit(self, key: str, name: str) -> None:
        record = self._records.commit(key, name)
        # Only an empty one goes; what overlayfs left in it goes with the snapshot.
        with suppress(OSError):
            (record.path / "work" / "work").rmdir()
        with suppress(OSError):
            (record.path / "work").rmdir()

    def mounts(self, key: str) -> list[Mount]:
        return self._mounts(self._records.find(key, Kind.ACTIVE, Kind.VIEW))

    def _mounts(self, record: Record) -> list[Mount]:
        own, *below = self._records.chain(record.number)
        lowers = [self._tree(number) for number in below]
        writable = record.kind is Kind.ACTIVE
        access = "rw" if writable else "ro"
        if not lowers or (not writable and len(lowers) == 1):
            source = lowers[0] if lowers else self._tree(own)
            return [Mount(type="bind", source=source, options=("rbind", access))]
        escaped = [_escape(path, "\\:,") for path in lowers]
        options = [f"lowerdir={':'.join(escaped)}"]
        if writable:
            upper, work = self._tree(own), f"{record.path}/work"
            options += [f"upperdir={_escape(upper, ',')}", f"workdir={_escape(work, ',')}"]
        else:
            options.append("ro")
        if self.user_attributes:
            options.append("userxattr")
        return [Mount(type="overlay", source="overlay", options=tuple(options))]

    def _tree(self, number: str) -> str:
        return f"{self._records.root}/{number}/fs"

    def changes(self, key: str) -> Path:
        return self._records.find(key).path / "fs"

    def lowers(self, key: str) -> tuple[Path, ...]:
        chain = self._records.chain(self._records.find(key).number)
        return tuple(Path(self._tree(number)) for number in chain[1:])

    def members(self, key: str, *, notice: Notice = ignore) -> Iterator[Member]:
        access = self._records.access
        return access.members(self.changes(key), lowers=self.lowers(key), notice=notice)


def _escape(path: str, special: str) -> str:
    """A path as overlayfs reads it, where some characters have a meaning."""
    return "".join("\\" + char if char in special else char for char in path)


def _fill(path: Path, parent: Path | None) -> None:
    """The directories of a new snapshot; its root looks as the parent's, which it will cover."""
    tree = path / "fs"
    tree.mkdir(mode=0o755)
    (path / "work").mkdir(mode=0o700)
    if parent is None:
        tree.chmod(0o755)
        return
    found = (parent / "fs").stat()
    with suppress(PermissionError):
        os.chown(tree, found.st_uid, found.st_gid)
    tree.chmod(stat.S_IMODE(found.st_mode))
