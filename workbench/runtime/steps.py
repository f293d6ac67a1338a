"""The steps that make a container, as data: each knows its system call and its man page.

A step is printed by ``explain`` and performed by ``perform.py``; nothing here touches the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from workbench.oci.runtime_spec import (
    Capabilities,
    Hook,
    IOPriority,
    Personality,
    Rlimit,
    Scheduler,
    Seccomp,
    TimeOffset,
    User,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that init does. ``call`` is the system call, ``manual`` where it is explained."""

    call: ClassVar[str] = ""
    manual: ClassVar[str] = ""

    def describe(self) -> str:
        """What happens, in a few words and with the values."""
        raise AssertionError("every step describes itself")

    def explain(self) -> str:
        """One line for a reader: what, by which call, explained where."""
        return f"{self.describe():<64} {self.call}  [{self.manual}]"


@dataclass(frozen=True, slots=True)
class HideFromOthers(Step):
    """Until execve(2), nobody without CAP_SYS_PTRACE outside may open our exe, fd or memory."""

    call = "prctl(PR_SET_DUMPABLE, 0)"
    manual = "PR_SET_DUMPABLE(2const)"

    def describe(self) -> str:
        return "hide this process from those in the container"


@dataclass(frozen=True, slots=True)
class ShowToUser(Step):
    """Let the user who made the user namespace join the others before execve(2).

    slirp4netns(1) and pasta(1) open /proc/PID/ns, which a hidden process denies to all but root.
    """

    call = "prctl(PR_SET_DUMPABLE, 1)"
    manual = "PR_SET_DUMPABLE(2const)"

    def describe(self) -> str:
        return "let the user's tools join the namespaces"


@dataclass(frozen=True, slots=True)
class NewSession(Step):
    call = "setsid()"
    manual = "setsid(2)"

    def describe(self) -> str:
        return "leave the caller's session and terminal"


@dataclass(frozen=True, slots=True)
class NewKeyring(Step):
    """A session keyring of the container's own. A kernel without keys is no error."""

    name: str
    call = "keyctl(KEYCTL_JOIN_SESSION_KEYRING)"
    manual = "keyctl(2)"

    def describe(self) -> str:
        return "leave the caller's keyring"


@dataclass(frozen=True, slots=True)
class AwaitParent(Step):
    """The parent does from outside what only it may: id maps, cgroup."""

    what: str
    call = "recvmsg()"
    manual = "unix(7)"

    def describe(self) -> str:
        return f"wait until the parent has set {self.what}"


@dataclass(frozen=True, slots=True)
class BecomeRoot(Step):
    """User 0 of the new user namespace, which the parent has mapped."""

    call = "setresgid(0, 0, 0), setresuid(0, 0, 0)"
    manual = "user_namespaces(7)"

    def describe(self) -> str:
        return "become user 0 of the new user namespace"


@dataclass(frozen=True, slots=True)
class Unshare(Step):
    """A namespace that may only be made once something else was done (cgroup, time)."""

    kind: str
    call = "unshare()"
    manual = "unshare(2)"

    def describe(self) -> str:
        return f"new {self.kind} namespace"


@dataclass(frozen=True, slots=True)
class EnterTimeNamespace(Step):
    """Clock offsets are written before the first process enters."""

    offsets: Mapping[str, TimeOffset]
    call = "unshare(CLONE_NEWTIME), write(timens_offsets), setns()"
    manual = "time_namespaces(7)"

    def describe(self) -> str:
        shown = ", ".join(f"{clock} {offset.secs:+d} s" for clock, offset in self.offsets.items())
        return f"new time namespace ({shown or 'no offsets'})"


@dataclass(frozen=True, slots=True)
class LoopbackUp(Step):
    call = "ioctl(SIOCSIFFLAGS)"
    manual = "netdevice(7)"

    def describe(self) -> str:
        return "bring lo up"


@dataclass(frozen=True, slots=True)
class AskForHooks(Step):
    """prestart and createRuntime hooks run outside, while the namespaces exist already."""

    call = "sendmsg()"
    manual = "unix(7)"

    def describe(self) -> str:
        return "let the parent run prestart and createRuntime hooks"


@dataclass(frozen=True, slots=True)
class RunHook(Step):
    """A hook of the container's side. ``kind`` is createContainer or startContainer."""

    kind: str
    hook: Hook
    call = "posix_spawn()"
    manual = "posix_spawn(3)"

    def describe(self) -> str:
        return f"run the {self.kind} hook {self.hook.path}"


@dataclass(frozen=True, slots=True)
class SetSysctl(Step):
    name: str
    value: str
    call = "write(/proc/sys/...)"
    manual = "proc_sys(5)"

    def describe(self) -> str:
        return f"sysctl {self.name} = {self.value}"


@dataclass(frozen=True, slots=True)
class SetHostname(Step):
    name: str
    call = "sethostname()"
    manual = "sethostname(2)"

    def describe(self) -> str:
        return f"host name {self.name}"


