"""Removing a tree without following a symbolic link and without recursion."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(name: str, *, dir_fd: int | None = None) -> None:
    """Remove ``name`` and all below it; nothing happens where it does not exist.

    Works at any depth: directories found on the way are first moved up beside ``name``'s own
    children, so that at most two levels are open at a time.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.lstat(name, dir_fd=dir_fd).st_mode):
            raise
    top = _open(name, dir_fd)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=dir_fd)


def _open(name: str, dir_fd: int | None) -> int:
    try:
        fd = os.open(name, _DIR, dir_fd=dir_fd)
    except PermissionError:
        # overlayfs leaves work/work without any permission.
        os.chmod(name, 0o700, dir_fd=dir_fd)
        fd = os.open(name, _DIR, dir_fd=dir_fd)
    if os.geteuid():
        with suppress(PermissionError):
            os.fchmod(fd, 0o700)
    return fd


def _empty(top: int) -> None:
    serial = 0
    while subdirectories := _unlink_files(top):
        for name in subdirectories:
            inner = _open(name, top)
            try:
                for deeper in _unlink_files(inner):
                    serial += 1
                    if os.geteuid():
                        # Moving a directory writes into it: opening makes that possible.
                        os.close(_open(deeper, inner))
                    _move_up(deeper, inner, top, serial)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _move_up(name: str, inner: int, top: int, serial: int) -> None:
    while True:
        target = f".removed-{serial}"
        try:
            os.stat(target, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, target, src_dir_fd=inner, dst_dir_fd=top)
            return
        serial += 1_000_003


def _unlink_files(fd: int) -> list[str]:
    """Remove all but directories; the names of those."""
    directories = []
    with os.scandir(fd) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=fd)
    return directories
