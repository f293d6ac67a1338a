"""How each step is performed: one short function for each, found by the type of the step."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from workbench.errors import (
    CommandNotFound,
    CommandNotRunnable,
    InvalidInput,
    Unsupported,
)
from workbench.linux import capabilities, libc, namespaces, process, seccomp, trampoline
from workbench.runtime import entry, file_steps, hooks, perform_files, steps
from workbench.runtime.channel import Channel, Message
from workbench.runtime.scene import Scene
from workbench.runtime.steps import Step

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_POLICIES: Final = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
_POLICY_FLAGS: Final = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
_IO_CLASSES: Final = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_PERSONALITIES: Final = {"LINUX": 0x0000, "LINUX32": 0x0008}
_CLOCKS: Final = {"monotonic": 1, "boottime": 7}
_PASSWD_LIMIT: Final = 1 << 20


def perform(step: Step, scene: Scene) -> None:
    """Perform one step. Raises OSError or a WorkbenchError."""
    _PERFORMERS[type(step)](step, scene)


def _hide(step: steps.HideFromOthers, scene: Scene) -> None:
    process.set_dumpable(on=False)


def _show(step: steps.ShowToUser, scene: Scene) -> None:
    process.set_dumpable(on=True)


def _new_session(step: steps.NewSession, scene: Scene) -> None:
    os.setsid()


def _new_keyring(step: steps.NewKeyring, scene: Scene) -> None:
    with contextlib.suppress(OSError):
        process.join_new_session_keyring(step.name)


def await_message(scene: Scene, kind: str) -> Message:
    """Wait for the parent; filters that come meanwhile are kept. Ends with it where it ends."""
    while True:
        message = scene.channel.receive()
        if message is None:
            os._exit(1)
        if message["type"] == "filter":
            scene.filters.append(message["program"])
        if message["type"] == kind:
            return message


def _await_parent(step: steps.AwaitParent, scene: Scene) -> None:
    await_message(scene, "proceed")
    entry.move_in(scene.channel.take_descriptors())


def _become_root(step: steps.BecomeRoot, scene: Scene) -> None:
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _unshare(step: steps.Unshare, scene: Scene) -> None:
    namespaces.unshare(namespaces.FLAGS[step.kind])


def _enter_time_namespace(step: steps.EnterTimeNamespace, scene: Scene) -> None:
    process.set_dumpable(on=True)  # else timens_offsets belongs to the root of the host
    namespaces.unshare(namespaces.CLONE_NEWTIME)
    lines = [
        f"{_CLOCKS[clock]} {offset.secs} {offset.nanosecs}\n"
        for clock, offset in step.offsets.items()
        if clock in _CLOCKS
    ]
    if lines:
        _write_proc(scene, "self/timens_offsets", "".join(lines))
    entered = os.open("self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=scene.proc)
    try:
        namespaces.setns(entered, namespaces.CLONE_NEWTIME)
    finally:
        os.close(entered)
    process.set_dumpable(on=False)


def _write_proc(scene: Scene, name: str, text: str) -> None:
    """Write below the host's procfs, through the descriptor that was opened at the beginning."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=scene.proc)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _loopback_up(step: steps.LoopbackUp, scene: Scene) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(end, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(end, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _hostname(step: steps.SetHostname, scene: Scene) -> None:
    socket.sethostname(step.name)


def _domainname(step: steps.SetDomainname, scene: Scene) -> None:
    name = os.fsencode(step.name)
    libc.call("setdomainname", name, len(name))


def _sysctl(step: steps.SetSysctl, scene: Scene) -> None:
    """/proc/sys shows each process its own namespaces, so the host's procfs serves."""
    path = step.name if "/" in step.name else step.name.replace(".", "/")
    try:
        _write_proc(scene, f"sys/{path}", step.value)
    except FileNotFoundError:
        raise InvalidInput(f"sysctl {step.name!r} does not exist on this kernel") from None


def _ask_for_hooks(step: steps.AskForHooks, scene: Scene) -> None:
    scene.channel.send("hooks")
    scene.state = await_message(scene, "state")["state"]


def _run_hook(step: steps.RunHook, scene: Scene) -> None:
    hooks.run(step.kind, step.hook, scene.state)


def _rlimit(step: steps.SetRlimit, scene: Scene) -> None:
    """Where a hard limit may not be raised, as much as there is; a lower one is always exact."""
    kind = getattr(resource, step.limit.type, None)
    if kind is None:
        raise InvalidInput(f"unknown limit {step.limit.type!r}")
    soft, hard = _signed(step.limit.soft), _signed(step.limit.hard)
    if _above(soft, hard):
        raise InvalidInput(f"{step.limit.type}: the soft limit is above the hard limit")
    try:
        resource.setrlimit(kind, (soft, hard))
    except (PermissionError, ValueError):
        most = resource.getrlimit(kind)[1]
        hard = most if _above(hard, most) else hard
        resource.setrlimit(kind, (hard if _above(soft, hard) else soft, hard))


