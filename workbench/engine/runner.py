"""RUN steps: a container in the foreground, tied to the build, watched by a monitor as all are."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from workbench.build.request import RunSettings
from workbench.engine.host_files import host_resolvers
from workbench.engine.layout import StateDirectory
from workbench.engine.locks import held, wait_until_free
from workbench.engine.names import new_id
from workbench.engine.options import NetworkOptions, ResourceOptions, RunOptions, SecurityOptions
from workbench.engine.spec.assemble import assemble
from workbench.engine.spec.inputs import Inputs, Joined, ResolvedMount, ResolvedUser
from workbench.engine.spec.process import DEFAULT_PATH, capability_sets, merge_environment
from workbench.errors import Interrupted
from workbench.events import Stream
from workbench.linux.host import Host
from workbench.linux.mount import Mount
from workbench.monitor.client import Attachment, Launcher
from workbench.monitor.record import PID_FILE
from workbench.monitor.settings import LogSettings, MonitorSettings
from workbench.network import files
from workbench.oci.image import ContainerConfig
from workbench.oci.runtime_spec import Process, Spec
from workbench.runtime.bundle import Bundle

_HOSTNAME: Final = "buildkitsandbox"
_PATIENCE: Final = 10.0
_POLL: Final = 0.1


class StepRunner:
    """Implements ``build.request.Runner`` on this engine's launcher. Threads may share it."""

    def __init__(self, directory: StateDirectory, host: Host, launcher: Launcher) -> None:
        self._directory = directory
        self._host = host
        self._launcher = launcher

    def run(
        self,
        mounts: Sequence[Mount],
        process: Process,
        *,
        settings: RunSettings,
        output: Callable[[Stream, bytes], None],
        cancel: threading.Event,
    ) -> int:
        """The exit code; see the protocol for what ends it early."""
        id = new_id()
        where = self._directory.builds / id
        with held(self._directory.lock(id), remove=True):
            (where / "rootfs").mkdir(mode=0o700, parents=True)
            try:
                self._write(where, id, mounts, process, settings)
                with self._launcher.spawn(where) as session, session.run_attached() as attachment:
                    return _follow(attachment, output, cancel)
            finally:
                wait_until_free(where / PID_FILE, _PATIENCE)
                shutil.rmtree(where, ignore_errors=True)

    def _write(
        self,
        where: Path,
        id: str,
        mounts: Sequence[Mount],
        process: Process,
        settings: RunSettings,
    ) -> None:
        extra = [files.parse_extra_host(line) for line in settings.extra_hosts]
        (where / "hostname").write_text(files.hostname_file(_HOSTNAME))
        (where / "hosts").write_text(files.hosts_file((), extra))
        (where / "resolv.conf").write_text(files.host_resolv_conf(host_resolvers()))
        Bundle.write(where, self._spec(where, id, process, settings), tuple(mounts))
        MonitorSettings(id=id, log=LogSettings(driver="none")).write(where)

    def _spec(self, where: Path, id: str, process: Process, settings: RunSettings) -> Spec:
        options = _options(process, settings)
        inputs = Inputs(
            id=id,
            options=options,
            image=ContainerConfig(),
            host=self._host,
            directory=where,
            user=ResolvedUser(uid=process.user.uid, gid=process.user.gid),
            hostname=_HOSTNAME,
            mounts=tuple(_mount(item) for item in settings.mounts),
            joined=Joined(network="" if settings.network == "none" else None),
            cgroup_parent="workbench/builds",
        )
        spec = assemble(inputs)
        environment = merge_environment([f"PATH={DEFAULT_PATH}"], process.env)
        own = replace(
            process,
            env=tuple(environment),
            capabilities=capability_sets(options, process.user.uid),
        )
        return replace(spec, process=own)


def _options(process: Process, settings: RunSettings) -> RunOptions:
    return RunOptions(
        image="",
        command=process.args,
        network=NetworkOptions(mode="none" if settings.network == "none" else "host"),
        resources=ResourceOptions(memory=settings.memory),
        security=SecurityOptions(privileged=settings.security == "insecure"),
        shm_size=settings.shm_size or 64 * 1024**2,
    )


def _mount(mount: Mount) -> ResolvedMount:
    target = mount.target if mount.target.startswith("/") else f"/{mount.target}"
    return ResolvedMount(type=mount.type, target=target, source=mount.source, options=mount.options)


def _follow(
    attachment: Attachment, output: Callable[[Stream, bytes], None], cancel: threading.Event
) -> int:
    """Pass output on until the end; leaving early closes the attachment, which kills it."""
    done = threading.Event()
    watcher = threading.Thread(target=_kill_on, args=(cancel, done, attachment), daemon=True)
    watcher.start()
    try:
        for chunk in attachment:
            output(chunk.stream, chunk.data)
        code = attachment.wait().code
    finally:
        done.set()
    if cancel.is_set():
        raise Interrupted("the build was stopped")
    return code


def _kill_on(cancel: threading.Event, done: threading.Event, attachment: Attachment) -> None:
    while not done.wait(_POLL):
        if cancel.is_set():
            attachment.signal(9)
            return
