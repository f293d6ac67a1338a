"""From a specification to the steps that make the container: pure, ordered, printable.

``plan`` decides everything that can be decided beforehand; ``init.py`` only performs. What differs
with and without root differs here, by the values of ``Host``.
Source: runtime-spec 1.2, ``config.md``, ``config-linux.md`` and ``runtime.md`` ("Lifecycle").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workbench.errors import InvalidInput, Unsupported
from workbench.linux import capabilities
from workbench.linux.host import Host
from workbench.linux.mount import PROPAGATION, Mount
from workbench.linux.namespaces import FLAGS
from workbench.oci.runtime_spec import (
    Capabilities,
    Hooks,
    IDMapping,
    Linux,
    Namespace,
    Process,
    Seccomp,
    Spec,
)
from workbench.runtime import file_steps, steps
from workbench.runtime.plan_files import Situation, device_steps, mount_steps
from workbench.runtime.steps import Step

_LATE = ("cgroup", "time")
_PASSING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
_TRAMPOLINE_CALLS = frozenset({"execveat", "execve", "fcntl", "write", "exit_group"})


@dataclass(frozen=True, slots=True, kw_only=True)
class InitPlan:
    """Everything that makes one container.

    ``clone`` are the namespaces that clone(2) makes, ``join`` those entered by path first.
    ``prepare`` runs up to the moment when the container is "created", ``begin`` from "start" on.
    ``uid_mappings`` and ``gid_mappings`` are what the parent writes for a new user namespace.
    """

    clone: tuple[str, ...]
    join: tuple[Namespace, ...]
    uid_mappings: tuple[IDMapping, ...]
    gid_mappings: tuple[IDMapping, ...]
    prepare: tuple[Step, ...]
    begin: tuple[Step, ...]

    @property
    def flags(self) -> int:
        """For clone(2)."""
        flags = 0
        for kind in self.clone:
            flags |= FLAGS[kind]
        return flags

    @property
    def filters(self) -> tuple[Seccomp, ...]:
        """The system-call filters that the parent compiles while init works."""
        every = (*self.prepare, *self.begin)
        return tuple(step.profile for step in every if isinstance(step, steps.InstallFilter))

    def explain(self) -> str:
        """The plan as text: one line per step, with system call and man page."""
        made = " | ".join(f"CLONE_NEW{_clone_word(kind)}" for kind in self.clone) or "0"
        lines = [f"join the {ns.type} namespace {ns.path}  setns()  [setns(2)]" for ns in self.join]
        lines.append(f"clone({made})  [clone(2)]")
        lines += [f"  {step.explain()}" for step in self.prepare]
        lines.append("created; from start on:")
        lines += [f"  {step.explain()}" for step in self.begin]
        return "\n".join(lines)


def _clone_word(kind: str) -> str:
    return {"mount": "NS", "network": "NET"}.get(kind, kind.upper())


def plan(
    spec: Spec,
    host: Host,
    rootfs_mounts: tuple[Mount, ...] = (),
    *,
    rootfs: str,
    bundle: str = "/",
    name: str = "container",
    no_pivot: bool = False,
    cgroup: bool = True,
) -> InitPlan:
    """Plan a container. ``rootfs`` is the absolute path of its (mount point of the) root.

    ``bundle`` is what relative bind sources are relative to, ``name`` the container's id.
    ``cgroup`` says that the parent puts the container into one.
    Raises InvalidInput for a specification that contradicts itself, Unsupported for what this
    host cannot give.
    """
    process = _process(spec)
    linux = spec.linux or Linux()
    made, joined = _namespaces(linux, host)
    situation = Situation(host=host, linux=linux, made=frozenset(made), bundle=bundle,
                          joined=frozenset(ns.type for ns in joined))  # fmt: skip
    if host.rootless and not situation.user_namespace:
        raise Unsupported(
            "only root can make a container without a user namespace",
            hint="add a user namespace with id mappings to the specification",
        )
    _check_sysctls(linux, situation)
    hooks = spec.hooks or Hooks()
    prepare = (
        *_arrival(spec, linux, situation, name),
        *_files(spec, linux, situation, rootfs_mounts, rootfs, cgroup=cgroup),
        *_arrive_in_root(spec, linux, situation, hooks, rootfs, no_pivot=no_pivot),
        *process_steps(process, host, linux.seccomp, in_user_namespace=situation.user_namespace,
                       gid_mappings=linux.gid_mappings, personality=linux),
        # Nobody else is in these namespaces yet, and their maker has all power over them.
        *([steps.ShowToUser()] if host.rootless and {"user", "pid", "network"} <= situation.made
          else []),
    )  # fmt: skip
    begin = (
        steps.AwaitStart(),
        *(steps.RunHook("startContainer", hook) for hook in hooks.start_container),
        *run_steps(process, linux.seccomp),
    )
    return InitPlan(
        clone=tuple(kind for kind in made if kind not in _LATE),
        join=joined,
        uid_mappings=linux.uid_mappings if "user" in made else (),
        gid_mappings=linux.gid_mappings if "user" in made else (),
        prepare=prepare,
        begin=begin,
    )


def _process(spec: Spec) -> Process:
    if spec.process is None or not spec.process.args:
        raise InvalidInput("process.args must name a program")
    if not spec.process.cwd.startswith("/"):
        raise InvalidInput(f"process.cwd {spec.process.cwd!r} must be an absolute path")
    return spec.process


def _namespaces(linux: Linux, host: Host) -> tuple[tuple[str, ...], tuple[Namespace, ...]]:
    """Kinds to be made, and namespaces to be joined, each in the order of ``FLAGS``."""
    seen: dict[str, Namespace] = {}
    for namespace in linux.namespaces:
        if namespace.type not in FLAGS:
            raise InvalidInput(f"linux.namespaces: unknown type {namespace.type!r}")
        if namespace.type in seen:
            raise InvalidInput(f"linux.namespaces: type {namespace.type!r} stands there twice")
        if namespace.path and not namespace.path.startswith("/"):
            raise InvalidInput(f"linux.namespaces: path {namespace.path!r} must be absolute")
        if host.namespaces and namespace.type not in host.namespaces:
            raise Unsupported(f"this kernel has no {namespace.type} namespaces")
        seen[namespace.type] = namespace
    made = tuple(kind for kind in FLAGS if kind in seen and not seen[kind].path)
    joined = tuple(seen[kind] for kind in FLAGS if kind in seen and seen[kind].path)
    _check_user_namespace(linux, "user" in made, host)
    if linux.time_offsets and "time" not in made:
        raise InvalidInput("linux.timeOffsets needs a new time namespace")
    return made, joined


def _check_user_namespace(linux: Linux, made: bool, host: Host) -> None:
    if not made:
        return
    if not (linux.uid_mappings and linux.gid_mappings):
        raise InvalidInput("a new user namespace needs uidMappings and gidMappings")
    if not host.user_namespaces:
        reason = dict(host.reasons).get("user_namespaces", "")
        raise Unsupported("this host permits no user namespaces", hint=reason)


_SYSCTL_OWNERS = (
    ("network", ("net.",)),
    ("ipc", ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")),
    ("uts", ("kernel.domainname", "kernel.hostname")),
)


def _check_sysctls(linux: Linux, situation: Situation) -> None:
    """Only what a namespace of the container's own holds; anything else is the host's."""
    for name in linux.sysctl:
        dotted = name.replace("/", ".")
        if ".." in dotted or not dotted.strip("."):
            raise InvalidInput(f"sysctl {name!r} is no name")
        owners = [kind for kind, prefixes in _SYSCTL_OWNERS if dotted.startswith(prefixes)]
        if not any(situation.has(kind) for kind in owners):
            raise InvalidInput(f"sysctl {name!r} is not in a separate kernel namespace")


def _arrival(spec: Spec, linux: Linux, situation: Situation, name: str) -> Iterator[Step]:
    """From the clone to the first mount."""
    yield steps.NewSession()
    if spec.process and spec.process.oom_score_adj is not None:
        yield steps.SetOomScore(spec.process.oom_score_adj)
    if "user" in situation.made:
        yield steps.AwaitParent("the id maps")
    if situation.user_namespace:
        yield steps.BecomeRoot()
    yield steps.HideFromOthers()
    yield steps.NewKeyring(f"_ses.{name}")
    if "time" in situation.made:
        yield steps.EnterTimeNamespace(linux.time_offsets)
    if "network" in situation.made:
        yield steps.LoopbackUp()
    if (spec.hostname or spec.domainname) and not situation.has("uts"):
        raise InvalidInput("hostname and domainname need a uts namespace")
    if spec.hostname:
        yield steps.SetHostname(spec.hostname)
    if spec.domainname:
        yield steps.SetDomainname(spec.domainname)
    for key, value in linux.sysctl.items():
        yield steps.SetSysctl(key, value)


def _files(
    spec: Spec, linux: Linux, situation: Situation, rootfs_mounts: tuple[Mount, ...],
    rootfs: str, *, cgroup: bool,
) -> Iterator[Step]:  # fmt: skip
    """The root file system, what is mounted inside it, and the devices."""
    if "mount" in situation.made:
        yield from _root_mounts(linux, rootfs_mounts, rootfs)
    elif rootfs_mounts or (spec.mounts and "mount" not in situation.joined):
        raise InvalidInput("mounts need a mount namespace")
    if "mount" not in situation.joined:
        yield file_steps.OpenRoot(rootfs)
    inside = mount_steps(spec, situation) if "mount" in situation.made else ()
    waits = [
        *([steps.AwaitParent("the cgroup")] if cgroup else []),
        *([steps.Unshare("cgroup")] if "cgroup" in situation.made else []),
    ]
    for step in inside:
        if waits and _is_cgroup_mount(step):
            yield from waits
            waits = []
        yield step
    yield from waits
    if "mount" in situation.made:
        yield file_steps.MakeDirectory(_process(spec).cwd)
        yield from device_steps(spec, situation)


def _is_cgroup_mount(step: Step) -> bool:
    return isinstance(step, file_steps.MountInside) and step.mount.type.startswith("cgroup")


def _root_mounts(linux: Linux, rootfs_mounts: tuple[Mount, ...], rootfs: str) -> Iterator[Step]:
    if linux.rootfs_propagation and linux.rootfs_propagation not in PROPAGATION:
        raise InvalidInput(f"linux.rootfsPropagation: {linux.rootfs_propagation!r} is not known")
    yield file_steps.SetPropagation("/", linux.rootfs_propagation or "rslave")
    if not any(not mount.target.strip("/") for mount in rootfs_mounts):
        yield file_steps.SealParentMount(rootfs)
        yield file_steps.BindRoot(rootfs)
    elif linux.rootfs_propagation:
        yield file_steps.SealParentMount(rootfs)
    for mount in rootfs_mounts:
        yield file_steps.MountRoot(mount, rootfs)


def _arrive_in_root(
    spec: Spec, linux: Linux, situation: Situation, hooks: Hooks, rootfs: str, *, no_pivot: bool
) -> Iterator[Step]:
    """Hooks that see both worlds, what hides the host, and the change of the root."""
    if hooks != Hooks():
        yield steps.AskForHooks()
    for hook in hooks.create_container:
        yield steps.RunHook("createContainer", hook)
    if "mount" in situation.made:
        for path in linux.readonly_paths:
            yield file_steps.ReadonlyPath(path)
        for path in linux.masked_paths:
            yield file_steps.MaskPath(path)
        if situation.device_mount_is_readonly(spec):
            yield file_steps.RemountReadonly("/dev")
        if spec.root and spec.root.readonly:
            yield file_steps.RemountReadonly("/")
        yield file_steps.EnterRoot(rootfs, "move" if no_pivot else "pivot")
        if linux.rootfs_propagation:
            yield file_steps.RootPropagation(linux.rootfs_propagation)
    elif "mount" not in situation.joined:
        yield file_steps.EnterRoot(rootfs, "chroot")


def process_steps(
    process: Process, host: Host, seccomp: Seccomp | None, *, in_user_namespace: bool,
    gid_mappings: tuple[IDMapping, ...], personality: Linux | None = None, final: bool = True,
) -> Iterator[Step]:  # fmt: skip
    """What makes the process of a container, or one more of it, what it may be."""
    for limit in process.rlimits:
        yield steps.SetRlimit(limit)
    if process.scheduler:
        yield steps.SetScheduler(process.scheduler)
    if process.io_priority:
        yield steps.SetIOPriority(process.io_priority)
    if personality and personality.personality:
        yield steps.SetPersonality(personality.personality)
    if process.apparmor_profile:
        if not host.apparmor:
            raise Unsupported(f"no AppArmor here for the profile {process.apparmor_profile!r}")
        yield steps.SetLabel(process.apparmor_profile)
    if process.no_new_privileges:
        yield steps.NoNewPrivileges()
    if seccomp and not process.no_new_privileges:
        yield steps.InstallFilter(seccomp)
    kept = _kept(process, host, in_user_namespace=in_user_namespace)
    if kept:
        yield steps.DropBounding(kept.bounding)
    yield steps.ChangeDirectory(process.cwd, final=False)
    yield steps.ChangeUser(process.user, groups=_may_set_groups(host, gid_mappings))
    yield steps.ChangeDirectory(process.cwd)
    if kept:
        yield steps.SetCapabilities(kept)
    if process.user.umask is not None:
        yield steps.SetUmask(process.user.umask)
    if final:
        yield steps.FindProgram(process.args, process.env)


def _kept(process: Process, host: Host, *, in_user_namespace: bool) -> Capabilities | None:
    """The five sets, less what this host itself lacks; a new user namespace has them all."""
    if process.capabilities is None:
        return Capabilities()
    allowed = capabilities.ALL if in_user_namespace else host.capabilities
    return capabilities.within(process.capabilities, allowed)


def _may_set_groups(host: Host, gid_mappings: tuple[IDMapping, ...]) -> bool:
    """An unprivileged single map goes with setgroups(2) denied (user_namespaces(7))."""
    return not (host.rootless and sum(mapping.size for mapping in gid_mappings) <= 1)


def run_steps(process: Process, seccomp: Seccomp | None) -> Iterator[Step]:
    """The last steps: the filter where it may come last, and the program."""
    if seccomp and process.no_new_privileges:
        yield steps.InstallFilter(seccomp)
    sealed = seccomp is None or _allows(seccomp, _TRAMPOLINE_CALLS)
    yield steps.Run(process.args, process.env, sealed=sealed)


def names_call(seccomp: Seccomp, name: str) -> bool:
    """Whether a filter lets the call through for some arguments at least."""
    rules = [rule for rule in seccomp.syscalls if name in rule.names]
    if any(rule.action in _PASSING for rule in rules):
        return True
    refused = any(not rule.args for rule in rules)
    return seccomp.default_action in _PASSING and not refused


def _allows(seccomp: Seccomp, names: frozenset[str]) -> bool:
    """Whether a filter lets all these calls through whatever their arguments."""
    open_names = set(names) if seccomp.default_action in _PASSING else set()
    for rule in seccomp.syscalls:
        if rule.action in _PASSING and not rule.args:
            open_names.update(rule.names)
        elif rule.action not in _PASSING:
            open_names.difference_update(rule.names)
    return names <= open_names
