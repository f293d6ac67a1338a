"""The ``mounts`` section: kernel file systems, the container's own files, what the user binds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from workbench.engine.spec.inputs import Inputs, ResolvedMount
from workbench.engine.spec.process import INIT_PATH
from workbench.oci.runtime_spec import MountPoint

_FILES: Final = {
    "hosts": "/etc/hosts",
    "hostname": "/etc/hostname",
    "resolv.conf": "/etc/resolv.conf",
}
_TTY_GROUP: Final = 5


def mounts(inputs: Inputs) -> tuple[MountPoint, ...]:
    """All mounts, parents before children. What the user mounts at a path replaces our own."""
    own = {mount.destination: mount for mount in (*_kernel(inputs), *_files(inputs))}
    asked = {mount.target.rstrip("/") or "/": _asked(mount) for mount in inputs.mounts}
    merged = {**own, **asked}
    return tuple(merged[path] for path in sorted(merged, key=_depth))


def _depth(path: str) -> tuple[int, int]:
    early = ("/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm")
    rank = early.index(path) if path in early else len(early)
    return (rank, path.count("/"))


def _kernel(inputs: Inputs) -> Iterator[MountPoint]:
    privileged = inputs.options.security.privileged
    hardened = ("nosuid", "noexec", "nodev")
    access = () if privileged else ("ro",)
    yield MountPoint(destination="/proc", type="proc", source="proc", options=hardened)
    yield MountPoint(
        destination="/dev",
        type="tmpfs",
        source="tmpfs",
        options=("nosuid", "strictatime", "mode=755", "size=65536k"),
    )
    yield MountPoint(
        destination="/dev/pts", type="devpts", source="devpts", options=_devpts(inputs)
    )
    yield _sys(inputs, hardened, access)
    if inputs.host.cgroup != "none":
        yield MountPoint(
            destination="/sys/fs/cgroup",
            type="cgroup",
            source="cgroup",
            options=(*access, *hardened),
        )
    yield MountPoint(destination="/dev/mqueue", type="mqueue", source="mqueue", options=hardened)
    yield _shm(inputs, hardened)


def _sys(inputs: Inputs, hardened: tuple[str, ...], access: tuple[str, ...]) -> MountPoint:
    # sysfs shows the network namespace that mounts it, and only that one's owner may mount it.
    if inputs.host.rootless and inputs.joined.network != "":
        return MountPoint(
            destination="/sys", type="none", source="/sys", options=("rbind", *hardened, *access)
        )
    return MountPoint(
        destination="/sys", type="sysfs", source="sysfs", options=(*hardened, *access)
    )


def _devpts(inputs: Inputs) -> tuple[str, ...]:
    options = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")
    single = inputs.host.rootless and sum(part.size for part in inputs.host.subgid) <= _TTY_GROUP
    return options if single else (*options, f"gid={_TTY_GROUP}")


def _shm(inputs: Inputs, hardened: tuple[str, ...]) -> MountPoint:
    if inputs.options.namespaces.ipc == "host":
        return MountPoint(
            destination="/dev/shm", type="bind", source="/dev/shm", options=("rbind", *hardened)
        )
    size = f"size={inputs.options.shm_size}"
    return MountPoint(
        destination="/dev/shm", type="tmpfs", source="shm", options=(*hardened, "mode=1777", size)
    )


def _files(inputs: Inputs) -> Iterator[MountPoint]:
    for name in inputs.files:
        yield MountPoint(
            destination=_FILES[name],
            type="bind",
            source=str(inputs.directory / name),
            options=("rbind", "rprivate"),
        )
    if inputs.init_program:
        yield MountPoint(
            destination=INIT_PATH,
            type="bind",
            source=inputs.init_program,
            options=("bind", "ro"),
        )


def _asked(mount: ResolvedMount) -> MountPoint:
    kind = "tmpfs" if mount.type == "tmpfs" else "bind"
    return MountPoint(
        destination=mount.target, type=kind, source=mount.source, options=mount.options
    )
