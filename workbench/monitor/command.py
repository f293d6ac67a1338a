"""Run a program of the host, such as the engine's clean-up, without waiting for it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence

from workbench.monitor.loop import Loop

NOT_FOUND = 127


class Command:
    """A child in the loop; ``on_end(code)`` when it has ended, or was killed after ``timeout``."""

    def __init__(
        self, loop: Loop, argv: Sequence[str], timeout: float, on_end: Callable[[int], None]
    ) -> None:
        self._on_end = on_end
        self.pid = spawn(argv)
        self._timer = loop.after(timeout, self._kill)
        loop.child(self.pid, self._ended)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _ended(self, status: int) -> None:
        self._timer.cancel()
        code = os.waitstatus_to_exitcode(status)
        self._on_end(128 - code if code < 0 else code)


def spawn(argv: Sequence[str]) -> int:
    """Start a program in a session of its own, with /dev/null as 0, 1 and 2; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.execvp(argv[0], list(argv))
    finally:
        os._exit(NOT_FOUND)
