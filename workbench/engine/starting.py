"""Letting containers run: in the background, or in the foreground with output to a callback."""

from __future__ import annotations

import threading
import time
from typing import BinaryIO

from workbench.engine.ending import Ending
from workbench.engine.happenings import Happenings
from workbench.engine.inventory import Inventory
from workbench.engine.layout import StateDirectory
from workbench.engine.locks import held
from workbench.engine.networking import Networking
from workbench.engine.options import RunOptions
from workbench.errors import NotModified, WorkbenchError
from workbench.events import Notice, Output, Report
from workbench.monitor.client import Attachment, Launcher, Session
from workbench.monitor.record import clear
from workbench.oci import codec
from workbench.state.containers import ContainerRecord, Containers

_STDIN_CHUNK = 64 * 1024


class Starter:
    """Starts containers, waits for them, and connects to their monitors."""

    def __init__(
        self,
        directory: StateDirectory,
        launcher: Launcher,
        containers: Containers,
        inventory: Inventory,
        networking: Networking,
        ending: Ending,
        happenings: Happenings,
    ) -> None:
        self._directory = directory
        self._launcher = launcher
        self._containers = containers
        self._inventory = inventory
        self._networking = networking
        self._ending = ending
        self._happenings = happenings

    def start(self, record: ContainerRecord) -> None:
        """Run it in the background. Raises NotModified where it runs already."""
        options = codec.loads(RunOptions, record.options)
        with held(self._directory.lock(record.id)):
            if self._inventory.observe(record).running:
                raise NotModified(f"container {record.name} is already running")
            with self._spawn(record) as session:
                try:
                    self._begin(record, options, session)
                except WorkbenchError as error:
                    self._failed(record, error)
                    raise
        self._started(record)

    def run(
        self,
        record: ContainerRecord,
        options: RunOptions,
        *,
        report: Report,
        stdin: BinaryIO | None = None,
    ) -> None:
        """Run it to its end; it is tied to this call, and killed where the call is left early."""
        with self._spawn(record) as session:
            try:
                attachment = self._attached(record, options, session, stdin is not None, report)
            except WorkbenchError as error:
                self._failed(record, error)
                raise
            self._started(record)
            with attachment:
                self._pump(attachment, report, stdin)
                end = attachment.wait()
        self._ending.ended(record, end)

    def wait(self, record: ContainerRecord) -> int:
        """The exit code, when it does not run any more."""
        if self._inventory.observe(record).running:
            with self.connect(record) as session:
                return session.wait().code
        return self._inventory.observe(record).exit_code or 0

    def connect(self, record: ContainerRecord) -> Session:
        """A session with the monitor that watches it. Raises NotFound where none does."""
        return Session.connect(self._directory.container(record.id))

    def _spawn(self, record: ContainerRecord) -> Session:
        """A monitor for it, once what an earlier run left behind is gone."""
        where = self._directory.container(record.id)
        clear(where)
        self._networking.detach(record)
        return self._launcher.spawn(where)

    def _begin(self, record: ContainerRecord, options: RunOptions, session: Session) -> None:
        if not self._networking.attaches(options):
            session.run()
            return
        pid = session.create()
        self._networking.attach(record, options, pid)
        session.start()

    def _attached(
        self,
        record: ContainerRecord,
        options: RunOptions,
        session: Session,
        stdin: bool,
        report: Report,
    ) -> Attachment:
        if not self._networking.attaches(options):
            return session.run_attached(stdin=stdin)
        pid = session.create(tie=True, adopt_exit=True)
        for message in self._networking.attach(record, options, pid):
            report(Notice(message=message))
        attachment = session.attach(stdin=stdin, tie=True, adopt_exit=True)
        try:
            session.start(tie=True, adopt_exit=True)
        except BaseException:
            attachment.close()
            raise
        return attachment

    def _pump(self, attachment: Attachment, report: Report, stdin: BinaryIO | None) -> None:
        if stdin is not None:
            threading.Thread(target=_feed, args=(attachment, stdin), daemon=True).start()
        for chunk in attachment:
            report(Output(stream=chunk.stream, data=chunk.data))

    def _started(self, record: ContainerRecord) -> None:
        self._containers.started(record.id, time.time_ns())
        self._happenings.of_container(record, "start")

    def _failed(self, record: ContainerRecord, error: WorkbenchError) -> None:
        """It never ran: say so in the facts, with Docker's exit code."""
        self._networking.detach(record)
        self._containers.finished(
            record.id,
            time_ns=time.time_ns(),
            exit_code=error.exit_code,
            oom_killed=False,
            error=error.message,
        )


def _feed(attachment: Attachment, stdin: BinaryIO) -> None:
    """Our input to the container's, until either ends."""
    read = getattr(stdin, "read1", stdin.read)
    try:
        while data := read(_STDIN_CHUNK):
            attachment.write(data)
        attachment.close_stdin()
    except (OSError, ValueError):
        return
