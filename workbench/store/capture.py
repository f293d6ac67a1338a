"""Reading what changed in a tree, in the order of a tar: sorted, directories before their content.

In: the upper directory of an overlay. Out: members with an open file for their content. Marks of
overlayfs become whiteouts of the tar, its private attributes are dropped, sockets are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from workbench.errors import InvalidInput, LimitExceeded, Unsupported
from workbench.store.lower import LowerLayers, names_in
from workbench.store.options import ignore
from workbench.store.tar_entry import Kind, TarEntry
from workbench.store.whiteouts import OPAQUE, PREFIX, attributes_of, is_opaque, is_whiteout

Member = tuple[TarEntry, int | None]
Notice = Callable[[str], None]

_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KEPT: Final = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
_REFUSED: Final = ("overlay.redirect", "overlay.metacopy")
_MAX_DEPTH: Final = 256
_KINDS: Final[dict[int, Kind]] = {
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}


class MemberReader:
    """Turns one name of a directory into a member; knows which names are links to one file."""

    def __init__(self, notice: Notice = ignore) -> None:
        self._links: dict[tuple[int, int], str] = {}
        self._notice = notice

    def member(self, fd: int, name: str, path: str, found: os.stat_result) -> Iterator[Member]:
        """The member for anything but a directory; none for a socket. The file is closed after."""
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFSOCK:
            return
        first = self._first_link(path, found)
        if first is not None:
            yield _entry(path, "hardlink", found, target=first), None
        elif kind == stat.S_IFREG:
            yield from self._regular(fd, name, path)
        elif kind == stat.S_IFLNK:
            yield _entry(path, "symlink", found, target=os.readlink(name, dir_fd=fd)), None
        else:
            yield _entry(path, _KINDS[kind], found), None

    def _first_link(self, path: str, found: os.stat_result) -> str | None:
        if found.st_nlink < 2:
            return None
        first = self._links.setdefault((found.st_dev, found.st_ino), path)
        return None if first == path else first

    def _regular(self, fd: int, name: str, path: str) -> Iterator[Member]:
        file = os.open(name, _FILE, dir_fd=fd)
        try:
            found = os.fstat(file)
            yield _entry(path, "file", found, xattrs=kept_attributes(file, path)), file
        finally:
            os.close(file)

    @staticmethod
    def directory(fd: int, path: str) -> TarEntry:
        """The member for an open directory."""
        return _entry(f"{path}/", "dir", os.fstat(fd), xattrs=kept_attributes(fd, path))


def overlay_members(
    changes: Path, *, lowers: tuple[Path, ...] = (), notice: Notice = ignore
) -> Iterator[Member]:
    """The members for the upper directory ``changes``.

    With ``lowers`` (top first) a directory is written as opaque only where it hides something:
    overlayfs marks every new directory so. Raises Unsupported for redirects and metadata copies,
    InvalidInput for a name that a tar would read as a removal.
    """
    reader = MemberReader(notice)
    lower = LowerLayers(lowers)
    fd = os.open(changes, _DIR)
    try:
        yield from _overlay_directory(reader, lower, fd, ())
    finally:
        os.close(fd)


def _overlay_directory(
    reader: MemberReader, lower: LowerLayers, fd: int, here: tuple[str, ...]
) -> Iterator[Member]:
    check_depth(here)
    for name in sorted(names_in(fd), key=os.fsencode):
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        place = (*here, name)
        path = "/".join(place)
        if is_whiteout(found):
            yield whiteout(here, name), None
            continue
        check_name(name, path)
        if not stat.S_ISDIR(found.st_mode):
            yield from reader.member(fd, name, path, found)
            continue
        inner = os.open(name, _DIR, dir_fd=fd)
        try:
            yield reader.directory(inner, path), None
            if is_opaque(attributes_of(inner), inner) and _hides(lower, place):
                yield _mark(f"{path}/{OPAQUE}"), None
            yield from _overlay_directory(reader, lower, inner, place)
        finally:
            os.close(inner)


def _hides(lower: LowerLayers, place: tuple[str, ...]) -> bool:
    if not lower:
        return True
    below = lower.stat(place)
    return below is not None and stat.S_ISDIR(below.st_mode)


def whiteout(here: tuple[str, ...], name: str) -> TarEntry:
    """The member that removes ``name``."""
    return _mark("/".join((*here, PREFIX + name)))


def _mark(path: str) -> TarEntry:
    return TarEntry(name=path, kind="file", mode=0)


def check_depth(here: tuple[str, ...]) -> None:
    """Raises LimitExceeded for a tree that no layer of ours may hold."""
    if len(here) > _MAX_DEPTH:
        raise LimitExceeded(f"more than {_MAX_DEPTH} directories in each other: {here[0]}/...")


def check_name(name: str, path: str) -> None:
    """Raises InvalidInput for a name that means something else in a tar."""
    if name.startswith(PREFIX):
        raise InvalidInput(
            f"{path!r} cannot be kept in a layer",
            hint=f"names that begin with {PREFIX} mean a removal there; rename the file",
        )


def kept_attributes(fd: int, path: str) -> dict[str, bytes]:
    """The extended attributes that a layer keeps. Raises Unsupported for overlayfs's links to
    content elsewhere."""
    names = attributes_of(fd)
    if not names:
        return {}
    for name in names:
        if name.partition(".")[2] in _REFUSED:
            raise Unsupported(
                f"{path!r} is only a reference into another layer ({name})",
                hint="mount with redirect_dir=off,metacopy=off",
            )
    return {name: os.getxattr(fd, name) for name in sorted(names) if name in _KEPT}


def _entry(
    path: str,
    kind: Kind,
    found: os.stat_result,
    *,
    target: str = "",
    xattrs: dict[str, bytes] | None = None,
) -> TarEntry:
    device = kind in ("char", "block")
    return TarEntry(
        name=path,
        kind=kind,
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size if kind == "file" else 0,
        mtime_ns=found.st_mtime_ns,
        target=target,
        major=os.major(found.st_rdev) if device else 0,
        minor=os.minor(found.st_rdev) if device else 0,
        xattrs=xattrs or {},
    )


def read_content(fd: int, size: int, path: str, notice: Notice) -> Iterator[bytes]:
    """Exactly ``size`` bytes of an open file; zeros where it shrank meanwhile."""
    left = size
    while left:
        piece = os.read(fd, min(left, 1 << 20))
        if not piece:
            notice(f"{path} became shorter while it was read")
            piece = bytes(min(left, 1 << 20))
        left -= len(piece)
        yield piece
