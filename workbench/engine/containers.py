"""Containers: one method per thing that one can ask of them. The work is done in the parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from workbench.engine.creation import Creator
from workbench.engine.ending import Ending
from workbench.engine.happenings import Happenings
from workbench.engine.inventory import Inventory
from workbench.engine.names import check_name
from workbench.engine.options import RunOptions
from workbench.engine.signals import signal_number
from workbench.engine.starting import Starter
from workbench.engine.values import ContainerInfo, LogLine
from workbench.errors import Conflict, NotModified
from workbench.events import Report, silent
from workbench.monitor.client import Session
from workbench.state.containers import ContainerRecord


class Containers:
    """``docker``'s container commands. Names are ids, names or unique prefixes of ids.

    Every method raises ContainerNotFound for a name that means nothing. Threads may share it.
    """

    def __init__(
        self,
        inventory: Inventory,
        creator: Creator,
        starter: Starter,
        ending: Ending,
        happenings: Happenings,
    ) -> None:
        self._inventory = inventory
        self._creator = creator
        self._starter = starter
        self._ending = ending
        self._happenings = happenings

    # -- looking

    def list(self, *, all: bool = False) -> tuple[ContainerInfo, ...]:
        """Newest first; those that run or are paused, or all."""
        return self._inventory.list(all=all)

    def get(self, name: str) -> ContainerInfo:
        return self._inventory.info(self._inventory.find(name))

    def logs(
        self,
        name: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Iterator[LogLine]:
        """What it wrote, oldest first. ``tail`` counts lines, times are seconds since the epoch.

        ``follow`` goes on until the container ends.
        """
        return self._inventory.logs(
            self._inventory.find(name), follow=follow, tail=tail, since=since, until=until
        )

    # -- making and running

    def create(self, options: RunOptions, *, report: Report = silent) -> ContainerInfo:
        """Make a container without starting it. Raises as ``Creator.create``."""
        return self._inventory.info(self._create(options, report))

    def _create(self, options: RunOptions, report: Report) -> ContainerRecord:
        record = self._creator.create(options, report=report)
        self._happenings.of_container(record, "create")
        return record

    def start(self, name: str) -> None:
        """Let it run in the background. Raises NotModified where it runs already."""
        self._starter.start(self._inventory.find(name))

    def run(
        self, options: RunOptions, *, report: Report = silent, stdin: BinaryIO | None = None
    ) -> ContainerInfo:
        """Create and start. With ``detach`` returns at once, else when it has ended.

        In the foreground its output goes to ``report`` and the exit code stands in the answer;
        raising from ``report`` kills it. ``stdin`` is read in a thread of its own where the options
        say ``interactive``. Raises CommandNotFound, CommandNotRunnable where the
        program cannot be run; the container stays then, unless ``remove``.
        """
        record = self._create(options, report)
        try:
            if options.detach:
                self._starter.start(record)
                return self._inventory.info(record)
            self._starter.run(record, options, report=report, stdin=stdin)
            return self._inventory.info(self._inventory.again(record))
        except BaseException:
            if options.detach and options.remove:
                self._ending.remove(record, volumes=True)
            raise
        finally:
            if options.remove and not options.detach:
                self._ending.remove(record, volumes=True)

    # -- steering

    def wait(self, name: str) -> int:
        """The exit code, once it has ended (again)."""
        return self._starter.wait(self._inventory.find(name))

    def stop(self, name: str, timeout: float | None = None) -> None:
        """Its stop signal, then after ``timeout`` seconds SIGKILL. Raises NotModified."""
        record = self._inventory.find(name)
        if not self._inventory.observe(record).running:
            raise NotModified(f"container {name} is not running")
        self._ending.stop(record, timeout)
        self._happenings.of_container(record, "stop")

    def kill(self, name: str, signal: str | int = "KILL") -> None:
        """Send a signal to its first process. Raises Conflict unless it runs."""
        record = self._inventory.find(name)
        number = signal_number(signal)
        with self._session(record, "kill") as session:
            session.signal(number)
        self._happenings.of_container(record, "kill", signal=str(number))

    def restart(self, name: str, timeout: float | None = None) -> None:
        record = self._inventory.find(name)
        if self._inventory.observe(record).running:
            self._ending.stop(record, timeout)
        self._starter.start(self._inventory.again(record))
        self._happenings.of_container(record, "restart")

    def pause(self, name: str) -> None:
        """Freeze all its processes. Raises Conflict, or Unsupported without a freezer."""
        record = self._inventory.find(name)
        with self._session(record, "pause") as session:
            session.pause()
        self._happenings.of_container(record, "pause")

    def unpause(self, name: str) -> None:
        record = self._inventory.find(name)
        if self._inventory.observe(record).status != "paused":
            raise Conflict(f"Container {record.id} is not paused")
        with self._session(record, "unpause") as session:
            session.resume()
        self._happenings.of_container(record, "unpause")

    def rename(self, name: str, new_name: str) -> None:
        """Raises Conflict where the name is taken."""
        record = self._inventory.find(name)
        self._inventory.rename(record, check_name(new_name))
        self._happenings.of_container(record, "rename", oldName=record.name, name=new_name)

    def resize(self, name: str, rows: int, columns: int) -> None:
        """Tell its terminal how large it is, in character cells."""
        with self._session(self._inventory.find(name), "resize") as session:
            session.resize(rows, columns)

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> None:
        """Raises Conflict while it runs, unless ``force`` kills it first.

        ``volumes`` removes its anonymous volumes too.
        """
        record = self._inventory.find(name)
        observed = self._inventory.observe(record)
        if observed.running and not force:
            raise Conflict(
                f'cannot remove container "/{record.name}": container is {observed.status}: stop'
                " the container before removing or force remove"
            )
        self._ending.remove(record, volumes=volumes)

    def reap(self, name: str) -> None:
        """Finish one that ended unattended: free what it held, and with ``--rm`` remove it."""
        self._ending.reap(self._inventory.find(name))

    def prune(self) -> tuple[str, ...]:
        """Remove all that do not run; their ids."""
        removed = []
        for info in self.list(all=True):
            if info.status in ("created", "exited", "dead"):
                self._ending.remove(self._inventory.find(info.id), volumes=False)
                removed.append(info.id)
        return tuple(removed)

    def _session(self, record: ContainerRecord, verb: str) -> Session:
        observed = self._inventory.observe(record)
        if observed.status not in ("running", "paused"):
            raise Conflict(
                f"cannot {verb} container: {record.name}: container {record.id} is not running"
            )
        return self._starter.connect(record)
