"""Writing files into the layer that is being made, as if the layers below were mounted under it.

``changes`` is the directory of the new layer, ``lowers`` those below, top first (none where
``changes`` is a full copy). Nothing is mounted, and no path leads out of the root.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.build.merged import Found, MergedTree, Parts
from workbench.build.modes import ModeChange
from workbench.errors import Denied, InvalidInput, Unavailable, Unsupported
from workbench.store.snapshots import Snapshotter
from workbench.store.tree import Tree

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK: Final = 1 << 24
_KEPT: Final = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Owner, mode and time that what is placed gets. ``mtime_ns`` None keeps the source's."""

    uid: int
    gid: int
    mode: int
    mtime_ns: int


class Placer:
    """Use as a context manager; directory times are set when it ends. Belongs to one thread.

    ``now_ns`` is the time of directories that are made on the way. ``alone`` does not look at the
    layers below, where these lie apart.
    """

    def __init__(
        self, snapshotter: Snapshotter, key: str, *, now_ns: int | None = None, alone: bool = False
    ) -> None:
        changes, lowers = snapshotter.changes(key), snapshotter.lowers(key)
        lowers = () if alone else lowers
        self._tree = Tree(
            changes,
            lowers,
            overlay=bool(lowers),
            user=snapshotter.user_attributes,
        )
        self.view = MergedTree([changes, *lowers])
        self._now = time.time_ns() if now_ns is None else now_ns
        self._times: dict[Parts, int] = {}
        self._names: dict[Parts, dict[str, bool]] = {}
        self._links: dict[tuple[int, int], tuple[Parts, str]] = {}

    def __enter__(self) -> Placer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._tree:
            if kind is None:
                self._set_times()

    def _set_times(self) -> None:
        implicit = {
            place: self._now if mtime is None else mtime
            for place, mtime in self._tree.implicit.items()
        }
        for place in sorted({**implicit, **self._times}, key=len, reverse=True):
            mtime = self._times.get(place, implicit.get(place, self._now))
            self._tree.tidy()
            os.utime(self._tree.fd(place), ns=(mtime, mtime))

    # -- directories

    def is_dir(self, parts: Parts) -> bool | None:
        """Whether a directory lies there, links followed; None where there is nothing."""
        status = self.view.status(self.view.resolve(parts))
        return None if status is None else stat.S_ISDIR(status.st_mode)

    def make_directory(self, parts: Parts, uid: int, gid: int, mode: int = 0o755) -> Parts:
        """Make a directory and its parents where they are missing; where it really lies.

        Only what is made gets the owner and mode.
        """
        real = self.view.resolve(parts)
        self._refuse_file(real)
        place = self._enter(parts)
        for end in range(1, len(place) + 1):
            here = place[:end]
            if self._ours(here) and here not in self._times:
                self.set_directory(here, Facts(uid=uid, gid=gid, mode=mode, mtime_ns=self._now))
                self._names[here] = {}
        for end in range(1, len(place) + 1):
            if self._ours(place[:end]) and not self._ours(place[: end - 1]):
                self._remember_time(place[: end - 1])
        return place

    def _refuse_file(self, parts: Parts) -> None:
        for end in range(1, len(parts) + 1):
            status = self.view.status(parts[:end])
            if status is None:
                return
            if not stat.S_ISDIR(status.st_mode):
                raise InvalidInput(f"cannot copy to non-directory: /{'/'.join(parts[:end])}")

    def _enter(self, parts: Parts) -> Parts:
        self._tree.tidy()
        return self._tree.directory(parts)

    def directory(self, parent: Parts, name: str, facts: Facts, *, overwrite: bool) -> Parts:
        """A directory below ``parent`` (a real place) with its facts; an existing one keeps its
        own unless ``overwrite``. Raises InvalidInput where something else is there."""
        place = (*parent, name)
        there = self._known(parent).get(name)
        if there is False:
            raise InvalidInput(f"cannot copy to non-directory: /{'/'.join(place)}")
        if there is None:
            self._remember_time(parent)
        self._enter_child(place)
        self._known(parent)[name] = True
        if there is None:
            self._names[place] = {}
        if there is None or overwrite:
            self.set_directory(place, facts)
        return place

    def _enter_child(self, place: Parts) -> None:
        real = self._enter(place)
        if real != place:
            raise InvalidInput(f"cannot copy to non-directory: /{'/'.join(place)}")

    def _remember_time(self, place: Parts) -> None:
        """Let a directory that is there keep its time, whatever is put into it."""
        if place not in self._times and place not in self._tree.implicit:
            self._times[place] = os.fstat(self._tree.fd(place)).st_mtime_ns

    def set_directory(self, place: Parts, facts: Facts) -> None:
        """Owner, mode and time of a directory that is there."""
        fd = self._tree.fd(place)
        self._set_owner(fd, facts.uid, facts.gid)
        os.fchmod(fd, facts.mode)
        self._times[place] = facts.mtime_ns

    def _known(self, place: Parts) -> dict[str, bool]:
        """The names in a directory as it is seen, and whether each is a directory."""
        names = self._names.get(place)
        if names is None:
            names = {item.name: item.is_dir for item in self.view.children(place)}
            self._names[place] = names
        return names

    # -- files

    def file(self, parent: Parts, name: str, source: Found, facts: Facts) -> None:
        """Copy a regular file, or link it to where an earlier name of it went."""
        inside = self._free(parent, name)
        identity = (source.status.st_dev, source.status.st_ino)
        if source.status.st_nlink > 1 and identity in self._links:
            self._hard_link(self._links[identity], inside, name)
            return
        reader = source.open()
        try:
            writer = os.open(name, _NEW, 0o600, dir_fd=inside)
            try:
                _copy_bytes(reader, writer, source.status.st_size)
                self._finish(writer, facts)
                _copy_attributes(reader, writer)
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        if source.status.st_nlink > 1:
            self._links[identity] = (parent, name)

    def _hard_link(self, first: tuple[Parts, str], inside: int, name: str) -> None:
        os.link(
            first[1], name, src_dir_fd=self._tree.fd(first[0]), dst_dir_fd=inside,
            follow_symlinks=False,
        )  # fmt: skip

    def write(self, parent: Parts, name: str, data: bytes, facts: Facts) -> None:
        """A regular file with this content."""
        inside = self._free(parent, name)
        writer = os.open(name, _NEW, 0o600, dir_fd=inside)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(writer, view) :]
            self._finish(writer, facts)
        finally:
            os.close(writer)

    def _finish(self, fd: int, facts: Facts) -> None:
        self._set_owner(fd, facts.uid, facts.gid)
        # After the owner: chown(2) clears the set-id bits.
        os.fchmod(fd, facts.mode)
        os.utime(fd, ns=(facts.mtime_ns, facts.mtime_ns))

    def link(self, parent: Parts, name: str, text: str, facts: Facts) -> None:
        """A symbolic link."""
        inside = self._free(parent, name)
        os.symlink(text, name, dir_fd=inside)
        self._owner_by_name(name, inside, facts)
        times = (facts.mtime_ns, facts.mtime_ns)
        os.utime(name, ns=times, dir_fd=inside, follow_symlinks=False)

    def node(self, parent: Parts, name: str, status: os.stat_result, facts: Facts) -> None:
        """A pipe or device, as in another stage."""
        inside = self._free(parent, name)
        try:
            os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=inside)
        except PermissionError as error:
            raise Unsupported(f"cannot make the device {name}: {error}") from error
        self._owner_by_name(name, inside, facts)
        os.chmod(name, facts.mode, dir_fd=inside)
        os.utime(name, ns=(facts.mtime_ns, facts.mtime_ns), dir_fd=inside)

    def _free(self, parent: Parts, name: str) -> int:
        """The open directory, where ``name`` can be made now. Raises InvalidInput for a directory
        that would be replaced."""
        self._tree.tidy()
        inside = self._tree.fd(parent)
        self._remember_time(parent)
        names = self._known(parent)
        if names.get(name):
            raise InvalidInput(
                f"cannot replace to directory /{'/'.join((*parent, name))} with file"
            )
        if name in names or not self._ours(parent):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=inside)
        names[name] = False
        return inside

    def _ours(self, parent: Parts) -> bool:
        """Whether the directory holds no more than what we put there."""
        return parent in self._tree.implicit and self._tree.implicit[parent] is None

    def _owner_by_name(self, name: str, inside: int, facts: Facts) -> None:
        try:
            os.chown(name, facts.uid, facts.gid, dir_fd=inside, follow_symlinks=False)
        except PermissionError as error:
            self._refused(error, facts.uid, facts.gid)

    def _set_owner(self, fd: int, uid: int, gid: int) -> None:
        try:
            os.fchown(fd, uid, gid)
        except PermissionError as error:
            self._refused(error, uid, gid)

    @staticmethod
    def _refused(error: OSError, uid: int, gid: int) -> None:
        # Without root all files are the user's, whom the container sees as root.
        if (uid, gid) != (0, 0):
            raise Denied(
                f"cannot give a file to {uid}:{gid}: {error}",
                hint="this needs root, or a range of ids in /etc/subuid",
            ) from error

    def forget(self) -> None:
        """Look at the directories anew, after somebody else wrote into them."""
        self._names.clear()


