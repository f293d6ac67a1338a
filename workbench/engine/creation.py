"""From ``RunOptions`` to a container that may be started: row, snapshot, bundle, monitor settings.

The row comes first and is the promise: what a crash leaves behind it is removed by ``recover``.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from workbench.engine.forms import size
from workbench.engine.images import Images
from workbench.engine.layout import StateDirectory
from workbench.engine.locks import held
from workbench.engine.mounting import Mounting, MountPlan
from workbench.engine.names import check_name, new_id, random_name
from workbench.engine.networking import Networking
from workbench.engine.options import RunOptions
from workbench.engine.settled import Settled
from workbench.engine.signals import signal_number
from workbench.engine.spec.assemble import assemble
from workbench.engine.spec.inputs import Inputs
from workbench.engine.spec.process import command
from workbench.engine.users import resolve_user
from workbench.errors import Conflict, InvalidInput, NotFound
from workbench.events import Report
from workbench.linux.host import Host
from workbench.monitor.settings import LogSettings, MonitorSettings, RestartSettings
from workbench.oci import codec
from workbench.oci.image import Healthcheck, Image
from workbench.runtime.bundle import Bundle
from workbench.state.containers import ContainerRecord, Containers
from workbench.store.snapshots import Snapshotter

_NAME_TRIES: Final = 20
DEFAULT_STOP_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Draft:
    """A container on its way: what was asked, of which image, and what that came to."""

    options: RunOptions
    image: Image
    plan: MountPlan
    settled: Settled


@dataclass(frozen=True, slots=True)
class Creator:
    """Makes containers. Everything it holds is handed in by the engine.

    ``on_exit`` is the command that a monitor runs, with the container's id behind it, when the
    container has ended and nobody was there to clean up.
    """

    directory: StateDirectory
    host: Host
    images: Images
    mounting: Mounting
    networking: Networking
    snapshotter: Snapshotter
    containers: Containers
    on_exit: tuple[str, ...]

    def create(self, options: RunOptions, *, report: Report) -> ContainerRecord:
        """Raises ImageNotFound, InvalidInput, Conflict (name), Unsupported; leaves nothing then."""
        image = self.images.for_container(
            options.image, platform=options.platform, pull=options.pull, report=report
        )
        id = new_id()
        self.networking.check(options)
        plan = self.mounting.plan(options, image)
        draft = _Draft(options, image, plan, self._settle(id, options, image, plan))
        # Whoever recovers may tell one that is being made from one whose maker died by the lock.
        with held(self.directory.lock(id)):
            try:
                record = self._add(id, draft)
                self._fill(record, draft)
            except BaseException:
                self.directory.lock(id).unlink()
                raise
        return record

    def _fill(self, record: ContainerRecord, draft: _Draft) -> None:
        try:
            self.mounting.use(draft.plan, record.id)
            self._make(record, draft)
        except BaseException:
            self.discard(record)
            raise

    def discard(self, record: ContainerRecord, *, volumes: bool = True) -> None:
        """Undo what ``create`` did, however far it came; ``volumes``: anonymous ones too."""
        self.containers.removing(record.id)
        shutil.rmtree(self.directory.container(record.id), ignore_errors=True)
        with suppress(NotFound):
            self.snapshotter.remove(record.id)
        anonymous = self.mounting.anonymous(record.id) if volumes else ()
        self.containers.remove(record.id)
        self.mounting.drop(anonymous)

    def _settle(self, id: str, options: RunOptions, image: Image, plan: MountPlan) -> Settled:
        config = image.config.config
        timeout = options.stop_timeout
        return Settled(
            command=command(options, config),
            hostname=self.networking.hostname(id, options),
            chain=image.chain_id or "",
            stop_signal=signal_number(options.stop_signal or config.stop_signal or "TERM"),
            stop_timeout=DEFAULT_STOP_TIMEOUT if timeout is None else float(timeout),
            labels={**config.labels, **options.labels},
            mounts=plan.shown,
            exposed=tuple(sorted({*config.exposed_ports, *options.networking.expose})),
        )

    def _add(self, id: str, draft: _Draft) -> ContainerRecord:
        """Write the row, under the wanted name or under a random one that is free."""
        options = draft.options
        tries = 1 if options.name else _NAME_TRIES
        while True:
            tries -= 1
            record = ContainerRecord(
                id=id,
                name=check_name(options.name) if options.name else random_name(),
                image=options.image,
                image_id=draft.image.id,
                manifest=codec.dumps(draft.image.descriptor).decode(),
                options=codec.dumps(options).decode(),
                settled=codec.dumps(draft.settled).decode(),
                created_ns=time.time_ns(),
            )
            try:
                self.containers.add(record)
            except Conflict:
                if not tries:
                    raise
            else:
                return record

    def _make(self, record: ContainerRecord, draft: _Draft) -> None:
        where = self.directory.container(record.id)
        (where / "rootfs").mkdir(mode=0o700, parents=True)
        mounts = self.snapshotter.prepare(record.id, draft.settled.chain or None)
        self.networking.write_files(where, draft.options, draft.settled.hostname)
        Bundle.write(where, assemble(self._inputs(record, draft)), tuple(mounts))
        self._monitor_settings(record, draft).write(where)

    def _inputs(self, record: ContainerRecord, draft: _Draft) -> Inputs:
        """Everything that the specification depends on."""
        options, image = draft.options, draft.image
        user = resolve_user(
            options.user or image.config.config.user,
            self.images.text_file(image, "/etc/passwd"),
            self.images.text_file(image, "/etc/group"),
            options.group_add,
        )
        return Inputs(
            id=record.id,
            options=options,
            image=image.config.config,
            host=self.host,
            directory=self.directory.container(record.id),
            user=user,
            hostname=draft.settled.hostname,
            mounts=draft.plan.resolved,
            joined=self.networking.joined(options),
        )

    def _monitor_settings(self, record: ContainerRecord, draft: _Draft) -> MonitorSettings:
        options, settled = draft.options, draft.settled
        restart = options.restart
        return MonitorSettings(
            id=record.id,
            log=_log_settings(options),
            tty=options.tty,
            open_stdin=options.interactive,
            stdin_once=options.interactive and not options.detach,
            stop_signal=settled.stop_signal,
            stop_timeout=settled.stop_timeout,
            restart=RestartSettings(policy=restart.name, maximum=restart.maximum),
            healthcheck=_healthcheck(options, draft.image.config.config.healthcheck),
            on_exit=(*self.on_exit, record.id) if self._leaves_work(options) else (),
        )

    def _leaves_work(self, options: RunOptions) -> bool:
        return options.remove or self.networking.attaches(options)


def _healthcheck(options: RunOptions, of_image: Healthcheck | None) -> Healthcheck | None:
    """The caller's check, its gaps filled from the image's; None where there is none."""
    own = options.healthcheck
    merged = own or of_image
    if own and of_image:
        names = ("test", "interval", "timeout", "start_period", "start_interval", "retries")
        merged = Healthcheck(
            **{name: getattr(own, name) or getattr(of_image, name) for name in names}
        )
    if options.no_healthcheck or merged is None or merged.test[:1] in ((), ("NONE",)):
        return None
    return merged


def _log_settings(options: RunOptions) -> LogSettings:
    known = {"max-size", "max-file", "compress", "labels", "env", "tag", "mode", "max-buffer-size"}
    for name in options.log.options:
        if name not in known:
            raise InvalidInput(f"unknown log opt '{name}' for {options.log.driver} log driver")
    max_file = options.log.options.get("max-file", "1")
    if not max_file.isdecimal() or int(max_file) < 1:
        raise InvalidInput(f"invalid value for max-file: {max_file!r}")
    return LogSettings(
        driver=options.log.driver,
        max_size=size(options.log.options.get("max-size", "0")),
        max_file=int(max_file),
    )
