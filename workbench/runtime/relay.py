"""The terminal of ``run`` and ``exec``: bytes both ways until the program ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from types import FrameType

from workbench.linux import pty

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
              signal.SIGUSR2)  # fmt: skip


def relay(pid: int, console: int | None) -> int:
    """Wait for a child; pass bytes, signals and sizes on. Returns the exit status of a shell."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    if console is not None:
        _copy(pid, console)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code


def _copy(pid: int, console: int) -> None:
    """Until every process has closed the terminal; an input that ends is given as end of file."""
    with _raw(sys.stdin.fileno(), console):
        inputs = [console, sys.stdin.fileno()]
        while True:
            ready, _, _ = select.select(inputs, [], [])
            if console in ready:
                with contextlib.suppress(OSError):
                    data = os.read(console, 65536)
                    if data:
                        os.write(1, data)
                        continue
                break
            data = os.read(sys.stdin.fileno(), 65536)
            if not data:
                inputs.remove(sys.stdin.fileno())
            os.write(console, data or b"\x04")
    os.close(console)


@contextlib.contextmanager
def _raw(terminal: int, console: int) -> Iterator[None]:
    """Our own terminal passes every key on, and its size too; it is restored afterwards."""
    if not os.isatty(terminal):
        yield
        return

    def resize(*_: object) -> None:
        packed = fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))
        rows = int.from_bytes(packed[0:2], sys.byteorder)
        pty.set_size(console, rows, int.from_bytes(packed[2:4], sys.byteorder))

    before = termios.tcgetattr(terminal)
    signal.signal(signal.SIGWINCH, resize)
    resize()
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
