"""The part of a plan that concerns mounts and devices inside the root file system. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from workbench.errors import InvalidInput, Unsupported
from workbench.linux.host import Host
from workbench.linux.mount import Mount
from workbench.oci.runtime_spec import Device, Linux, MountPoint, Spec
from workbench.runtime import steps
from workbench.runtime.steps import Step

# runtime-spec, config-linux.md, "Default Devices" and "Dev symbolic links" (runtime-linux.md).
DEFAULT_DEVICES: Final = tuple(
    Device(path=f"/dev/{name}", type="c", major=major, minor=minor, file_mode=0o666, uid=0, gid=0)
    for name, major, minor in (
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    )
)
_LINKS: Final = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)
_BINDS: Final = ("bind", "rbind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the steps depend on: the host, and which namespaces are made or joined."""

    host: Host
    linux: Linux
    made: frozenset[str]
    joined: frozenset[str]
    bundle: str = "/"

    def has(self, kind: str) -> bool:
        """Whether the container has such a namespace that is not the caller's."""
        return kind in self.made or kind in self.joined

    @property
    def user_namespace(self) -> bool:
        return self.has("user")

    @property
    def limited(self) -> bool:
        """Whether mknod(2) and some mounts are refused."""
        return self.user_namespace or self.host.in_user_namespace

    def device_mount_is_readonly(self, spec: Spec) -> bool:
        return any(_is_filled_later(point) and "ro" in point.options for point in spec.mounts)


def _is_bind(point: MountPoint) -> bool:
    return point.type == "bind" or any(option in _BINDS for option in point.options)


def _destination(point: MountPoint) -> str:
    return os.path.normpath("/" + point.destination.lstrip("/"))


def _is_filled_later(point: MountPoint) -> bool:
    """/dev gets its nodes after it was mounted, so it becomes read-only only then."""
    return _destination(point) == "/dev" and not _is_bind(point)


def mount_steps(spec: Spec, situation: Situation) -> Iterator[Step]:
    """The mounts of config.json in their order, adapted to what the host permits."""
    for point in spec.mounts:
        if not point.destination:
            raise InvalidInput("mounts: an entry has no destination")
        for mount in _mounts(point, situation):
            yield steps.MountInside(mount, point.uid_mappings, point.gid_mappings)
        if point.type == "cgroup" and "ro" in point.options and situation.host.cgroup != "v2":
            yield steps.RemountReadonly(_destination(point))


def _mounts(point: MountPoint, situation: Situation) -> Iterator[Mount]:
    target = _destination(point)
    if _is_bind(point):
        yield _bind(point, target, situation)
        return
    options = tuple(option for option in point.options if _is_mapped(option, situation))
    if _is_filled_later(point):
        options = tuple(option for option in options if option != "ro")
    if point.type in ("cgroup", "cgroup2"):
        yield from _cgroup(target, options, situation)
    elif replacement := _replacement(point.type, situation):
        flags = tuple(option for option in options if "=" not in option)
        yield Mount(type="bind", source=replacement, target=target, options=("rbind", *flags))
    else:
        source = point.source or point.type
        yield Mount(type=point.type, source=source, target=target, options=options)


def _bind(point: MountPoint, target: str, situation: Situation) -> Mount:
    """A bind of a directory brings what is mounted below it only with ``rbind``."""
    if not point.source:
        raise InvalidInput(f"the bind mount on {point.destination} has no source")
    source = str(PurePath(situation.bundle, point.source))
    options = point.options if any(o in _BINDS for o in point.options) else ("bind", *point.options)
    return Mount(type="bind", source=source, target=target, options=options)


def _is_mapped(option: str, situation: Situation) -> bool:
    """Whether a uid= or gid= of a mount names an id that exists in the user namespace."""
    name, _, value = option.partition("=")
    if name not in ("uid", "gid") or "user" not in situation.made or not value.isdigit():
        return True
    maps = situation.linux.uid_mappings if name == "uid" else situation.linux.gid_mappings
    return any(m.container_id <= int(value) < m.container_id + m.size for m in maps)


def _replacement(kind: str, situation: Situation) -> str:
    """What to bind where a user namespace may not mount afresh (mount_namespaces(7))."""
    if not situation.limited:
        return ""
    if kind == "proc" and not (situation.host.proc_mount and situation.has("pid")):
        return "/proc"
    if kind == "sysfs" and not (situation.has("network") and situation.host.proc_mount):
        return "/sys"
    if kind == "mqueue" and not situation.has("ipc"):
        return "/dev/mqueue"
    return ""


def _cgroup(target: str, options: tuple[str, ...], situation: Situation) -> Iterator[Mount]:
    """What the host has: one v2 tree, or a tmpfs with one directory per v1 hierarchy."""
    hierarchies = situation.host.cgroup_hierarchies
    flags = tuple(option for option in options if "=" not in option)
    if situation.limited and "cgroup" not in situation.made:
        yield Mount(type="bind", source="/sys/fs/cgroup", target=target, options=("rbind", *flags))
        return
    if situation.host.cgroup == "v2":
        yield Mount(type="cgroup2", source="cgroup", target=target, options=flags)
        return
    if not hierarchies:
        raise Unsupported("this host has no cgroups to mount", hint="leave the cgroup mount out")
    yield Mount(
        type="tmpfs", source="tmpfs", target=target,
        options=("nosuid", "nodev", "noexec", "mode=755", "size=65536"),
    )  # fmt: skip
    for name, place in hierarchies:
        if name:
            below = f"{target}/{PurePath(place).name}"
            yield Mount(type="cgroup", source="cgroup", target=below, options=(*flags, name))


def device_steps(spec: Spec, situation: Situation) -> Iterator[Step]:
    """Default and configured devices, the links of /dev, and the console."""
    process = spec.process
    dev = [point for point in spec.mounts if _destination(point) == "/dev"]
    if any(_is_bind(point) for point in dev):
        if process and process.terminal:
            yield steps.OpenConsole(process.console_size, bind=False)
        return
    configured = {device.path: device for device in situation.linux.devices}
    every = {device.path: device for device in DEFAULT_DEVICES} | configured
    for device in every.values():
        if not device.path.startswith("/"):
            raise InvalidInput(f"linux.devices: path {device.path!r} must be absolute")
        yield steps.MakeDevice(device, bind=situation.limited)
    has_proc = any(_destination(point) == "/proc" for point in spec.mounts)
    has_terminals = any(point.type == "devpts" or dev for point in spec.mounts)
    for path, target in _LINKS:
        if has_terminals if path == "/dev/ptmx" else has_proc:
            yield steps.MakeLink(path, target)
    if process and process.terminal:
        yield steps.OpenConsole(process.console_size)
