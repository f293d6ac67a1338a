"""The life of one container under its monitor: create, start, stop, restart, end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from workbench.errors import Conflict, Internal, WorkbenchError
from workbench.monitor import restart
from workbench.monitor.audience import Audience
from workbench.monitor.command import Command
from workbench.monitor.driver import Child, Runtime
from workbench.monitor.health import PROBED, HealthChecker
from workbench.monitor.logwriter import LogWriter
from workbench.monitor.loop import Loop, Timer
from workbench.monitor.record import (
    ExitRecord,
    RunRecord,
    clear,
    now,
    process_start,
    write_exit,
)
from workbench.monitor.settings import MonitorSettings
from workbench.monitor.streams import Streams

LINGER: Final = 0.3
ON_RESTART_TIMEOUT: Final = 60.0


class Container:
    """One container. ``status`` is new, created, running, paused, restarting or ended.

    ``tied``: it must not outlive its client. ``on_exit(record, again)`` is called at each end of
    the program, ``again`` when a restart follows. All methods are called from the loop.
    """

    def __init__(
        self,
        loop: Loop,
        directory: Path,
        settings: MonitorSettings,
        runtime: Runtime,
        on_exit: Callable[[ExitRecord, bool], None],
    ) -> None:
        self.settings = settings
        self.status = "new"
        self.pid = 0
        self.restarts = 0
        self.tied = False
        self.audience = Audience(loop, self._hold)
        self._loop = loop
        self._directory = directory
        self._runtime = runtime
        self._on_exit = on_exit
        self._streams = self._new_streams()
        self._log: LogWriter | None = None
        self._child: Child | None = None
        self._exit_status: int | None = None
        self._started = 0
        self._last_code: int | None = None
        self._pause = 0.0
        self._signalled = False
        self._cancelled = False
        self._timer: Timer | None = None
        self._kill_timer: Timer | None = None
        self._health: HealthChecker | None = None
        self.last = ExitRecord(code=0)

    def create(self) -> int:
        """Make the container, which then waits for start. Raises what the runtime does."""
        if self.status not in ("new", "restarting"):
            raise Conflict("the container has been created already")
        if self.status == "new":
            clear(self._directory)
            self._open_log()
        self._streams = self._new_streams()
        ends = self._streams.open()
        try:
            self._child = self._runtime.create(self._directory, self.settings.id, ends)
        except (WorkbenchError, OSError) as error:
            self._streams.abandon()
            self._fail(error)
            raise
        self.pid = self._child.pid
        self._exit_status = None
        self._loop.child(self.pid, self._ended)
        self._streams.begin(self._child.console)
        self.resize(self.settings.rows, self.settings.columns)
        self.status = "created"
        return self.pid

    def start(self) -> None:
        """Let the program run. Raises CommandNotFound, CommandNotRunnable, Conflict."""
        if self.status != "created" or self._child is None:
            raise Conflict(f"the container cannot be started: it is {self.status}")
        self._started = now()
        self.status = "running"
        try:
            self._child.start()
        except (WorkbenchError, OSError) as error:
            self._disown()
            self._fail(error)
            raise
        self._write_run()
        check = self.settings.healthcheck
        if check is not None and check.test and check.test[0] in PROBED:
            self._health = HealthChecker(self._loop, self._directory, check, self._runtime)

    def signal(self, number: int, *, everything: bool = False) -> None:
        """Send a signal. SIGKILL and the stop signal also put an end to restarts."""
        if self.status == "restarting" and number in (signal.SIGKILL, self.settings.stop_signal):
            self._cancelled = True
            self._give_up()
            return
        if self.status not in ("running", "paused", "created"):
            raise Conflict(f"container {self.settings.id} is not running")
        self._signalled = True
        if number in (signal.SIGKILL, self.settings.stop_signal):
            self._cancelled = True
        self._runtime.kill(self._directory, number, everything=everything)
        if self.status == "paused" and self._cancelled:
            self.resume()

    def stop(self, timeout: float | None = None, number: int | None = None) -> None:
        """Ask it to end, and kill it after ``timeout`` seconds (-1: never)."""
        self._cancelled = True
        if self.status == "restarting":
            self._give_up()
            return
        patience = self.settings.stop_timeout if timeout is None else timeout
        with contextlib.suppress(Conflict):
            self.signal(self.settings.stop_signal if number is None else number)
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        if patience >= 0:
            self._kill_timer = self._loop.after(patience, self.kill)

    def kill(self) -> None:
        """End it now, whatever its state. Never raises."""
        self._cancelled = True
        if self.status in ("running", "paused", "created"):
            with contextlib.suppress(WorkbenchError, OSError):
                self.signal(signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        elif self.status == "restarting":
            self._give_up()

    def pause(self) -> None:
        if self.status != "running":
            raise Conflict(f"container {self.settings.id} is {self.status}, not running")
        self._runtime.pause(self._directory)
        self.status = "paused"
        self._write_run()

    def resume(self) -> None:
        if self.status != "paused":
            raise Conflict(f"container {self.settings.id} is not paused")
        self._runtime.resume(self._directory)
        self.status = "running"
        self._write_run()

    def tie(self) -> None:
        """Remember where a successor can read it that the container has to go with its client."""
        self.tied = True
        if self.status in ("running", "paused"):
            self._write_run()

    def resize(self, rows: int, columns: int) -> None:
        self._streams.resize(rows, columns)

    @property
    def streams(self) -> Streams:
        return self._streams

    def unfinished(self) -> dict[str, bytes]:
        """Lines that have been shown and are not in the log yet."""
        return self._log.unfinished() if self._log is not None else {}

    def _new_streams(self) -> Streams:
        return Streams(
            self._loop,
            self._output,
            self._finish_if_over,
            tty=self.settings.tty,
            stdin=self.settings.open_stdin,
        )

    def _open_log(self) -> None:
        path = self.settings.log_path(self._directory)
        if path is not None and self._log is None:
            log = self.settings.log
            self._log = LogWriter(path, max_size=log.max_size, max_file=log.max_file)

    def _output(self, stream: str, data: bytes) -> None:
        if self._log is not None:
            # A full disk must not end what runs: what cannot be logged is lost.
            with contextlib.suppress(OSError):
                self._log.write(stream, data)
        self.audience.deliver(stream, data)

    def _hold(self, held: bool) -> None:
        self._streams.hold(held and self._exit_status is None)

    def _write_run(self) -> None:
        RunRecord(
            status=self.status,
            pid=self.pid,
            pid_start=process_start(self.pid) if self.pid else 0,
            started=self._started,
            restarts=self.restarts,
            exit_code=self._last_code,
            tied=self.tied,
        ).write(self._directory)

    def _ended(self, status: int) -> None:
        """The program has ended; what it wrote may still lie in the pipes."""
        self._exit_status = status
        if self._streams.ended:
            self._finish(status)
            return
        self._streams.hold(False)
        self._streams.drain()
        if self._streams.ended:
            return
        # Without a pid namespace of its own, processes may outlive init and hold the pipes.
        with contextlib.suppress(WorkbenchError, OSError):
            self._runtime.kill(self._directory, signal.SIGKILL, everything=True)
        self._loop.after(LINGER, self._streams.close)

    def _finish_if_over(self) -> None:
        if self._exit_status is not None and self._streams.ended:
            self._finish(self._exit_status)

    def _finish(self, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        self._end(
            ExitRecord(
                code=128 - code if code < 0 else code,
                oom_killed=self._runtime.oom_kills(self._directory) > 0,
                started=self._started,
                finished=now(),
                stopped=self._signalled or self._cancelled,
                restarts=self.restarts,
            )
        )

    def _fail(self, error: WorkbenchError | OSError) -> None:
        """The program never ran."""
        code = getattr(error, "exit_code", 128)
        self._cancelled = True
        self._end(
            ExitRecord(
                code=code if code in (126, 127) else 128,
                error=str(error),
                started=self._started,
                finished=now(),
                restarts=self.restarts,
            )
        )

    def _end(self, record: ExitRecord) -> None:
        for timer in (self._timer, self._kill_timer):
            if timer is not None:
                timer.cancel()
        if self._health is not None:
            self._health.close()
            self._health = None
        self._streams.close()
        self._last_code = record.code
        again = restart.wanted(
            self.settings.restart,
            code=record.code,
            restarts=self.restarts,
            stopped=self._signalled,
            cancelled=self._cancelled,
        )
        self.pid = 0
        if again:
            self._schedule(record)
        else:
            self.status = "ended"
            self._close_log()
            write_exit(self._directory, record)
        self.last = record
        self._on_exit(record, again)

    def _close_log(self) -> None:
        if self._log is not None:
            with contextlib.suppress(OSError):
                self._log.close()

    def _schedule(self, record: ExitRecord) -> None:
        self.status = "restarting"
        ran_for = (record.finished - record.started) / 1e9
        self._pause = restart.pause(self.settings.restart, previous=self._pause, ran_for=ran_for)
        self._timer = self._loop.after(self._pause, self._again)
        self._write_run()
        if self._log is not None:
            with contextlib.suppress(OSError):
                self._log.flush()

    def _again(self) -> None:
        with contextlib.suppress(WorkbenchError, OSError):
            self._runtime.delete(self._directory)
        self.restarts += 1
        self._signalled = self.tied = False
        # What goes wrong is in the record already.
        with contextlib.suppress(WorkbenchError, OSError):
            pid = self.create()
            command = self.settings.on_restart
            if not command:
                self.start()
                return
            Command(self._loop, (*command, str(pid)), ON_RESTART_TIMEOUT, self._reconnected)

    def _reconnected(self, code: int) -> None:
        """The command that joins networks has ended."""
        if self.status != "created":
            return
        if code == 0:
            with contextlib.suppress(WorkbenchError, OSError):
                self.start()
            return
        self._disown()
        self._fail(Internal(f"the container could not be prepared for its restart: exit {code}"))

    def _disown(self) -> None:
        """The process that was made will never be the container's: end it, ignore its end."""
        self._loop.forget_child(self.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _give_up(self) -> None:
        """A restart that was due is not wanted any more."""
        self.status = "created"
        self._end(self.last)
