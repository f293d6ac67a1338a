"""How containers end and go: stop, the record of an end, removal."""

from __future__ import annotations

import contextlib
import signal
import time

from workbench.engine.creation import Creator
from workbench.engine.happenings import Happenings
from workbench.engine.inventory import Inventory
from workbench.engine.layout import StateDirectory
from workbench.engine.locks import held, wait_until_free
from workbench.engine.networking import Networking
from workbench.engine.options import RunOptions
from workbench.errors import Conflict, NotFound, Unavailable
from workbench.monitor.client import Session
from workbench.monitor.record import PID_FILE, ExitRecord
from workbench.oci import codec
from workbench.runtime import state as runtime_state
from workbench.state.containers import ContainerRecord, Containers

_DEPARTURE_SECONDS = 10.0


class Ending:
    """Stops and removes containers. Everything here may be done twice without harm."""

    def __init__(
        self,
        directory: StateDirectory,
        containers: Containers,
        inventory: Inventory,
        networking: Networking,
        creator: Creator,
        happenings: Happenings,
    ) -> None:
        self._directory = directory
        self._containers = containers
        self._inventory = inventory
        self._networking = networking
        self._creator = creator
        self._happenings = happenings

    def stop(self, record: ContainerRecord, timeout: float | None = None) -> None:
        """Its stop signal, then SIGKILL after ``timeout`` seconds; returns when it has ended."""
        where = self._directory.container(record.id)
        self._containers.stopped(record.id)
        try:
            with Session.connect(where) as session:
                end = session.stop(timeout)
        except (NotFound, Unavailable):
            self._kill_unwatched(record)
            return
        self.ended(record, end)

    def _kill_unwatched(self, record: ContainerRecord) -> None:
        """Its monitor is gone: nobody restarts it, and the runtime alone must end it."""
        where = self._directory.container(record.id)
        with contextlib.suppress(NotFound, Conflict):
            runtime_state.kill(where, signal.SIGKILL, everything=True)
        deadline = time.monotonic() + _DEPARTURE_SECONDS
        while self._inventory.observe(record).running and time.monotonic() < deadline:
            time.sleep(0.01)
        with contextlib.suppress(NotFound):
            runtime_state.delete(where, force=True)

    def ended(self, record: ContainerRecord, end: ExitRecord) -> None:
        """Write an end down, and let go of what only a running container needs."""
        fresh = self._containers.finished(
            record.id,
            time_ns=end.finished or time.time_ns(),
            exit_code=end.code,
            oom_killed=end.oom_killed,
            error=end.error,
        )
        self._networking.detach(record)
        if fresh:
            self._happenings.of_container(record, "die", exitCode=str(end.code))

    def reap(self, record: ContainerRecord) -> None:
        """What is left to do for a container that ended unattended: also ``--rm``.

        One that was only created is left alone: somebody may be about to start it.
        """
        seen = self._inventory.observe(record)
        if seen.running or seen.status == "created":
            return
        self._networking.detach(record)
        if codec.loads(RunOptions, record.options).remove:
            self.remove(record, volumes=True)

    def remove(self, record: ContainerRecord, *, volumes: bool) -> None:
        """Kill it where it runs, and take away all that it had. Idempotent."""
        where = self._directory.container(record.id)
        with held(self._directory.lock(record.id), remove=True):
            if self._inventory.observe(record).running:
                self.stop(record, timeout=0)
            wait_until_free(where / PID_FILE, _DEPARTURE_SECONDS)
            self._networking.detach(record)
            self._creator.discard(record, volumes=volumes)
        self._happenings.of_container(record, "destroy")
