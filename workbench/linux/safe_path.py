"""Open paths beneath a root without ever leaving it, whatever symbolic links lie there.

The kernel does it with openat2(2) and RESOLVE_IN_ROOT. Where that call is missing, and where
directories have to be made on the way, ``_walk`` does the same by hand: it opens one component at
a time without following links, and ``..`` goes back to a descriptor that it holds, so that a
rename in the tree cannot lead it outside.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from workbench.linux import libc

Root = int | str | os.PathLike[str]

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

_MAX_LINKS: Final = 40
_RETRIES: Final = 64


def open_beneath(
    root: Root, path: str | bytes, flags: int, mode: int = 0, *, follow: bool = True
) -> int:
    """Open ``path`` as if ``root`` were ``/``; the descriptor is close-on-exec.

    ``follow`` False does not follow a link in the last place. Magic links of /proc are refused.
    Raises OSError (ELOOP for a refused link).
    """
    full = flags | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with root_descriptor(root) as descriptor:
        try:
            return openat2(descriptor, path, full, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
        return _walk(descriptor, os.fsdecode(path), full, mode)


def openat2(directory: int, path: str | bytes, flags: int, mode: int, resolve: int) -> int:
    """openat2(2). Raises OSError with the path; retries where the kernel saw a rename (EAGAIN)."""
    how = struct.pack("=QQQ", flags, mode if flags & (os.O_CREAT | os.O_TMPFILE) else 0, resolve)
    name = os.fsencode(path) or b"."
    for _ in range(_RETRIES):
        try:
            return libc.syscall("openat2", directory, name, how, len(how))
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise OSError(
                    error.errno, os.strerror(error.errno or 0), os.fsdecode(name)
                ) from None
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fsdecode(name))


def make_directories(root: Root, path: str, mode: int = 0o755) -> int:
    """Open the directory ``path`` beneath ``root`` (O_PATH), made with its parents where missing.

    A link that leads nowhere is followed and its target made, inside the root. Raises OSError.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    with root_descriptor(root) as descriptor:
        try:
            return open_beneath(descriptor, path, flags)
        except FileNotFoundError:
            return _walk(descriptor, path, flags, make=mode)


def make_file(root: Root, path: str, mode: int = 0o644) -> int:
    """Open the file ``path`` beneath ``root`` (O_PATH), made where missing. Raises OSError."""
    head, _, name = path.rstrip("/").rpartition("/")
    parent = make_directories(root, head or "/")
    try:
        try:
            return open_beneath(root, path, os.O_PATH)
        except FileNotFoundError:
            os.close(_create(parent, name, mode))
            return open_beneath(root, path, os.O_PATH)
    finally:
        os.close(parent)


def _create(parent: int, name: str, mode: int) -> int:
    """A dangling link in the last place is replaced: what it names lies who knows where."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, mode, dir_fd=parent)
    except FileExistsError:
        os.unlink(name, dir_fd=parent)
        return os.open(name, flags, mode, dir_fd=parent)


def resolve_in_root(root: str | os.PathLike[str], path: str) -> str:
    """The path on the host that ``path`` means inside ``root``; the rest may not exist.

    For messages and for trees that nobody changes meanwhile; to open something use
    ``open_beneath``. Raises OSError (ELOOP).
    """
    base = os.fspath(root)
    parts: list[str] = []
    todo = _parts(path)
    links = 0
    while todo:
        part = todo.pop(0)
        if part == "..":
            del parts[-1:]
            continue
        try:
            target = str(Path("/".join([base, *parts, part])).readlink())
        except OSError:
            parts.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            parts.clear()
        todo = _parts(target) + todo
    return "/".join([base.rstrip("/"), *parts]) or "/"


@contextmanager
def root_descriptor(root: Root) -> Iterator[int]:
    """``root`` as a descriptor; one that was given stays open, one that we open is closed."""
    if isinstance(root, int):
        yield root
        return
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _walk(root: int, path: str, flags: int, mode: int = 0, *, make: int | None = None) -> int:
    """Open ``path`` component by component; ``make`` is the mode of directories to be made."""
    held = [os.dup(root)]
    todo = _parts(path)
    links = 0
    try:
        while todo:
            part = todo.pop(0)
            if part == "..":
                if len(held) > 1:
                    os.close(held.pop())
                continue
            last = not todo
            target = None if last and flags & os.O_NOFOLLOW else _link(held[-1], part)
            if target is None:
                if last:
                    return _open_last(held[-1], part, flags, mode, make)
                held.append(_step(held[-1], part, make))
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                while len(held) > 1:
                    os.close(held.pop())
            todo = _parts(target) + todo
        return os.open(".", flags, dir_fd=held[-1])
    finally:
        for descriptor in held:
            os.close(descriptor)


def _link(directory: int, name: str) -> str | None:
    """The text of a symbolic link, or None. The magic links of procfs are but text here."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None


def _step(directory: int, name: str, make: int | None) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return _open_last(directory, name, flags, 0, make)


def _open_last(directory: int, name: str, flags: int, mode: int, make: int | None) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=directory)
    except FileNotFoundError:
        if make is None:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, make, dir_fd=directory)
    return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=directory)
