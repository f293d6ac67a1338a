"""Pseudo-terminals. Source: pty(7), ioctl_tty(2)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios
from typing import Final

from workbench.linux.safe_path import Root, open_beneath

_TIOCGPTN: Final = 0x80045430
_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTPEER: Final = 0x5441
_PTMX: Final = os.makedev(5, 2)


def open_pty(root: Root = "/", multiplexer: str = "/dev/pts/ptmx") -> tuple[int, int]:
    """A new pair (master, slave) in the devpts that is mounted inside ``root``.

    The multiplexer must be the real device: a container could have put anything in its place. The
    slave is opened through the master, not by a path. Raises OSError.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = open_beneath(root, multiplexer, flags)
    try:
        status = os.fstat(master)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _PTMX:
            raise OSError(errno.ENODEV, "not a pseudo-terminal multiplexer", multiplexer)
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        return master, fcntl.ioctl(master, _TIOCGPTPEER, flags)
    except BaseException:
        os.close(master)
        raise


def number(master: int) -> int:
    """N of /dev/pts/N."""
    packed = fcntl.ioctl(master, _TIOCGPTN, struct.pack("I", 0))
    value: int = struct.unpack("I", packed)[0]
    return value


def set_size(descriptor: int, rows: int, columns: int) -> None:
    """Tell the terminal its size in characters; its processes get SIGWINCH. Raises OSError."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def make_controlling(descriptor: int) -> None:
    """Make it the controlling terminal of this session's leader. Raises OSError."""
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
