"""What the sections of the specification are made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.engine.options import RunOptions
from workbench.linux.host import Host
from workbench.oci.image import ContainerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedUser:
    """Numeric ids of the process, and its home directory."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedMount:
    """A bind, volume or tmpfs with its source made; ``options`` are those of fstab(5)."""

    type: str
    target: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Paths of namespaces to join, by the specification's type; ``""`` is a private one.

    A type that is missing stays the host's.
    """

    pid: str | None = ""
    ipc: str | None = ""
    uts: str | None = ""
    network: str | None = ""
    cgroup: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything about one container that its specification depends on.

    ``directory`` is the container's own; its files ``hosts``, ``hostname`` and ``resolv.conf`` are
    bound into the container unless the names are missing from ``files``.
    """

    id: str
    options: RunOptions
    image: ContainerConfig
    host: Host
    directory: Path
    user: ResolvedUser
    hostname: str
    mounts: tuple[ResolvedMount, ...] = ()
    joined: Joined = Joined()
    files: tuple[str, ...] = ("hosts", "hostname", "resolv.conf")
    init_program: str = ""
    cgroup_parent: str = "workbench"
