"""Copying a whole tree as it is: owners, modes, times, attributes, hard links, devices, holes."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from workbench.store.lower import names_in
from workbench.store.whiteouts import attributes_of

_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP: Final = 1 << 30


def clone_tree(source: Path, target: Path) -> None:
    """Copy ``source`` to ``target``, which must not exist. Sockets are left out."""
    target.mkdir(mode=0o700)
    origin, copy = os.open(source, _DIR), os.open(target, _DIR)
    try:
        _Clone(copy).directory(origin, copy, "")
    finally:
        os.close(origin)
        os.close(copy)


class _Clone:
    """One copy; remembers where the first name of a file with several was put."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._links: dict[tuple[int, int], str] = {}

    def directory(self, origin: int, copy: int, path: str) -> None:
        for name in names_in(origin):
            found = os.stat(name, dir_fd=origin, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._subdirectory(origin, copy, name, f"{path}{name}/")
            elif not stat.S_ISSOCK(found.st_mode):
                self._other(origin, copy, name, path + name, found)
        _facts(origin, copy, os.fstat(origin))

    def _subdirectory(self, origin: int, copy: int, name: str, path: str) -> None:
        os.mkdir(name, 0o700, dir_fd=copy)
        inner = os.open(name, _DIR, dir_fd=origin)
        try:
            inner_copy = os.open(name, _DIR, dir_fd=copy)
            try:
                self.directory(inner, inner_copy, path)
            finally:
                os.close(inner_copy)
        finally:
            os.close(inner)

    def _other(self, origin: int, copy: int, name: str, path: str, found: os.stat_result) -> None:
        if found.st_nlink > 1:
            first = self._links.setdefault((found.st_dev, found.st_ino), path)
            if first != path:
                os.link(first, name, src_dir_fd=self._top, dst_dir_fd=copy, follow_symlinks=False)
                return
        if stat.S_ISREG(found.st_mode):
            _file(origin, copy, name, found)
            return
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=origin), name, dir_fd=copy)
        else:
            os.mknod(name, found.st_mode, found.st_rdev, dir_fd=copy)
        with suppress(PermissionError):
            os.chown(name, found.st_uid, found.st_gid, dir_fd=copy, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=copy)
        times = (found.st_atime_ns, found.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=copy, follow_symlinks=False)


def _file(origin: int, copy: int, name: str, found: os.stat_result) -> None:
    source = os.open(name, _READ, dir_fd=origin)
    try:
        target = os.open(name, _NEW, 0o600, dir_fd=copy)
        try:
            _content(source, target, found.st_size)
            _facts(source, target, found)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _content(source: int, target: int, size: int) -> None:
    """Copy the parts that are stored; the rest stays a hole."""
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(source, at, os.SEEK_HOLE)
        while at < end:
            moved = _some(source, target, at, end - at)
            if not moved:
                return
            at += moved


def _some(source: int, target: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, min(count, _STEP), at, at)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
    os.lseek(target, at, os.SEEK_SET)
    return os.sendfile(target, source, at, min(count, _STEP))


def _facts(origin: int, copy: int, found: os.stat_result) -> None:
    with suppress(PermissionError):
        os.fchown(copy, found.st_uid, found.st_gid)
    os.fchmod(copy, stat.S_IMODE(found.st_mode))
    for name in attributes_of(origin):
        with suppress(PermissionError):
            os.setxattr(copy, name, os.getxattr(origin, name))
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
