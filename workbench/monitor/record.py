"""What a monitor leaves behind in files: how a container ended, how it runs, how healthy it is."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from workbench.errors import InvalidInput
from workbench.monitor.settings import write_atomically
from workbench.oci.codec import decode, dumps, encode, key, loads

T = TypeVar("T")
EXIT_FILE: Final = "exit.json"
RUN_FILE: Final = "run.json"
HEALTH_FILE: Final = "health.json"
PID_FILE: Final = "monitor.pid"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord:
    """How a container ended. Times are nanoseconds since the epoch, 0 where it never came to that.

    ``code`` is Docker's: the program's own, 128 + n for signal n, 126 and 127 for a program that
    could not be run or found. ``stopped`` says that somebody had asked for it.
    """

    code: int
    oom_killed: bool = False
    error: str = ""
    started: int = 0
    finished: int = 0
    stopped: bool = False
    restarts: int = 0

    def to_json(self) -> dict[str, Any]:
        tree: dict[str, Any] = encode(self)
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> ExitRecord:
        record: ExitRecord = decode(cls, dict(tree), "exit record")
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """How a container runs: what is left to read when its monitor has been killed.

    ``status`` is created, running, paused or restarting. ``pid_start`` is field 22 of proc(5)
    stat, which tells the process from a later one of the same number. ``exit_code`` is that of
    the run before, None for the first. ``tied`` says that it must not outlive its monitor.
    """

    status: str
    pid: int = 0
    pid_start: int = 0
    started: int = 0
    restarts: int = 0
    exit_code: int | None = None
    tied: bool = False

    def write(self, directory: Path) -> None:
        write_atomically(directory / RUN_FILE, dumps(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One run of a health check, spelled as ``docker inspect`` does."""

    start: str = key("Start")
    end: str = key("End")
    exit_code: int = key("ExitCode")
    output: str = key("Output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of health; ``status`` is starting, healthy or unhealthy; ``log`` the last five."""

    status: str = key("Status", default="starting", keep=True)
    failing_streak: int = key("FailingStreak", default=0, keep=True)
    log: tuple[Probe, ...] = key("Log", default=())

    def after(self, probe: Probe, *, retries: int, grace: bool) -> Health:
        """The state after one more probe; a failure within the ``grace`` period does not count."""
        log = (*self.log, probe)[-5:]
        if probe.exit_code == 0:
            return Health(status="healthy", failing_streak=0, log=log)
        if grace and self.status == "starting":
            return replace(self, log=log)
        streak = self.failing_streak + 1
        status = "unhealthy" if streak >= retries else self.status
        return Health(status=status, failing_streak=streak, log=log)

    def write(self, directory: Path) -> None:
        write_atomically(directory / HEALTH_FILE, dumps(self))


def read_exit(directory: Path) -> ExitRecord | None:
    """How the container in ``directory`` ended; None when it has not, or nobody saw it."""
    return _read(ExitRecord, directory / EXIT_FILE)


def read_run(directory: Path) -> RunRecord | None:
    """How the container runs, or ran last; None when it never did."""
    return _read(RunRecord, directory / RUN_FILE)


def read_health(directory: Path) -> Health | None:
    return _read(Health, directory / HEALTH_FILE)


def _read(kind: type[T], path: Path) -> T | None:
    try:
        return loads(kind, path.read_bytes(), what=str(path))
    except (FileNotFoundError, InvalidInput):
        return None


def write_exit(directory: Path, record: ExitRecord) -> None:
    write_atomically(directory / EXIT_FILE, dumps(record))


def clear(directory: Path) -> None:
    """Forget an earlier run."""
    for name in (EXIT_FILE, HEALTH_FILE):
        with contextlib.suppress(FileNotFoundError):
            (directory / name).unlink()


def write_pid(fd: int, pid: int, start: int) -> None:
    """Into the locked file of a monitor: who it is."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps({"pid": pid, "start": start}).encode(), 0)


def monitor_pid(directory: Path) -> int | None:
    """The pid of the monitor that lives, None when there is none (or it was killed)."""
    try:
        tree = json.loads((directory / PID_FILE).read_bytes())
        pid, start = int(tree["pid"]), int(tree["start"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if process_start(pid) == start else None


def process_start(pid: int) -> int:
    """Start time in clock ticks since boot, 0 when it does not live. Source: proc(5)."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    fields = raw[raw.rindex(b")") + 2 :].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def now() -> int:
    return time.time_ns()
