"""Locks between processes and threads: flock(2) on small files, released when a holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path, *, shared: bool = False) -> Iterator[int]:
    """Hold ``path`` locked, waiting for it; yields the open file. The file is made if missing."""
    fd = _acquire(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    assert fd is not None
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def try_file_lock(path: Path) -> Iterator[int | None]:
    """Hold ``path`` locked if nobody else does; yields None where somebody does."""
    fd = _acquire(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def _acquire(path: Path, operation: int) -> int | None:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        # Whoever held the lock before may have removed the file: then our lock guards nothing.
        if still_there(fd, path):
            return fd
        os.close(fd)


def still_there(fd: int, path: Path) -> bool:
    """Whether ``path`` still names the open file ``fd``."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (mine.st_dev, mine.st_ino) == (found.st_dev, found.st_ino)
