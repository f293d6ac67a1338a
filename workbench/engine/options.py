"""What a caller asks of a container: ``docker run``'s flags as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.oci.image import Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """One published port. ``host_port`` 0 lets the engine choose; ``protocol`` tcp, udp or sctp."""

    container_port: int
    host_port: int = 0
    host_ip: str = ""
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOption:
    """One ``-v``, ``--mount`` or ``--tmpfs``.

    ``type`` is bind, volume or tmpfs. ``source`` is a host path, a volume's name or empty (an
    anonymous volume). ``size`` is bytes and ``mode`` a file mode, both for tmpfs.
    """

    type: str
    target: str
    source: str = ""
    readonly: bool = False
    propagation: str = ""
    nocopy: bool = False
    subpath: str = ""
    create_source: bool = False
    size: int | None = None
    mode: int | None = None
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOption:
    """``--device``: a device of the host, where it appears, and r, w, m permissions."""

    source: str
    target: str = ""
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """``no``, ``always``, ``unless-stopped`` or ``on-failure`` with ``maximum`` tries (0: any)."""

    name: str = "no"
    maximum: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceOptions:
    """Limits. Memory is bytes (-1: none), ``cpus`` a number of processors, rates per second."""

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    cpus: float | None = None
    cpu_shares: int | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    blkio_weight: int | None = None
    blkio_weight_device: tuple[tuple[str, int], ...] = ()
    device_read_bps: tuple[tuple[str, int], ...] = ()
    device_write_bps: tuple[tuple[str, int], ...] = ()
    device_read_iops: tuple[tuple[str, int], ...] = ()
    device_write_iops: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """Privilege. ``options`` are ``--security-opt`` as written, such as seccomp=unconfined."""

    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    readonly_rootfs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceOptions:
    """``""`` is a private one, ``host`` the host's, ``container:NAME`` another container's."""

    pid: str = ""
    ipc: str = ""
    uts: str = ""
    userns: str = ""
    cgroupns: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """How the container joins one network. Addresses are text; empty means: choose one."""

    network: str
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """``mode`` is ``--network``: bridge, host, none, container:NAME or a network's name."""

    mode: str = "bridge"
    endpoints: tuple[EndpointOptions, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    publish_all: bool = False
    expose: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    mac: str = ""
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """``driver`` is json-file, local or none."""

    driver: str = "json-file"
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Everything that ``docker run`` can say, with its defaults.

    ``command`` None or empty means the image's own, ``entrypoint`` None likewise while ``()``
    clears it. ``env`` entries are ``NAME=VALUE``; an entry ``NAME`` alone removes it.
    ``stop_timeout`` is seconds. ``pull`` is missing, always or never.
    """

    image: str
    command: tuple[str, ...] | list[str] | None = None
    entrypoint: tuple[str, ...] | None = None
    name: str = ""
    detach: bool = False
    interactive: bool = False
    tty: bool = False
    remove: bool = False
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    group_add: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[MountOption, ...] = ()
    volumes_from: tuple[str, ...] = ()
    network: str | NetworkOptions = "bridge"
    resources: ResourceOptions = ResourceOptions()
    security: SecurityOptions = SecurityOptions()
    namespaces: NamespaceOptions = NamespaceOptions()
    devices: tuple[DeviceOption, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    shm_size: int = 64 * 1024**2
    init: bool = False
    restart: RestartPolicy = RestartPolicy()
    stop_signal: str = ""
    stop_timeout: int | None = None
    healthcheck: Healthcheck | None = None
    no_healthcheck: bool = False
    oom_score_adj: int | None = None
    log: LogOptions = LogOptions()
    cgroup_parent: str = ""
    platform: str = ""
    pull: str = "missing"
    runtime: str = ""
    detach_keys: str = ""

    @property
    def networking(self) -> NetworkOptions:
        """``network`` as a value, whichever way it was given."""
        if isinstance(self.network, NetworkOptions):
            return self.network
        return NetworkOptions(mode=self.network)
