"""What this kernel, this user and this mount allow, found out once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.oci.runtime_spec import IDMapping

Rung = Literal["root", "rootless", "rootless-bound-proc", "chroot", "images-only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Facts about the machine as this process sees it. Made by ``probe``; never changes.

    ``rung`` names the best way to run containers here; ``reasons`` maps the name of a field that
    is less than it could be to one sentence that says why. ``subuid`` and ``subgid`` are what
    newuidmap(1) would map: the user's own id as 0, then the ranges of /etc/subuid.
    ``cgroup_hierarchies`` are (name, mount point) of cgroup v1, and ("", mount point) of v2.
    """

    uid: int
    gid: int
    rootless: bool
    user_namespaces: bool = False
    namespaces: frozenset[str] = frozenset()
    subuid: tuple[IDMapping, ...] = ()
    subgid: tuple[IDMapping, ...] = ()
    newuidmap: bool = False
    overlay: bool = False
    overlay_userxattr: bool = False
    cgroup: Literal["v1", "v2", "hybrid", "none"] = "none"
    cgroup_hierarchies: tuple[tuple[str, str], ...] = ()
    cgroup_writable: tuple[str, ...] = ()
    seccomp: bool = False
    apparmor: bool = False
    nftables: bool = False
    pidfd: bool = False
    proc_mount: bool = False
    kernel: str = ""
    machine: str = ""
    capabilities: frozenset[str] = frozenset()
    slirp4netns: str = ""
    pasta: str = ""
    rung: Rung = "images-only"
    reasons: tuple[tuple[str, str], ...] = ()


def probe(root: Path) -> Host:
    """Find out, in at most some 30 ms, and never raise. ``root`` is where layers would lie."""
    raise NotImplementedError
