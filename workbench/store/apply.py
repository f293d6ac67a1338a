"""Unpacking one layer: each member of a tar becomes a file in a directory, or removes one.

In: a stream of tar bytes. Out: a tree, and what ``AppliedLayer`` says. Owners, modes, times, hard
links, devices and the extended attributes of ``layer.py`` are kept.
Source: image-spec ``layer.md``.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from workbench.errors import Corrupt, Denied, Unavailable
from workbench.store.lower import names_in, status
from workbench.store.options import ApplyOptions, Whiteouts
from workbench.store.tar_entry import TarEntry
from workbench.store.tar_read import TarReader
from workbench.store.tree import Parts, Tree, split
from workbench.store.whiteouts import (
    META,
    OPAQUE,
    attributes_of,
    is_private,
    is_whiteout,
    make_whiteout,
    set_opaque,
    whiteout_target,
)

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES: Final = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}
_KEPT: Final = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")


class Unpacker:
    """Puts the members of one layer into one tree. Use ``layer.apply``."""

    def __init__(self, reader: TarReader, root: Path, options: ApplyOptions) -> None:
        self._reader = reader
        self._options = options
        self._overlay = options.whiteouts is Whiteouts.OVERLAY
        self._tree = Tree(root, options.lowers, overlay=self._overlay, user=options.user_attributes)
        # Inodes of this layer: a whiteout removes only what lower layers brought.
        self._ours: set[int] = set()
        self._times: dict[Parts, int] = {}
        self._closed: dict[Parts, int] = {}
        self.size = 0

    def run(self) -> None:
        """Unpack every member; directories' times and modes come last."""
        with self._tree:
            for entry in self._reader:
                self._tree.tidy()
                with _naming(entry):
                    self._member(entry)
                self._options.observe(entry)
            self._set_times()

    def _member(self, entry: TarEntry) -> None:
        parts = split(entry.name)
        if not parts:
            if entry.kind == "dir":
                self._directory_facts(entry, ())
            return
        base = parts[-1]
        if base.startswith(META) and base != OPAQUE:
            return
        here = self._tree.directory(parts[:-1])
        if base == OPAQUE:
            self._opaque(here)
        elif (target := whiteout_target(base)) is not None:
            self._whiteout(here, target)
        elif entry.kind == "dir":
            self._directory(entry, here, base)
        else:
            self._other(entry, here, base)

    # -- members that are there

    def _directory(self, entry: TarEntry, here: Parts, base: str) -> None:
        place = (*here, base)
        inside = self._tree.fd(here)
        found = status(base, inside)
        if found is None or not stat.S_ISDIR(found.st_mode):
            hidden = found is not None and self._overlay and is_whiteout(found)
            if found is not None:
                self._tree.remove(here, base)
            os.mkdir(base, 0o700, dir_fd=inside)
            if hidden:
                set_opaque(self._tree.fd(place), user=self._options.user_attributes)
        self._directory_facts(entry, place)

    def _directory_facts(self, entry: TarEntry, place: Parts) -> None:
        fd = self._tree.fd(place)
        self._facts(entry, fd)
        self._times[place] = entry.mtime_ns
        self._closed.pop(place, None)
        if entry.mode & 0o700 != 0o700:
            # Without root nothing can be put into it otherwise; its own mode comes last.
            self._closed[place] = entry.mode
            os.fchmod(fd, entry.mode | 0o700)
        self._remember(fd)

    def _other(self, entry: TarEntry, here: Parts, base: str) -> None:
        try:
            self._make(entry, here, base)
        except FileExistsError:
            self._replace(entry, here, base)

    def _replace(self, entry: TarEntry, here: Parts, base: str) -> None:
        place = (*here, base)
        if entry.kind == "hardlink" and self._link_place(entry) == place:
            return
        was = status(base, self._tree.fd(here))
        self._tree.remove(here, base)
        if was is not None and stat.S_ISDIR(was.st_mode):
            self._times = {
                key: value for key, value in self._times.items() if key[: len(place)] != place
            }
        self._make(entry, here, base)

    def _make(self, entry: TarEntry, here: Parts, base: str) -> None:
        if entry.kind == "file":
            self._file(entry, self._tree.fd(here), base)
        elif entry.kind == "hardlink":
            self._hard_link(entry, here, base)
        elif entry.kind == "symlink":
            fd = self._tree.fd(here)
            os.symlink(entry.target, base, dir_fd=fd)
            self._facts_by_name(entry, fd, base)
        else:
            self._node(entry, self._tree.fd(here), base)

    def _file(self, entry: TarEntry, inside: int, base: str) -> None:
        fd = os.open(base, _NEW, 0o600, dir_fd=inside)
        try:
            at = 0
            for offset, piece in self._reader.data():
                if offset != at:
                    os.lseek(fd, offset, os.SEEK_SET)
                _write(fd, piece)
                at = offset + len(piece)
            if at != entry.size:
                os.ftruncate(fd, entry.size)
            self.size += entry.size
            self._facts(entry, fd)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            self._remember(fd)
        finally:
            os.close(fd)

    def _hard_link(self, entry: TarEntry, here: Parts, base: str) -> None:
        *folder, name = self._link_place(entry)
        inside = self._tree.fd(tuple(folder))
        found = status(name, inside)
        if found is None or (self._overlay and is_whiteout(found)):
            if found is not None or not self._copy_up(tuple(folder), name):
                raise Corrupt(
                    f"{entry.name!r} is a hard link to {entry.target!r}, which is missing"
                )
        elif stat.S_ISDIR(found.st_mode):
            raise Corrupt(f"{entry.name!r} is a hard link to the directory {entry.target!r}")
        os.link(
            name, base, src_dir_fd=inside, dst_dir_fd=self._tree.fd(here), follow_symlinks=False
        )
        if found is not None:
            self._ours.add(found.st_ino)

    def _link_place(self, entry: TarEntry) -> Parts:
        parts = split(entry.target)
        if not parts:
            raise Corrupt(f"{entry.name!r} is a hard link to the root")
        return (*self._tree.directory(parts[:-1]), parts[-1])

    def _copy_up(self, folder: Parts, name: str) -> bool:
        """Bring a file of the layers below into this one, as overlayfs does for link(2)."""
        with self._tree.lower.open((*folder, name)) as source:
            if source is None:
                return False
            origin, found = source
            fd = os.open(name, _NEW, 0o600, dir_fd=self._tree.fd(folder))
            try:
                while os.sendfile(fd, origin, None, 1 << 30):
                    pass
                if self._options.owners:
                    os.fchown(fd, found.st_uid, found.st_gid)
                os.fchmod(fd, stat.S_IMODE(found.st_mode))
                for key in set(_KEPT) & set(attributes_of(origin)):
                    os.setxattr(fd, key, os.getxattr(origin, key))
                os.utime(fd, ns=(found.st_mtime_ns, found.st_mtime_ns))
            finally:
                os.close(fd)
        return True

    def _node(self, entry: TarEntry, inside: int, base: str) -> None:
        device = os.makedev(entry.major, entry.minor)
        if entry.kind == "char" and not device:
            self._options.notice(f"{entry.name}: a device 0/0 is left out; it would hide files")
            return
        if entry.kind != "fifo" and not self._options.devices:
            self._options.notice(f"{entry.name}: a device is left out, since it needs root")
            return
        os.mknod(base, _NODES[entry.kind] | 0o600, device, dir_fd=inside)
        self._facts_by_name(entry, inside, base)

    # -- members that remove

    def _whiteout(self, here: Parts, name: str) -> None:
        inside = self._tree.fd(here)
        found = status(name, inside)
        if not self._overlay:
            if found is not None:
                self._remove_older(here, name, found)
        elif found is None:
            make_whiteout(name, inside)
        elif stat.S_ISDIR(found.st_mode):
            # The same layer brings a new directory of that name: only what is below goes.
            set_opaque(self._tree.fd((*here, name)), user=self._options.user_attributes)

    def _opaque(self, here: Parts) -> None:
        fd = self._tree.fd(here)
        if not self._overlay:
            for name in names_in(fd):
                found = status(name, fd)
                if found is not None:
                    self._remove_older(here, name, found)
        elif here:
            set_opaque(fd, user=self._options.user_attributes)
        else:
            # overlayfs merges the roots of all layers whatever their attributes say.
            for name in sorted(self._tree.lower.names()):
                self._whiteout((), name)

    def _remove_older(self, here: Parts, name: str, found: os.stat_result) -> None:
        """Remove what lower layers brought; members of this layer stay, with their parents."""
        place = (*here, name)
        if not stat.S_ISDIR(found.st_mode):
            if found.st_ino not in self._ours:
                self._tree.remove(here, name)
            return
        fd = self._tree.fd(place)
        for inner in names_in(fd):
            below = status(inner, fd)
            if below is not None:
                self._remove_older(place, inner, below)
        if found.st_ino not in self._ours and not names_in(fd):
            self._tree.remove(here, name)

    # -- what a member says of itself

    def _facts(self, entry: TarEntry, fd: int) -> None:
        if self._options.owners:
            os.fchown(fd, entry.uid, entry.gid)
        # After the owner, whose change clears the set-id bits; attributes after both.
        os.fchmod(fd, entry.mode)
        for key, value in entry.xattrs.items():
            self._attribute(entry, fd, key, value)

    def _facts_by_name(self, entry: TarEntry, inside: int, base: str) -> None:
        if self._options.owners:
            os.chown(base, entry.uid, entry.gid, dir_fd=inside, follow_symlinks=False)
        if entry.kind != "symlink":
            os.chmod(base, entry.mode, dir_fd=inside)
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=inside, follow_symlinks=False)
        found = status(base, inside)
        if found is not None:
            self._ours.add(found.st_ino)

    def _attribute(self, entry: TarEntry, fd: int, key: str, value: bytes) -> None:
        if is_private(key) or not (key in _KEPT or key.startswith("user.")):
            return
        try:
            os.setxattr(fd, key, value)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
                raise
            self._options.notice(f"{entry.name}: the attribute {key} is left out: {error.strerror}")

    def _remember(self, fd: int) -> None:
        if not self._overlay:
            self._ours.add(os.fstat(fd).st_ino)

    def _set_times(self) -> None:
        known = {place: time for place, time in self._tree.implicit.items() if time is not None}
        times = {**known, **self._times}
        for place in sorted(times, key=len, reverse=True):
            self._tree.tidy()
            with suppress(FileNotFoundError, NotADirectoryError):
                fd = self._tree.fd(place)
                os.utime(fd, ns=(times[place], times[place]))
                if place in self._closed:
                    os.fchmod(fd, self._closed[place])


def _write(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


@contextmanager
def _naming(entry: TarEntry) -> Iterator[None]:
    """Turn what the kernel says into an error that names the member."""
    try:
        yield
    except OSError as error:
        message = f"cannot unpack {entry.name!r}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.EROFS):
            raise Unavailable(message) from error
        if error.errno in (errno.EPERM, errno.EACCES):
            raise Denied(message) from error
        raise Corrupt(message) from error