@dataclass(frozen=True, slots=True)
class SetDomainname(Step):
    name: str
    call = "setdomainname()"
    manual = "setdomainname(2)"

    def describe(self) -> str:
        return f"NIS domain name {self.name}"


@dataclass(frozen=True, slots=True)
class SetRlimit(Step):
    limit: Rlimit
    call = "setrlimit()"
    manual = "getrlimit(2)"

    def describe(self) -> str:
        return f"{self.limit.type} = {self.limit.soft}, at most {self.limit.hard}"


@dataclass(frozen=True, slots=True)
class SetOomScore(Step):
    value: int
    call = "write(/proc/self/oom_score_adj)"
    manual = "proc_pid_oom_score_adj(5)"

    def describe(self) -> str:
        return f"badness in a memory shortage {self.value:+d}"


@dataclass(frozen=True, slots=True)
class SetScheduler(Step):
    scheduler: Scheduler
    call = "sched_setattr()"
    manual = "sched_setattr(2)"

    def describe(self) -> str:
        return f"scheduler {self.scheduler.policy}, nice {self.scheduler.nice}"


@dataclass(frozen=True, slots=True)
class SetIOPriority(Step):
    priority: IOPriority
    call = "ioprio_set()"
    manual = "ioprio_set(2)"

    def describe(self) -> str:
        return f"I/O priority {self.priority.class_} {self.priority.priority}"


@dataclass(frozen=True, slots=True)
class SetPersonality(Step):
    personality: Personality
    call = "personality()"
    manual = "personality(2)"

    def describe(self) -> str:
        return f"execution domain {self.personality.domain}"


@dataclass(frozen=True, slots=True)
class SetLabel(Step):
    """Takes effect at execve(2)."""

    profile: str
    call = "write(/proc/self/attr/apparmor/exec)"
    manual = "apparmor(7)"

    def describe(self) -> str:
        return f"AppArmor profile {self.profile}"


@dataclass(frozen=True, slots=True)
class DropBounding(Step):
    keep: tuple[str, ...]
    call = "prctl(PR_CAPBSET_DROP)"
    manual = "capabilities(7)"

    def describe(self) -> str:
        return f"give up all but {len(self.keep)} capabilities for good"


@dataclass(frozen=True, slots=True)
class ChangeUser(Step):
    """``groups`` False where setgroups(2) is denied (a user namespace with a single map)."""

    user: User
    groups: bool = True
    call = "setgroups(), setgid(), setuid()"
    manual = "setresuid(2)"

    def describe(self) -> str:
        return f"become user {self.user.uid}, group {self.user.gid}"


@dataclass(frozen=True, slots=True)
class SetCapabilities(Step):
    capabilities: Capabilities
    call = "capset(), prctl(PR_CAP_AMBIENT)"
    manual = "capabilities(7)"

    def describe(self) -> str:
        return f"keep {len(self.capabilities.effective)} effective capabilities"


@dataclass(frozen=True, slots=True)
class SetUmask(Step):
    value: int
    call = "umask()"
    manual = "umask(2)"

    def describe(self) -> str:
        return f"umask {self.value:04o}"


@dataclass(frozen=True, slots=True)
class ChangeDirectory(Step):
    """``final`` must succeed; an earlier try as root helps where only root may enter."""

    path: str
    final: bool = True
    call = "chdir(), getcwd()"
    manual = "chdir(2)"

    def describe(self) -> str:
        return f"working directory {self.path}"


@dataclass(frozen=True, slots=True)
class NoNewPrivileges(Step):
    call = "prctl(PR_SET_NO_NEW_PRIVS)"
    manual = "PR_SET_NO_NEW_PRIVS(2const)"

    def describe(self) -> str:
        return "programs gain nothing by being setuid"


@dataclass(frozen=True, slots=True)
class InstallFilter(Step):
    profile: Seccomp
    call = "seccomp(SECCOMP_SET_MODE_FILTER)"
    manual = "seccomp(2)"

    def describe(self) -> str:
        count = sum(len(rule.names) for rule in self.profile.syscalls)
        return f"filter system calls ({count} named, else {self.profile.default_action})"


@dataclass(frozen=True, slots=True)
class FindProgram(Step):
    """The program is looked for before anybody is told that the container was created."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    call = "faccessat()"
    manual = "execve(2)"

    def describe(self) -> str:
        return f"find {self.args[0]} in the container"


@dataclass(frozen=True, slots=True)
class AwaitStart(Step):
    call = "recvmsg()"
    manual = "unix(7)"

    def describe(self) -> str:
        return "say that the container was created, and wait for start"


@dataclass(frozen=True, slots=True)
class Run(Step):
    """``sealed`` goes through the trampoline, so that /proc/self/exe is never our interpreter."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    sealed: bool = True
    call = "execveat(), execve()"
    manual = "execve(2)"

    def describe(self) -> str:
        return f"run {' '.join(self.args)}"
