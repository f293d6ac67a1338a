"""The containers that there are, each as a snapshot of facts, files and kernel."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from workbench.engine.layout import StateDirectory
from workbench.engine.networking import Networking
from workbench.engine.observe import Observation, moment, observe
from workbench.engine.settled import Settled
from workbench.engine.values import ContainerInfo, LogLine
from workbench.errors import Conflict, ContainerNotFound
from workbench.monitor import logs
from workbench.monitor.settings import MonitorSettings
from workbench.oci import codec
from workbench.oci.digest import Digest
from workbench.state.containers import ContainerRecord, Containers


class Inventory:
    """Finds containers and tells how they are. Changes nothing but their recorded ends."""

    def __init__(
        self, directory: StateDirectory, containers: Containers, networking: Networking
    ) -> None:
        self._directory = directory
        self._containers = containers
        self._networking = networking

    def find(self, name: str) -> ContainerRecord:
        """Raises ContainerNotFound, InvalidInput for an ambiguous prefix."""
        return self._containers.find(name)

    def again(self, record: ContainerRecord) -> ContainerRecord:
        """The row as it is now. Raises ContainerNotFound where it has gone."""
        found = self._containers.get(record.id)
        if found is None:
            raise ContainerNotFound(f"No such container: {record.id}")
        return found

    def observe(self, record: ContainerRecord) -> Observation:
        """What it does now; an end that only its directory knew of is recorded on the way."""
        seen = observe(record, self._directory.container(record.id))
        if seen.unrecorded and seen.exit_code is not None:
            self._containers.finished(
                record.id,
                time_ns=seen.finished,
                exit_code=seen.exit_code,
                oom_killed=seen.oom_killed,
                error=seen.error,
            )
        return seen

    def list(self, *, all: bool = False) -> tuple[ContainerInfo, ...]:
        infos = (self.info(record) for record in self._containers.all())
        return tuple(
            info for info in infos if all or info.status in ("running", "paused", "restarting")
        )

    def info(self, record: ContainerRecord) -> ContainerInfo:
        settled = codec.loads(Settled, record.settled)
        seen = self.observe(record)
        return ContainerInfo(
            id=record.id,
            name=record.name,
            image=record.image,
            image_id=Digest(record.image_id),
            command=settled.command,
            created=moment(record.created_ns) or datetime.fromtimestamp(0, UTC),
            status=seen.status,
            pid=seen.pid,
            started=moment(seen.started),
            finished=moment(seen.finished),
            exit_code=seen.exit_code,
            oom_killed=seen.oom_killed,
            error=seen.error,
            health=seen.health,
            restarts=seen.restarts,
            ports=self._networking.published(record),
            networks=self._networking.endpoints(record),
            mounts=settled.mounts,
            labels=settled.labels,
        )

    def rename(self, record: ContainerRecord, name: str) -> None:
        """Raises Conflict where the name is taken or is the container's own."""
        if record.name == name:
            raise Conflict("Renaming a container with the same name as its current name")
        self._containers.rename(record.id, name)

    def logs(
        self,
        record: ContainerRecord,
        *,
        follow: bool,
        tail: int | None,
        since: float | None,
        until: float | None,
    ) -> Iterator[LogLine]:
        """Raises Conflict for a container whose log driver keeps nothing."""
        where = self._directory.container(record.id)
        path = MonitorSettings.read(where).log_path(where)
        if path is None:
            raise Conflict("configured logging driver does not support reading")
        entries = logs.follow(
            path,
            follow=follow,
            tail=tail,
            since=None if since is None else int(since * 1e9),
            until=None if until is None else int(until * 1e9),
            finished=lambda: not self.observe(record).running,
        )
        for entry in entries:
            yield LogLine(
                time=moment(entry.time_ns) or datetime.fromtimestamp(0, UTC),
                stream=entry.stream,
                data=entry.data,
            )
