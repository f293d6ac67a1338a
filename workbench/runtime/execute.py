"""Run one more process in a container that runs.

A stage process joins the namespaces and gives up everything that the new process shall not have;
only then is the process itself forked, so that those in the container never see a process of ours
that has more rights than they do (CVE-2016-9962).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NoReturn

from workbench.errors import Conflict, Internal, Unsupported
from workbench.linux import host as hosts
from workbench.linux import namespaces, process, pty, seccomp
from workbench.linux.host import Host
from workbench.oci.runtime_spec import Linux, Process, Spec
from workbench.runtime import init, perform, state, steps
from workbench.runtime.bundle import Bundle
from workbench.runtime.channel import Channel, pair, to_error
from workbench.runtime.create import Stdio
from workbench.runtime.plan import names_call, process_steps, run_steps
from workbench.runtime.scene import Scene
from workbench.runtime.steps import Step

_HANDED_DOWN: Final = (steps.InstallFilter,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """A process that runs: a child of the caller, who must wait for ``pid``.

    ``pidfd`` and ``console_fd`` (None without a terminal) belong to the caller.
    """

    pid: int
    pidfd: int
    console_fd: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutePlan:
    """``stage`` runs before the fork that enters the pid namespace, ``final`` after it.

    ``join`` are the kinds of namespace that differ from the caller's.
    """

    join: tuple[str, ...]
    stage: tuple[Step, ...]
    final: tuple[Step, ...]

    @property
    def flags(self) -> int:
        return sum(namespaces.FLAGS[kind] for kind in self.join)

    def explain(self) -> str:
        """The plan as text: one line per step, with system call and man page."""
        lines = [f"join {', '.join(self.join) or 'nothing'}  setns(pidfd)  [setns(2)]"]
        lines += [f"  {step.explain()}" for step in self.stage]
        lines.append("clone(CLONE_PARENT)  [clone(2)]")
        lines += [f"  {step.explain()}" for step in self.final]
        return "\n".join(lines)


def plan_execute(spec: Spec, wanted: Process, host: Host, join: tuple[str, ...]) -> ExecutePlan:
    """Plan one more process: pure. Filter and label are the container's own.

    Capabilities that ``wanted`` leaves open are those of the container's first process.
    """
    linux = spec.linux or Linux()
    first = spec.process or Process()
    effective = replace(
        wanted,
        capabilities=wanted.capabilities or first.capabilities,
        apparmor_profile=wanted.apparmor_profile or first.apparmor_profile,
    )
    in_user_namespace = any(namespace.type == "user" for namespace in linux.namespaces)
    before: list[Step] = []
    if effective.oom_score_adj is not None:
        before.append(steps.SetOomScore(effective.oom_score_adj))
    own = list(
        process_steps(effective, host, linux.seccomp, in_user_namespace=in_user_namespace,
                      gid_mappings=linux.gid_mappings, personality=linux)
    )  # fmt: skip
    final: list[Step] = [steps.NewSession()]
    if effective.terminal:
        final.append(steps.AdoptConsole())
    arrived = len(final)
    final += run_steps(effective, linux.seccomp)
    if linux.seccomp and not names_call(linux.seccomp, "clone"):
        cut = next((i for i, s in enumerate(own) if isinstance(s, _HANDED_DOWN)), len(own))
        final[arrived:arrived] = own[cut:]
        own = own[:cut]
    return ExecutePlan(join=join, stage=(*before, *own), final=tuple(final))


def execute(
    directory: Path,
    process: Process,
    *,
    stdio: Stdio | None = None,
    preserved_fds: Sequence[int] = (),
    host: Host | None = None,
) -> Executed:
    """Join all namespaces and the cgroup of the container in ``directory`` and run ``process``.

    Returns after execve(2). Seccomp filter and apparmor label are those of the container's own
    specification; user, capabilities, limits and no_new_privs those of ``process``. Call from a
    single-threaded process.

    Raises ContainerNotFound, Conflict (not running, paused), CommandNotFound,
    CommandNotRunnable, Unsupported.
    """
    now = state.state(directory)
    if now.status not in ("running", "created"):
        raise Conflict(f"cannot exec in a {now.status} container")
    record = state.read(directory)
    spec = Bundle(Path(record.bundle)).spec()
    try:
        pidfd = os.pidfd_open(record.pid)
    except OSError as error:
        raise Conflict("container not running") from error
    try:
        join = namespaces.differing(record.pid)
        if not _is_same(record):
            raise Conflict("container not running")
        facts = host or hosts.probe(directory)
        entry = _Entry(record=record, plan=plan_execute(spec, process, facts, join), pidfd=pidfd,
                       wanted=process)  # fmt: skip
        return entry.run(stdio, preserved_fds)
    except FileNotFoundError as error:
        raise Conflict("container not running") from error
    finally:
        os.close(pidfd)


def _is_same(record: state.Record) -> bool:
    return process.is_alive(record.pid, record.start_time)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One process on its way into a container, seen from the parent."""

    record: state.Record
    plan: ExecutePlan
    pidfd: int
    wanted: Process

    def run(self, stdio: Stdio | None, preserved: Sequence[int]) -> Executed:
        ours, theirs = pair()
        numbers = (stdio.stdin, stdio.stdout, stdio.stderr) if stdio else None
        stage = process.fork()
        if stage == 0:
            self._become_stage(theirs, numbers, preserved)
        theirs.close()
        pid, console = stage, None
        try:
            self._prepare(stage, ours)
            while (message := ours.receive()) is not None:
                if message["type"] == "child":
                    os.waitpid(stage, 0)
                    pid = int(message["pid"])
                elif message["type"] == "console":
                    console = ours.descriptors.pop()
                else:
                    raise to_error(message, self.wanted.args[0])
            return Executed(pid=pid, pidfd=self._watch(pid, stage), console_fd=console)
        except BaseException:
            _give_up({pid, stage}, console)
            raise
        finally:
            ours.close()

    def _prepare(self, stage: int, channel: Channel) -> None:
        group = state.cgroup_of(self.record)
        if group is not None:
            try:
                group.add(stage)
            except OSError as error:
                raise Unsupported(f"cannot join the cgroup of the container: {error}") from error
        channel.send("proceed")
        for step in (*self.plan.stage, *self.plan.final):
            if isinstance(step, steps.InstallFilter):
                channel.send_filter(seccomp.compile_filter(step.profile))

    def _watch(self, pid: int, stage: int) -> int:
        """A stage that ended without a word left no process behind."""
        if "pid" in self.plan.join and pid == stage:
            raise Internal("joining the container ended without a word")
        return process.pidfd_open(pid)

    def _become_stage(
        self, channel: Channel, stdio: Sequence[int] | None, preserved: Sequence[int]
    ) -> NoReturn:
        """Never returns: becomes the process itself, or its short-lived forerunner."""
        scene: Scene | None = None
        try:
            init.forget_the_caller()
            scene = self._arrive(channel, stdio, preserved)
            init.perform_all(self.plan.stage, scene)
            if "pid" in self.plan.join:
                pid = process.fork(namespaces.CLONE_PARENT)
                if pid:
                    scene.channel.send("child", pid=pid)
                    os._exit(0)
            init.perform_all(self.plan.final, scene)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            init.report(scene.channel if scene else channel, error, scene)
        os._exit(1)

    def _arrive(
        self, channel: Channel, stdio: Sequence[int] | None, preserved: Sequence[int]
    ) -> Scene:
        """Into the cgroup (by the parent), out of sight, into the namespaces."""
        ours = [channel.fileno(), self.pidfd]
        number, pidfd = init.arrange_descriptors(ours, stdio, preserved)
        scene = Scene(channel=Channel.of(number), proc=init.open_proc())
        perform.await_message(scene, "proceed")
        process.set_dumpable(on=False)
        scene.doing = "joining the namespaces of the container"
        _join(self.plan, self.record.pid, pidfd)
        os.close(pidfd)
        if self.wanted.terminal:
            scene.console = _open_console(self.wanted)
        return scene


def _join(plan: ExecutePlan, pid: int, pidfd: int) -> None:
    """By pidfd all at once (Linux 5.8), else one by one from descriptors opened beforehand."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    files = [(kind, _open_namespace(pid, kind)) for kind in plan.join]
    try:
        if plan.join:
            namespaces.setns(pidfd, plan.flags)
    except OSError:
        for kind, descriptor in files:
            namespaces.setns(descriptor, namespaces.FLAGS[kind])
    for _, descriptor in files:
        os.close(descriptor)
    if "mount" not in plan.join:
        os.fchdir(root)
        os.chroot(".")
    os.close(root)
    os.chdir("/")
    if "user" in plan.join:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        process.set_dumpable(on=False)


def _open_namespace(pid: int, kind: str) -> int:
    return os.open(f"/proc/{pid}/ns/{namespaces.FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC)


def _open_console(wanted: Process) -> tuple[int, int]:
    master, slave = pty.open_pty("/", "/dev/pts/ptmx")
    if wanted.console_size:
        pty.set_size(master, wanted.console_size.height, wanted.console_size.width)
    return master, slave


def _give_up(pids: set[int], console: int | None) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if console is not None:
        os.close(console)