def _copy_bytes(reader: int, writer: int, size: int) -> None:
    """All that is in a file; the kernel moves the bytes where it can."""
    copied = 0
    try:
        while count := os.copy_file_range(reader, writer, _CHUNK):
            copied += count
        return
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Unavailable(f"no space left for the layer: {error}") from error
        if copied:
            raise
    try:
        while data := os.read(reader, 1 << 20):
            view = memoryview(data)
            while view:
                view = view[os.write(writer, view) :]
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable(f"no space left for the layer: {error}") from error
        raise


def _copy_attributes(reader: int, writer: int) -> None:
    """The extended attributes that a layer keeps."""
    try:
        names = os.listxattr(reader)
    except OSError:
        return
    for name in names:
        if name in _KEPT:
            with suppress(PermissionError):
                os.setxattr(writer, name, os.getxattr(reader, name))


def facts_of(
    found: Found,
    *,
    owner: tuple[int, int] | None,
    change: ModeChange | None,
    latest_ns: int | None,
) -> Facts:
    """The facts of a copy: those of the source, but for what the step says.

    ``latest_ns`` bounds the time, as SOURCE_DATE_EPOCH with rewritten times asks for.
    """
    mode = stat.S_IMODE(found.status.st_mode)
    if change is not None and not found.is_link:
        mode = change.apply(mode, directory=found.is_dir)
    uid, gid = owner or (found.status.st_uid, found.status.st_gid)
    mtime = found.status.st_mtime_ns
    return Facts(
        uid=uid,
        gid=gid,
        mode=mode,
        mtime_ns=mtime if latest_ns is None else min(mtime, latest_ns),
    )


def root_of(path: Path) -> MergedTree:
    """A plain directory as a tree in which everything is seen."""
    return MergedTree([path], overlay=False)