def _signed(value: int) -> int:
    return resource.RLIM_INFINITY if value < 0 or value >= 1 << 63 else value


def _above(one: int, other: int) -> bool:
    unlimited = resource.RLIM_INFINITY
    return other != unlimited and (one == unlimited or one > other)


def _oom_score(step: steps.SetOomScore, scene: Scene) -> None:
    """Lowering takes CAP_SYS_RESOURCE; without it the value of the caller stays."""
    try:
        _write_proc(scene, "self/oom_score_adj", str(step.value))
    except PermissionError:
        present = os.open("self/oom_score_adj", os.O_RDONLY | os.O_CLOEXEC, dir_fd=scene.proc)
        value = int(os.read(present, 16))
        os.close(present)
        if value < step.value:
            raise


def _scheduler(step: steps.SetScheduler, scene: Scene) -> None:
    wanted = step.scheduler
    if wanted.policy not in _POLICIES or not set(wanted.flags) <= set(_POLICY_FLAGS):
        raise InvalidInput(f"unknown scheduler {wanted.policy!r} {list(wanted.flags)}")
    process.set_scheduler(
        policy=_POLICIES[wanted.policy], flags=sum(_POLICY_FLAGS[flag] for flag in wanted.flags),
        nice=wanted.nice, priority=wanted.priority, runtime=wanted.runtime,
        deadline=wanted.deadline, period=wanted.period,
    )  # fmt: skip


def _io_priority(step: steps.SetIOPriority, scene: Scene) -> None:
    if step.priority.class_ not in _IO_CLASSES:
        raise InvalidInput(f"unknown I/O class {step.priority.class_!r}")
    process.set_io_priority(_IO_CLASSES[step.priority.class_], step.priority.priority)


def _personality(step: steps.SetPersonality, scene: Scene) -> None:
    if step.personality.domain not in _PERSONALITIES:
        raise InvalidInput(f"unknown personality {step.personality.domain!r}")
    process.set_personality(_PERSONALITIES[step.personality.domain])


def _label(step: steps.SetLabel, scene: Scene) -> None:
    try:
        _write_proc(scene, "self/attr/apparmor/exec", f"exec {step.profile}")
    except FileNotFoundError:
        _write_proc(scene, "self/attr/exec", f"exec {step.profile}")


def _no_new_privileges(step: steps.NoNewPrivileges, scene: Scene) -> None:
    process.set_no_new_privileges()


def _filter(step: steps.InstallFilter, scene: Scene) -> None:
    if not scene.filters:
        await_message(scene, "filter")
    seccomp.install(scene.filters.pop(0), step.profile.flags)


def _drop_bounding(step: steps.DropBounding, scene: Scene) -> None:
    capabilities.drop_bounding(step.keep)
    capabilities.keep_over_setuid()


def _change_user(step: steps.ChangeUser, scene: Scene) -> None:
    user = step.user
    _give_streams(user.uid)
    try:
        if step.groups:
            os.setgroups(user.additional_gids)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        if error.errno == errno.EINVAL:
            text = f"user {user.uid}:{user.gid} is not mapped into the user namespace"
            raise InvalidInput(text) from error
        raise
    process.set_dumpable(on=False)


def _give_streams(uid: int) -> None:
    """Pipes and terminals become the user's, so that /dev/stdout can be opened by name."""
    for number in range(3):
        with contextlib.suppress(OSError):
            status = os.fstat(number)
            if status.st_uid != uid and (stat.S_ISFIFO(status.st_mode) or os.isatty(number)):
                os.fchown(number, uid, -1)


def _capabilities(step: steps.SetCapabilities, scene: Scene) -> None:
    capabilities.apply(step.capabilities)


def _umask(step: steps.SetUmask, scene: Scene) -> None:
    os.umask(step.value)


def _change_directory(step: steps.ChangeDirectory, scene: Scene) -> None:
    """A directory outside of the root shows in getcwd(2): refused (CVE-2024-21626)."""
    if scene.in_directory:
        return
    try:
        os.chdir(step.path)
        where = process.working_directory()
    except OSError as error:
        if not step.final and error.errno in (errno.EACCES, errno.EPERM):
            return
        reason = (error.strerror or "").lower()
        text = f'chdir to cwd ("{step.path}") set in config.json failed: {reason}'
        raise InvalidInput(text) from None
    if not where.startswith("/"):
        raise InvalidInput("current working directory is outside of container mount namespace root")
    scene.in_directory = True


def _find_program(step: steps.FindProgram, scene: Scene) -> None:
    """As a shell would, but with the PATH of the container and as its user."""
    scene.close_proc()
    environment = _environment(step.env)
    scene.home = "" if "HOME" in environment else _home(os.getuid())
    name = step.args[0]
    if "/" in name:
        _check_runnable(name)
        scene.program = name
        return
    for directory in environment.get("PATH", "").split(":"):
        path = f"{directory or '.'}/{name}"
        if _is_runnable(path):
            scene.program = path
            return
    raise CommandNotFound(f'exec: "{name}": executable file not found in $PATH')


