"""The health check of a container: a command run in it from time to time, and what came of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from workbench.errors import WorkbenchError
from workbench.monitor.driver import Runtime
from workbench.monitor.joined import Joined
from workbench.monitor.loop import Loop, Timer
from workbench.monitor.record import Health, Probe, now
from workbench.monitor.times import to_text
from workbench.oci.image import Healthcheck
from workbench.oci.runtime_spec import Process

SECOND: Final = 1_000_000_000
DEFAULT_INTERVAL: Final = 30 * SECOND
DEFAULT_TIMEOUT: Final = 30 * SECOND
DEFAULT_START_INTERVAL: Final = 5 * SECOND
DEFAULT_RETRIES: Final = 3
PROBED: Final = ("CMD", "CMD-SHELL")
MOST_OUTPUT: Final = 4096


class HealthChecker:
    """Probes from construction until ``close``; each result goes to ``health.json``."""

    def __init__(self, loop: Loop, directory: Path, check: Healthcheck, runtime: Runtime) -> None:
        self._loop = loop
        self._directory = directory
        self._check = check
        self._runtime = runtime
        self._began = time.monotonic()
        self._health = Health()
        self._health.write(directory)
        self._probe: _ProbeRun | None = None
        self._timer = loop.after(self._interval(), self._run)

    def close(self) -> None:
        self._timer.cancel()
        if self._probe is not None:
            self._probe.abandon()
            self._probe = None

    def _interval(self) -> float:
        check = self._check
        if self._in_start_period() and self._health.status == "starting":
            return (check.start_interval or DEFAULT_START_INTERVAL) / SECOND
        return (check.interval or DEFAULT_INTERVAL) / SECOND

    def _in_start_period(self) -> bool:
        return time.monotonic() - self._began < self._check.start_period / SECOND

    def _run(self) -> None:
        timeout = (self._check.timeout or DEFAULT_TIMEOUT) / SECOND
        process = replace(
            self._runtime.process(self._directory), args=self._arguments(), terminal=False
        )
        self._probe = _ProbeRun(self._loop, process, self._done)
        self._probe.begin(self._runtime, self._directory, timeout)

    def _arguments(self) -> tuple[str, ...]:
        kind, *rest = self._check.test
        return ("/bin/sh", "-c", *rest[:1]) if kind == "CMD-SHELL" else tuple(rest)

    def _done(self, probe: Probe) -> None:
        self._probe = None
        self._health = self._health.after(
            probe, retries=self._check.retries or DEFAULT_RETRIES, grace=self._in_start_period()
        )
        with contextlib.suppress(OSError):
            self._health.write(self._directory)
        self._timer = self._loop.after(self._interval(), self._run)


class _ProbeRun:
    """One run of the command."""

    def __init__(self, loop: Loop, process: Process, on_done: Callable[[Probe], None]) -> None:
        self._on_done: Callable[[Probe], None] | None = on_done
        self._loop = loop
        self._joined = Joined(loop, process, self._take, self._ended)
        self._start = now()
        self._output = b""
        self._cut = False
        self._late = ""
        self._timer: Timer | None = None

    def begin(self, runtime: Runtime, directory: Path, timeout: float) -> None:
        try:
            self._joined.begin(runtime, directory)
        except (WorkbenchError, OSError) as error:
            self._output = str(error).encode()
            self._report(-1)
            return
        self._timer = self._loop.after(timeout, lambda: self._expire(timeout))

    def abandon(self) -> None:
        """Kill it; nothing is reported any more."""
        self._on_done = None
        self._joined.kill()

    def _take(self, _stream: str, data: bytes) -> None:
        room = MOST_OUTPUT - len(self._output)
        self._cut = self._cut or len(data) > room
        self._output += data[:room]

    def _expire(self, timeout: float) -> None:
        self._late = f"Health check exceeded timeout ({timeout:g}s)"
        self._joined.kill()

    def _ended(self, code: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._report(-1 if self._late else code)

    def _report(self, code: int) -> None:
        text = self._output.decode("utf-8", "replace") + ("..." if self._cut else "")
        if self._late:
            text = f"{self._late}: {text}" if text else self._late
        probe = Probe(start=to_text(self._start), end=to_text(now()), exit_code=code, output=text)
        if self._on_done is not None:
            self._on_done(probe)
