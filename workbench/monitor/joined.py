"""One more process in a container that runs, with streams of its own: exec and health checks."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from workbench.errors import WorkbenchError
from workbench.monitor.driver import Runtime
from workbench.monitor.loop import Loop
from workbench.monitor.streams import Streams
from workbench.oci.runtime_spec import Process

LINGER: Final = 0.3


class Joined:
    """``sink`` gets its output, ``on_end(code)`` comes after the last of it.

    A process that it leaves behind with the pipes open is waited for ``LINGER`` seconds.
    """

    def __init__(
        self,
        loop: Loop,
        process: Process,
        sink: Callable[[str, bytes], None],
        on_end: Callable[[int], None],
        *,
        stdin: bool = False,
    ) -> None:
        self.pid = 0
        self.streams = Streams(loop, sink, self._finish_if_over, tty=process.terminal, stdin=stdin)
        self._loop = loop
        self._process = process
        self._on_end = on_end
        self._status: int | None = None

    def begin(self, runtime: Runtime, directory: Path) -> int:
        """Start it; its pid. Raises as the runtime does, and then nothing is left."""
        ends = self.streams.open()
        try:
            child = runtime.execute(directory, self._process, ends)
        except (WorkbenchError, OSError):
            self.streams.abandon()
            raise
        self.pid = child.pid
        self._loop.child(self.pid, self._ended)
        self.streams.begin(child.console)
        return self.pid

    def signal(self, number: int) -> None:
        if self.pid and self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def _ended(self, status: int) -> None:
        self._status = status
        if self.streams.ended:
            self._finish_if_over()
            return
        self.streams.hold(False)
        self.streams.drain()
        if not self.streams.ended:
            self._loop.after(LINGER, self.streams.close)

    def _finish_if_over(self) -> None:
        if self._status is not None and self.streams.ended:
            self.streams.close()
            code = os.waitstatus_to_exitcode(self._status)
            self._on_end(128 - code if code < 0 else code)
