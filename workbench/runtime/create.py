"""The parent's side of a new container: clone, id maps, cgroup, hooks, hand-shake, state.json.

Call from a single-threaded process: the child is a fork of the caller and becomes its child, so
the caller waits for ``Created.pid``. Nothing else is spawned except hooks and newuidmap.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from workbench.errors import Conflict, Internal, Unsupported, WorkbenchError
from workbench.linux import cgroup, process, seccomp
from workbench.linux import host as hosts
from workbench.linux.cgroup import Cgroup
from workbench.linux.host import Host
from workbench.oci.runtime_spec import Hooks, Linux, Resources, Spec
from workbench.runtime import hooks as hook_runner
from workbench.runtime import init, state
from workbench.runtime.bundle import Bundle
from workbench.runtime.channel import Channel, Message, pair, to_error
from workbench.runtime.idmap import write_maps
from workbench.runtime.plan import InitPlan, plan
from workbench.runtime.sockets import bind_at, connect_at, send_console

START_SOCKET = "start.sock"


@dataclass(frozen=True, slots=True)
class Stdio:
    """Descriptors of the caller that become 0, 1 and 2 of the container. They stay the caller's."""

    stdin: int
    stdout: int
    stderr: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A container whose program waits to be started.

    ``pid`` is a child of the caller: the caller must wait for it. ``pidfd`` and ``console_fd``
    (the pty's master where ``process.terminal`` is set, else None) belong to the caller from now
    on. Closing ``channel`` before ``start`` ends the container; it is None when ``detached``.
    """

    pid: int
    pidfd: int
    console_fd: int | None
    directory: Path
    channel: Channel | None
    _poststart: tuple[Any, ...] = field(default=(), repr=False)

    def start(self) -> None:
        """Let the program run; returns after its execve(2), and runs the poststart hooks.

        Raises CommandNotFound or CommandNotRunnable where execve fails, and whatever a
        startContainer hook causes; the process has ended then and must be waited for.
        """
        if self.channel is None:
            start(self.directory)
            return
        record = state.read(self.directory)
        _say_start(self.channel, record.program)
        _after_start(self.directory, record, self._poststart)


def create(
    bundle: Bundle,
    container_id: str,
    *,
    stdio: Stdio | None = None,
    host: Host | None = None,
    directory: Path | None = None,
    detached: bool = False,
    console_socket: Path | None = None,
    preserved_fds: Sequence[int] = (),
    no_pivot: bool = False,
) -> Created:
    """Make a container: everything but the execve(2) of its program, which was found already.

    ``stdio`` None inherits 0, 1 and 2; it is ignored where ``process.terminal`` is set.
    ``host`` None probes. ``directory`` is where state.json goes, by default the bundle.
    ``detached`` makes init wait on ``start.sock`` in ``directory`` for ``start(directory)`` of any
    process; without it, init ends when the caller does before ``Created.start``.
    ``console_socket`` receives the pty's master (as runc's ``--console-socket``).
    ``preserved_fds`` become 3, 4, ... of the program.

    Raises CommandNotFound (127), CommandNotRunnable (126), InvalidInput, Unsupported (namespaces
    or mounts that this host refuses), Conflict (the directory has a container). After an error
    nothing is left: child reaped, cgroup removed, no state.json.
    """
    where = directory or bundle.path
    if state.exists(where):
        raise Conflict(f"container with given ID already exists: {container_id}")
    spec = bundle.spec()
    facts = host or hosts.probe(bundle.path)
    group, group_path = _make_cgroup(spec, container_id, facts)
    try:
        rootfs = str(bundle.rootfs(spec).absolute())
        todo = plan(
            spec, facts, bundle.rootfs_mounts(), rootfs=rootfs, bundle=str(bundle.path.absolute()),
            name=container_id, no_pivot=no_pivot, cgroup=group is not None,
        )  # fmt: skip
        birth = _Birth(bundle=bundle, id=container_id, spec=spec, plan=todo, group=group,
                       group_path=group_path, directory=where, rootfs=rootfs)  # fmt: skip
        return birth.bring_forth(stdio, preserved_fds, console_socket, detached=detached)
    except BaseException:
        if group is not None:
            with contextlib.suppress(OSError):
                group.kill()
                group.delete()
        raise


def _make_cgroup(spec: Spec, container_id: str, host: Host) -> tuple[Cgroup | None, str]:
    """The group that the specification asks for; None where none was asked for and none can be.

    Limits that cannot be given are refused, never ignored; the device rules of a container in a
    user namespace are the exception, since the namespace itself opens no device.
    """
    linux = spec.linux or Linux()
    resources = linux.resources or Resources()
    driver = cgroup.driver()
    wanted = linux.cgroups_path or f"/workbench/{container_id}"
    if driver is None:
        asked = [name for name, value in _limits(resources) if value]
        if asked:
            raise Unsupported(
                f"limits ({', '.join(asked)}) need a cgroup that this user may write",
                hint=dict(host.reasons).get("cgroup", "no cgroup here is delegated to this user"),
            )
        return None, ""
    missing = [item for item in driver.missing(resources) if not item.startswith("device")]
    if missing:
        raise Unsupported("this host cannot give " + "; ".join(missing))
    try:
        return driver.create(wanted, resources), wanted
    except OSError as error:
        raise Unsupported(f"cgroup {wanted}: {error}") from error


def _limits(resources: Resources) -> list[tuple[str, Any]]:
    return [
        ("memory", resources.memory), ("cpu", resources.cpu), ("pids", resources.pids),
        ("blockIO", resources.block_io), ("hugepages", resources.hugepage_limits),
        ("unified", resources.unified),
    ]  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Birth:
    """One container on its way from plan to "created", seen from the parent."""

    bundle: Bundle
    id: str
    spec: Spec
    plan: InitPlan
    group: Cgroup | None
    group_path: str
    directory: Path
    rootfs: str
    console: int | None = None

    def bring_forth(
        self, stdio: Stdio | None, preserved: Sequence[int], console_socket: Path | None,
        *, detached: bool,
    ) -> Created:  # fmt: skip
        listener = bind_at(self.directory, START_SOCKET) if detached else None
        ours, theirs = pair()
        numbers = (stdio.stdin, stdio.stdout, stdio.stderr) if stdio else None
        pid = 0
        try:
            pid = self._clone(ours, theirs, numbers, preserved, listener)
            theirs.close()
            pidfd = process.pidfd_open(pid)
            self._converse(pid, ours, console_socket)
            self._record(pid)
        except BaseException:
            self._abandon(pid, ours)
            raise
        finally:
            if listener is not None:
                listener.close()
        if detached:
            ours.close()
        hooks = (self.spec.hooks or Hooks()).poststart
        return Created(pid=pid, pidfd=pidfd, console_fd=self.console, directory=self.directory,
                       channel=None if detached else ours, _poststart=hooks)  # fmt: skip

    def _clone(
        self, ours: Channel, theirs: Channel, stdio: Sequence[int] | None,
        preserved: Sequence[int], listener: socket.socket | None,
    ) -> int:  # fmt: skip
        """One fork where all namespaces are new; a stage between us where some are joined."""

        def become_init() -> NoReturn:
            init.run(self.plan, theirs, stdio=stdio, preserved=preserved, listener=listener)

        try:
            if not self.plan.join:
                pid = process.fork(self.plan.flags)
                if pid == 0:
                    become_init()
                return pid
            stage = process.fork()
        except OSError as error:
            raise _clone_error(self.plan, error) from error
        if stage == 0:
            _run_stage(self.plan, theirs, become_init)
        return _wait_for_stage(stage, ours, self._program())

    def _program(self) -> str:
        return self.spec.process.args[0] if self.spec.process else ""

    def _converse(self, pid: int, channel: Channel, console_socket: Path | None) -> None:
        if self.plan.uid_mappings:
            write_maps(pid, self.plan.uid_mappings, self.plan.gid_mappings)
            channel.send("proceed")
        if self.group is not None:
            self.group.add(pid)
            channel.send("proceed")
        for profile in self.plan.filters:
            channel.send_filter(seccomp.compile_filter(profile))
        while True:
            message = channel.receive()
            if message is None:
                raise Internal("init ended before the container was created")
            if message["type"] == "created":
                return
            self._answer(message, pid, channel, console_socket)

    def _answer(self, message: Message, pid: int, channel: Channel, console: Path | None) -> None:
        if message["type"] == "hooks":
            given = self._hook_state(pid)
            wanted = self.spec.hooks or Hooks()
            hook_runner.run_all("prestart", wanted.prestart, given)
            hook_runner.run_all("createRuntime", wanted.create_runtime, given)
            channel.send("state", state=given)
        elif message["type"] == "console":
            self.console = channel.descriptors.pop()
            if console is not None:
                send_console(console, self.console)
                os.close(self.console)
                self.console = None
        else:
            raise to_error(message, self._program())

    def _hook_state(self, pid: int) -> dict[str, Any]:
        return {
            "ociVersion": self.spec.oci_version, "id": self.id, "status": "creating", "pid": pid,
            "bundle": str(self.bundle.path.absolute()), "annotations": dict(self.spec.annotations),
        }  # fmt: skip

    def _record(self, pid: int) -> None:
        record = state.Record(
            id=self.id, bundle=str(self.bundle.path.absolute()), pid=pid,
            start_time=process.start_time(pid), created=state.now(), cgroup=self.group_path,
            rootfs=self.rootfs, program=self._program(), oci_version=self.spec.oci_version,
            annotations=self.spec.annotations,
        )  # fmt: skip
        state.write(self.directory, record)

    def _abandon(self, pid: int, channel: Channel) -> None:
        """What an unborn container leaves: a child, a pty, a socket."""
        channel.close()
        if pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        if self.console is not None:
            os.close(self.console)
        (self.directory / START_SOCKET).unlink(missing_ok=True)
        state.forget(self.directory)


def _clone_error(todo: InitPlan, error: OSError) -> WorkbenchError:
    kinds = ", ".join(todo.clone) or "no"
    return Unsupported(
        f"cannot make new namespaces ({kinds}): {error.strerror}",
        hint="user.max_*_namespaces, a seccomp filter or missing privileges forbid it",
    )


def _run_stage(todo: InitPlan, channel: Channel, become_init: Any) -> NoReturn:
    try:
        pid = init.join_and_clone(todo, channel)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        init.report(channel, error, None)
        os._exit(1)
    if pid == 0:
        become_init()
    channel.send("child", pid=pid)
    os._exit(0)


def _wait_for_stage(stage: int, channel: Channel, program: str) -> int:
    message = channel.receive()
    os.waitpid(stage, 0)
    if message is None:
        raise Internal("joining the namespaces ended without a word")
    if message["type"] != "child":
        raise to_error(message, program)
    return int(message["pid"])


def start(directory: Path) -> None:
    """Start a container that was created ``detached``.

    Raises as ``Created.start``, and Conflict unless it is in the state "created".
    """
    now = state.state(directory)
    if now.status != "created":
        raise Conflict(f"cannot start a container in the {now.status} state")
    record = state.read(directory)
    try:
        connection = connect_at(directory, START_SOCKET)
    except OSError as error:
        raise Conflict("container is being started already") from error
    channel = Channel(connection)
    (directory / START_SOCKET).unlink(missing_ok=True)
    _say_start(channel, record.program, said=True)
    hooks = Bundle(Path(record.bundle)).spec().hooks or Hooks()
    _after_start(directory, record, hooks.poststart)


def _say_start(channel: Channel, program: str, *, said: bool = False) -> None:
    """The end of the stream is the good answer: execve(2) closed the other end."""
    try:
        if not said:
            channel.send("start")
        message = channel.receive()
    except BrokenPipeError:
        raise Conflict("container is not running") from None
    finally:
        channel.close()
    if message is not None:
        raise to_error(message, program)


def _after_start(directory: Path, record: state.Record, hooks: Sequence[Any]) -> None:
    state.mark_started(directory, record)
    if hooks:
        hook_runner.run_all("poststart", hooks, state.for_hooks(directory))
