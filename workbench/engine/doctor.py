"""``doctor``: what this host gives, in plain words, with the mend for what it lacks: pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workbench.engine.values import Capability, Diagnosis
from workbench.linux.host import Host

RUNGS: Final = {
    "root": "root, with namespaces and mounts",
    "rootless": "an ordinary user, in a user namespace",
    "rootless-bound-proc": "an ordinary user, in a user namespace that shares the host's /proc",
    "chroot": "root without mounts: images can be built and looked at, containers cannot run",
    "images-only": "images only: this host lets nobody but root make namespaces",
}


def diagnose(host: Host, root: Path) -> Diagnosis:
    """Every capability with yes or no, the reason, and the command that would mend it."""
    return Diagnosis(
        rung=RUNGS.get(host.rung, host.rung),
        root=str(root),
        capabilities=tuple(_lines(host)),
    )


def _lines(host: Host) -> Iterator[Capability]:
    reasons = dict(host.reasons)
    runs = host.rung in ("root", "rootless", "rootless-bound-proc")
    yield Capability(
        name="images and builds",
        available=True,
        detail="the store and every instruction but RUN work everywhere",
    )
    yield Capability(
        name="containers",
        available=runs,
        detail=_why(reasons, "user_namespaces", "mounts") or "namespaces can be made",
        mend="" if runs else "sysctl kernel.unprivileged_userns_clone=1, or run as root",
    )
    yield Capability(
        name="overlay file system",
        available=host.overlay,
        detail=_why(reasons, "overlay") or "layers are stacked without copying",
        mend=""
        if host.overlay
        else "keep the state directory (WORKBENCH_ROOT) on ext4, xfs or tmpfs; layers are copied"
        " until then",
    )
    yield from _limits(host, reasons)
    yield Capability(
        name="seccomp filter",
        available=host.seccomp,
        detail="Docker's default filter is installed" if host.seccomp else "not in this kernel",
    )
    yield from _identities(host)
    yield from _network(host, reasons)


def _limits(host: Host, reasons: dict[str, str]) -> Iterator[Capability]:
    writable = host.cgroup != "none" and bool(host.cgroup_writable)
    yield Capability(
        name="limits (cgroups)",
        available=writable,
        detail=_why(reasons, "cgroup") or f"cgroup {host.cgroup}",
        mend=""
        if writable
        else "run as root, or let systemd delegate (Delegate=yes on user@.service)",
    )


def _identities(host: Host) -> Iterator[Capability]:
    if not host.rootless:
        return
    many = host.newuidmap and sum(part.size for part in host.subuid) > 1
    yield Capability(
        name="many user ids",
        available=many,
        detail="files of other users keep their owners"
        if many
        else "only root exists inside; files of other users become root's",
        mend=""
        if many
        else "apt-get install uidmap, and a line for you in /etc/subuid and /etc/subgid",
    )


def _network(host: Host, reasons: dict[str, str]) -> Iterator[Capability]:
    if not host.rootless:
        yield Capability(
            name="networks and ports",
            available=True,
            detail="bridges and nftables" if host.nftables else "bridges and a relay in user space",
        )
        return
    tool = host.slirp4netns or host.pasta
    closed = _why(reasons, "network") if tool else ""
    mend = "chmod 0666 /dev/net/tun as root" if closed else "apt-get install slirp4netns"
    open_ = bool(tool) and not closed
    detail = f"through {Path(tool).name}" if tool else "containers have only their loopback"
    yield Capability(
        name="networks and ports",
        available=open_,
        detail=f"containers have only their loopback: {closed}" if closed else detail,
        mend="" if open_ else mend,
    )


def _why(reasons: dict[str, str], *fields: str) -> str:
    return "; ".join(reasons[name] for name in fields if name in reasons)
