"""File locks between engines of the same state directory. Source: flock(2)."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.store.locks import file_lock


@contextmanager
def held(path: Path, *, remove: bool = False) -> Iterator[None]:
    """Hold the lock at ``path``; ``remove`` takes the file away at the end."""
    with file_lock(path):
        try:
            yield
        finally:
            if remove:
                path.unlink(missing_ok=True)


def wait_until_free(path: Path, seconds: float) -> bool:
    """Wait until nobody holds the lock of a file that exists; False after ``seconds``.

    Tries at least once, so that 0 seconds ask whether it is free now.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    deadline = time.monotonic() + seconds
    pause = 0.0005
    try:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
    finally:
        os.close(fd)
