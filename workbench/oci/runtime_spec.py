"""The ``config.json`` of an OCI bundle as frozen values.

Source: runtime-spec 1.2, ``config.md`` and ``config-linux.md``. Sizes are bytes, times
microseconds, unless a field says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.oci.codec import dumps, key, loads

VERSION: Final = "1.2.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """Where the root file system lies; ``path`` is absolute or relative to the bundle."""

    path: str
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IDMapping:
    """``size`` ids from ``container_id`` on are those from ``host_id`` on outside."""

    container_id: int = key("containerID", keep=True)
    host_id: int = key("hostID")
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """One entry of ``mounts``; ``options`` are those of fstab(5) plus the specification's own."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSize:
    """Character cells."""

    height: int = key("height", default=0, keep=True)
    width: int = key("width", default=0, keep=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Numeric ids inside the container."""

    uid: int = key("uid", default=0, keep=True)
    gid: int = key("gid", default=0, keep=True)
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The five sets of capabilities(7), names with the prefix CAP_."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlimit:
    """One limit of setrlimit(2); ``type`` such as RLIMIT_NOFILE."""

    type: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """sched_setattr(2)."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IOPriority:
    """ioprio_set(2)."""

    class_: str = key("class")
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What runs in the container."""

    args: tuple[str, ...] = ()
    cwd: str = "/"
    env: tuple[str, ...] = ()
    user: User = key("user", factory=User, keep=True)
    terminal: bool = False
    console_size: ConsoleSize | None = None
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    selinux_label: str = ""
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    io_priority: IOPriority | None = key("ioPriority", default=None)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A program run at a point of the life cycle; ``timeout`` is seconds."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """``type`` is pid, network, mount, ipc, uts, user, cgroup or time; ``path`` joins one."""

    type: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node to make; ``type`` is c, b, u or p."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRule:
    """One rule of the device controller; None for major or minor means all."""

    allow: bool = key("allow")
    type: str = key("type", default="a", keep=True)
    major: int | None = None
    minor: int | None = None
    access: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimits:
    """Bytes; ``swap`` is memory plus swap; -1 means without limit."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = key("kernelTCP", default=None)
    swappiness: int | None = None
    disable_oom_killer: bool = key("disableOOMKiller", default=False)
    use_hierarchy: bool | None = None
    check_before_update: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CPULimits:
    """``quota`` and ``period`` are microseconds."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PidsLimits:
    """``limit`` of -1 or 0 means without limit."""

    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDevice:
    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleDevice:
    """``rate`` is bytes or operations per second."""

    major: int
    minor: int
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIOLimits:
    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = key(
        "throttleReadIOPSDevice", default=()
    )
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = key(
        "throttleWriteIOPSDevice", default=()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HugepageLimit:
    """``page_size`` such as 2MB; ``limit`` is bytes."""

    page_size: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Limits that cgroups(7) enforce; ``unified`` maps files of cgroup v2 to what is written."""

    devices: tuple[DeviceRule, ...] = ()
    memory: MemoryLimits | None = None
    cpu: CPULimits | None = None
    pids: PidsLimits | None = None
    block_io: BlockIOLimits | None = key("blockIO", default=None)
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    unified: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeccompArg:
    """A comparison of one argument; ``op`` is one of SCMP_CMP_*."""

    index: int
    value: int
    op: str
    value_two: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeccompRule:
    """What happens to the named system calls when all ``args`` hold."""

    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SeccompArg, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seccomp:
    """A seccomp(2) filter; actions are SCMP_ACT_*, architectures SCMP_ARCH_*."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[SeccompRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Personality:
    domain: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOffset:
    secs: int = 0
    nanosecs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linux:
    """The part of the specification that is Linux's own."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
    time_offsets: Mapping[str, TimeOffset] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    cgroups_path: str = ""
    resources: Resources | None = None
    rootfs_propagation: str = ""
    seccomp: Seccomp | None = None
    sysctl: Mapping[str, str] = field(default_factory=dict)
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    personality: Personality | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A whole ``config.json``."""

    oci_version: str = key("ociVersion", default=VERSION, keep=True)
    root: Root | None = None
    hostname: str = ""
    domainname: str = ""
    process: Process | None = None
    mounts: tuple[MountPoint, ...] = ()
    hooks: Hooks | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    linux: Linux | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes) -> Spec:
        """Raises InvalidInput that names the place of what is wrong."""
        return loads(cls, raw, what="config.json")

    def to_bytes(self) -> bytes:
        return dumps(self)