def _check_runnable(name: str) -> None:
    try:
        status = Path(name).stat()
    except PermissionError:
        raise CommandNotRunnable(f'exec: "{name}": permission denied') from None
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise CommandNotFound(f'exec: "{name}": stat {name}: {reason}') from None
    if stat.S_ISDIR(status.st_mode):
        raise CommandNotRunnable(f'exec: "{name}": is a directory')
    if not os.access(name, os.X_OK):
        raise CommandNotRunnable(f'exec: "{name}": permission denied')


def _is_runnable(path: str) -> bool:
    try:
        return Path(path).is_file() and os.access(path, os.X_OK)
    except OSError:
        return False


def _environment(lines: tuple[str, ...]) -> dict[str, str]:
    """The last of several values wins, as in a shell; what has no "=" is left out."""
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, separator, value in pairs if separator and name}


def _home(uid: int) -> str:
    """From the container's own passwd(5); "/" where it says nothing."""
    try:
        descriptor = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return "/"
    try:
        lines = os.read(descriptor, _PASSWD_LIMIT).decode("utf-8", "replace").splitlines()
    except OSError:
        return "/"
    finally:
        os.close(descriptor)
    for line in lines:
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"


def _await_start(step: steps.AwaitStart, scene: Scene) -> None:
    """Say "created"; from now on the channel is that of whoever says start."""
    scene.channel.send("created")
    if scene.listener is None:
        await_message(scene, "start")
        return
    scene.channel.close()
    connection, _ = scene.listener.accept()
    scene.listener.close()
    scene.channel = Channel(connection)


def _run(step: steps.Run, scene: Scene) -> NoReturn:
    """Never returns. Without the trampoline at least no magic link is executed."""
    environment = _environment(step.env)
    if scene.home:
        environment["HOME"] = scene.home
    path = scene.program
    channel = scene.channel.fileno()
    sealed = trampoline.make(os.fsencode(path), channel) if step.sealed else None
    if sealed is not None:
        os.set_inheritable(channel, True)
        with contextlib.suppress(OSError):
            os.execve(sealed, step.args, environment)
        os.set_inheritable(channel, False)
    if os.path.realpath(path).startswith("/proc/"):
        raise Unsupported(f'exec: "{path}": a program in /proc is not executed')
    os.execve(path, step.args, environment)


_PERFORMERS: Final[dict[type[Step], Callable[[Any, Scene], None]]] = {
    steps.HideFromOthers: _hide,
    steps.ShowToUser: _show,
    steps.NewSession: _new_session,
    steps.NewKeyring: _new_keyring,
    steps.AwaitParent: _await_parent,
    steps.BecomeRoot: _become_root,
    steps.Unshare: _unshare,
    steps.EnterTimeNamespace: _enter_time_namespace,
    steps.LoopbackUp: _loopback_up,
    steps.SetHostname: _hostname,
    steps.SetDomainname: _domainname,
    steps.SetSysctl: _sysctl,
    file_steps.SetPropagation: perform_files.set_propagation,
    file_steps.SealParentMount: perform_files.seal_parent_mount,
    file_steps.MountRoot: perform_files.mount_root,
    file_steps.BindRoot: perform_files.bind_root,
    file_steps.OpenRoot: perform_files.open_root,
    file_steps.MountInside: perform_files.mount_inside,
    file_steps.MakeDirectory: perform_files.make_directory,
    file_steps.MakeDevice: perform_files.make_device,
    file_steps.MakeLink: perform_files.make_link,
    file_steps.OpenConsole: perform_files.open_console,
    file_steps.AdoptConsole: perform_files.adopt_console,
    steps.AskForHooks: _ask_for_hooks,
    steps.RunHook: _run_hook,
    file_steps.MaskPath: perform_files.mask_path,
    file_steps.ReadonlyPath: perform_files.readonly_path,
    file_steps.RemountReadonly: perform_files.remount_readonly,
    file_steps.EnterRoot: perform_files.enter_root,
    file_steps.RootPropagation: perform_files.root_propagation,
    steps.SetRlimit: _rlimit,
    steps.SetOomScore: _oom_score,
    steps.SetScheduler: _scheduler,
    steps.SetIOPriority: _io_priority,
    steps.SetPersonality: _personality,
    steps.SetLabel: _label,
    steps.NoNewPrivileges: _no_new_privileges,
    steps.InstallFilter: _filter,
    steps.DropBounding: _drop_bounding,
    steps.ChangeUser: _change_user,
    steps.SetCapabilities: _capabilities,
    steps.SetUmask: _umask,
    steps.ChangeDirectory: _change_directory,
    steps.FindProgram: _find_program,
    steps.AwaitStart: _await_start,
    steps.Run: _run,
}
