"""Unix sockets in directories of any depth, and the hand-over of a terminal.

A socket's path may have 107 bytes; through /proc/self/fd any directory is near.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def _near(directory: Path, name: str) -> Iterator[str]:
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def bind_at(directory: Path, name: str) -> socket.socket:
    """A listening socket that keeps message boundaries, mode 0600. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / name).unlink(missing_ok=True)
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _near(directory, name) as path:
        end.bind(path)
        Path(path).chmod(0o600)
    end.listen(1)
    return end


def connect_at(directory: Path, name: str) -> socket.socket:
    """Raises OSError."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _near(directory, name) as path:
            end.connect(path)
    except OSError:
        end.close()
        raise
    return end


def send_console(path: Path, master: int) -> None:
    """Give a pty's master to whoever listens on ``path``, as runc does. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        with _near(path.parent.absolute(), path.name) as near:
            end.connect(near)
        socket.send_fds(end, [b"/dev/ptmx"], [master])
