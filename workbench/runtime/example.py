"""A specification to start from, and what this runtime can do. Pure data.

Source: runtime-spec 1.2, ``features.md``.
"""

from __future__ import annotations

import os
from typing import Any, Final

from workbench.linux import capabilities
from workbench.linux.mount import PROPAGATION, known_options
from workbench.linux.namespaces import FLAGS
from workbench.oci.runtime_spec import (
    VERSION,
    Capabilities,
    DeviceRule,
    IDMapping,
    Linux,
    MountPoint,
    Namespace,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
)
from workbench.runtime.profile import MASKED_PATHS, READONLY_PATHS

HOOKS: Final = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
_FEW: Final = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")


def example(*, rootless: bool = False) -> Spec:
    """A shell in a read-only root ``rootfs``, with a terminal."""
    kinds = ("pid", "network", "ipc", "uts", "mount", "cgroup", *(("user",) if rootless else ()))
    deny = DeviceRule(allow=False, access="rwm")
    linux = Linux(
        namespaces=tuple(Namespace(type=kind) for kind in kinds),
        masked_paths=MASKED_PATHS,
        readonly_paths=READONLY_PATHS,
        resources=None if rootless else Resources(devices=(deny,)),
        uid_mappings=_only(os.geteuid()) if rootless else (),
        gid_mappings=_only(os.getegid()) if rootless else (),
    )
    process = Process(
        args=("sh",),
        terminal=True,
        env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"),
        capabilities=Capabilities(bounding=_FEW, effective=_FEW, permitted=_FEW),
        rlimits=(Rlimit(type="RLIMIT_NOFILE", soft=1024, hard=1024),),
        no_new_privileges=True,
    )
    return Spec(
        root=Root(path="rootfs", readonly=True), hostname="workbench", process=process,
        mounts=_mounts(rootless=rootless), linux=linux,
    )  # fmt: skip


def _only(number: int) -> tuple[IDMapping, ...]:
    return (IDMapping(container_id=0, host_id=number, size=1),)


def _mounts(*, rootless: bool) -> tuple[MountPoint, ...]:
    strict = ("nosuid", "noexec", "nodev")
    terminals = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")
    table = (
        ("/proc", "proc", "proc", ()),
        ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        ("/dev/pts", "devpts", "devpts", (*terminals, *(() if rootless else ("gid=5",)))),
        ("/dev/shm", "tmpfs", "shm", (*strict, "mode=1777", "size=65536k")),
        ("/dev/mqueue", "mqueue", "mqueue", strict),
        ("/sys", "sysfs", "sysfs", (*strict, "ro")),
        ("/sys/fs/cgroup", "cgroup", "cgroup", (*strict, "relatime", "ro")),
    )
    return tuple(
        MountPoint(destination=where, type=kind, source=source, options=options)
        for where, kind, source, options in table
    )


def features() -> dict[str, Any]:
    """The document of ``features``."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": list(HOOKS),
        "mountOptions": sorted({*known_options(), *PROPAGATION}),
        "linux": {
            "namespaces": sorted(FLAGS),
            "capabilities": list(capabilities.ALL),
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": False,
                "systemdUser": False,
                "rdma": False,
            },
            "seccomp": {"enabled": True},
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
    }
