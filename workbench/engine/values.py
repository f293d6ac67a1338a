"""What the engine answers with: frozen snapshots, asked again when needed. Times are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from workbench.engine.options import PortMapping
from workbench.oci.digest import Digest
from workbench.oci.image import ContainerConfig, Image
from workbench.oci.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """One image of the store. Sizes are bytes; ``size`` is unpacked, ``compressed`` of the blobs.

    ``references`` are all its names; none for a dangling image. ``containers`` counts those made
    of it.
    """

    id: Digest
    references: tuple[Reference, ...]
    image: Image
    created: datetime
    size: int
    compressed: int
    containers: int = 0

    @property
    def config(self) -> ContainerConfig:
        return self.image.config.config


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """One line of an image's history with the layer that it made, oldest first.

    ``index`` counts from 0 over all lines. For a line without a layer ``digest`` and ``diff_id``
    are None and the sizes 0. ``size`` is the bytes of the layer's files, ``compressed`` of its
    blob. ``shared_with`` counts other images of the store that have the same layer.
    """

    index: int
    created: datetime
    created_by: str
    comment: str
    size: int
    compressed: int
    digest: Digest | None
    diff_id: Digest | None
    shared_with: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointInfo:
    """A container's place in one network; addresses are text, empty where there are none."""

    network: str
    network_id: str
    ipv4: str = ""
    ipv6: str = ""
    gateway: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MountInfo:
    """A mount of a container, as ``docker inspect`` lists it."""

    type: str
    source: str
    target: str
    name: str = ""
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInfo:
    """One container. ``status`` is created, running, paused, restarting, exited, removing or dead.

    ``exit_code`` is None until it has ended once. ``pid`` is 0 unless it runs.
    """

    id: str
    name: str
    image: str
    image_id: Digest
    command: tuple[str, ...]
    created: datetime
    status: str
    pid: int = 0
    started: datetime | None = None
    finished: datetime | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    health: str = ""
    restarts: int = 0
    ports: tuple[PortMapping, ...] = ()
    networks: tuple[EndpointInfo, ...] = ()
    mounts: tuple[MountInfo, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def short_id(self) -> str:
        return self.id[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """What a container wrote at one time; ``data`` keeps its line end where it had one."""

    time: datetime
    stream: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a build, for tables and pictures.

    ``line`` counts from 1 in the Dockerfile; ``reason`` says why it ran (empty when cached);
    ``started`` is seconds after the build began, ``seconds`` its duration; ``size`` bytes added;
    ``layer`` the digest of the layer it left, empty for steps that leave none (FROM, settings).
    """

    index: int
    line: int
    text: str
    cached: bool
    reason: str
    started: float
    seconds: float
    size: int
    layer: str = ""
    stage: str = ""
    output_tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a build made: the image, its names, and a record of every step."""

    image: Image
    references: tuple[Reference, ...]
    steps: tuple[StepRecord, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One line of ``doctor``: what it is, whether this host gives it, why not, and the mend."""

    name: str
    available: bool
    detail: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What this host allows. ``rung`` names the way in which containers run here."""

    rung: str
    root: str
    capabilities: tuple[Capability, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeInfo:
    """One volume; ``users`` are ids of containers."""

    name: str
    driver: str
    mountpoint: str
    created: datetime | None
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """One network; ``endpoints`` are those of its containers by container id."""

    id: str
    name: str
    driver: str
    created: datetime | None
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    internal: bool = False
    ipv6: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, EndpointInfo] = field(default_factory=dict)
