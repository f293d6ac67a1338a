"""What a container is doing now, derived from its directory and the kernel each time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workbench.monitor import record as monitor_record
from workbench.state.containers import ContainerRecord

# Nobody saw the end: the monitor was killed, or the machine went down. Docker says the same.
UNSEEN_EXIT = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """``status`` as in ContainerInfo; times are nanoseconds since the epoch, 0 where unknown.

    ``unrecorded`` says that the end stands in the directory but not yet in the facts.
    """

    status: str
    pid: int = 0
    started: int = 0
    finished: int = 0
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    health: str = ""
    restarts: int = 0
    unrecorded: bool = False

    @property
    def running(self) -> bool:
        """Whether it has processes, or will have without being asked."""
        return self.status in ("running", "paused", "restarting")


def observe(record: ContainerRecord, directory: Path) -> Observation:
    """Look at one container. The facts speak for an end that was recorded, files for the rest."""
    if record.removing:
        return Observation(status="removing")
    run = monitor_record.read_run(directory)
    end = monitor_record.read_exit(directory)
    if end is not None:
        return _ended(record, end, run.restarts if run else 0)
    if run is None:
        return _not_begun(record)
    alive = run.pid != 0 and monitor_record.process_start(run.pid) == run.pid_start
    # A monitor that still lives will write the end, or start the container again.
    if not alive and monitor_record.monitor_pid(directory) is None:
        if (end := monitor_record.read_exit(directory)) is not None:
            return _ended(record, end, run.restarts)
        return Observation(
            status="exited",
            started=run.started,
            finished=record.finished_ns or run.started,
            exit_code=UNSEEN_EXIT,
            error=record.error,
            restarts=run.restarts,
            unrecorded=record.finished_ns is None,
        )
    health = monitor_record.read_health(directory)
    return Observation(
        status=run.status,
        pid=run.pid if alive else 0,
        started=run.started,
        exit_code=run.exit_code,
        health=health.status if health else "",
        restarts=run.restarts,
    )


def _ended(record: ContainerRecord, end: monitor_record.ExitRecord, restarts: int) -> Observation:
    return Observation(
        status="exited" if end.started else "created",
        started=end.started,
        finished=end.finished,
        exit_code=end.code,
        oom_killed=end.oom_killed,
        error=end.error,
        restarts=max(end.restarts, restarts),
        unrecorded=record.finished_ns != end.finished,
    )


def _not_begun(record: ContainerRecord) -> Observation:
    if record.finished_ns is None:
        return Observation(status="created", error=record.error, exit_code=record.exit_code)
    return Observation(
        status="exited",
        started=record.started_ns or 0,
        finished=record.finished_ns,
        exit_code=record.exit_code,
        oom_killed=record.oom_killed,
        error=record.error,
    )


def moment(time_ns: int) -> datetime | None:
    """Nanoseconds since the epoch as a UTC time; None for 0."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC) if time_ns else None
