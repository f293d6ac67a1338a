"""What this kernel, this user and this mount allow, found out once."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from workbench.linux import capabilities, namespaces
from workbench.linux.mount import mount_at, mountinfo, overlay, unmount
from workbench.linux.namespaces import CLONE_NEWNS, FILES
from workbench.oci.runtime_spec import IDMapping

Rung = Literal["root", "rootless", "rootless-bound-proc", "chroot", "images-only"]
_TOOL_PATHS: Final = ("/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin")
_MS_REC_PRIVATE: Final = 0x4000 | 1 << 18
_TUN: Final = "/dev/net/tun"
_TRIAL_SECONDS: Final = 10
_NETLINK_NETFILTER: Final = 12
_NFT_MSG_GETGEN: Final = 10 << 8 | 16
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Facts about the machine as this process sees it. Made by ``probe``; never changes.

    ``rung`` names the best way to run containers here; ``reasons`` are pairs of a field that is
    less than it could be and one sentence that says why. ``subuid`` and ``subgid`` are what
    newuidmap(1) would map: the user's own id as 0, then the ranges of /etc/subuid.
    ``cgroup_hierarchies`` are (name, mount point) of cgroup v1, and ("", mount point) of v2.
    ``rootless`` is true for anybody but root; ``in_user_namespace`` says that this process itself
    is in one that is not the first. ``proc_mount`` is whether a user namespace may mount procfs.
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
    in_user_namespace: bool = False
    kernel: str = ""
    machine: str = ""
    capabilities: frozenset[str] = frozenset()
    slirp4netns: str = ""
    pasta: str = ""
    rung: Rung = "images-only"
    reasons: tuple[tuple[str, str], ...] = ()


def probe(root: Path) -> Host:
    """Find out, in at most some 30 ms, and never raise. ``root`` is where layers would lie."""
    uid, gid = os.geteuid(), os.getegid()
    reasons: dict[str, str] = {}
    newuidmap = bool(find_tool("newuidmap") and find_tool("newgidmap"))
    hierarchies, cgroup = _cgroups()
    trial = _try_out(root, uid, reasons)
    writable = tuple(name for name, place in hierarchies if os.access(place, os.W_OK))
    if cgroup != "none" and not writable:
        reasons["cgroup"] = "this user may not write to the cgroups (no delegation)"
    if uid and not os.access(_TUN, os.R_OK | os.W_OK):
        reasons["network"] = f"{_TUN} may not be opened by this user"
    kernel = os.uname()
    return Host(
        uid=uid, gid=gid, rootless=uid != 0,
        user_namespaces=trial.user_namespaces,
        namespaces=frozenset(k for k, f in FILES.items() if Path("/proc/self/ns", f).exists()),
        subuid=_mapped("/etc/subuid", uid, newuidmap),
        subgid=_mapped("/etc/subgid", gid, newuidmap),
        newuidmap=newuidmap, overlay=trial.overlay, overlay_userxattr=trial.overlay and uid != 0,
        cgroup=cgroup, cgroup_hierarchies=hierarchies, cgroup_writable=writable,
        seccomp=_has_line("/proc/self/status", "Seccomp:"),
        apparmor=_read("/sys/module/apparmor/parameters/enabled").startswith("Y"),
        nftables=_has_nftables(), pidfd=_has_pidfd(), proc_mount=trial.proc_mount,
        in_user_namespace=_in_user_namespace(), kernel=kernel.release, machine=kernel.machine,
        capabilities=_bounding(), slirp4netns=find_tool("slirp4netns"), pasta=find_tool("pasta"),
        rung=_rung(uid, trial), reasons=tuple(sorted(reasons.items())),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was tried and worked: mounts below the root, in namespaces that are gone by now."""

    user_namespaces: bool = False
    mounts: bool = False
    overlay: bool = False
    proc_mount: bool = False


def _rung(uid: int, trial: Trial) -> Rung:
    if uid == 0 and trial.mounts:
        return "root"
    if trial.user_namespaces and trial.mounts:
        return "rootless" if trial.proc_mount else "rootless-bound-proc"
    return "chroot" if uid == 0 else "images-only"


def _try_out(root: Path, uid: int, reasons: dict[str, str]) -> Trial:
    """As root in a thread with a mount namespace of its own, else in a process of its own.

    unshare(2) of a user namespace is refused to a process with threads, which the caller may be.
    """
    place = _existing(root)
    if uid == 0:
        return _try_as_root(place, reasons)
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("trial.py")), str(place)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        reasons["user_namespaces"] = f"could not be tried: {error}"
        return Trial()
    words = dict(line.partition("=")[::2] for line in run.stdout.splitlines())
    reasons.update({name: text for name, text in words.items() if text != "yes"})
    good = {name for name, text in words.items() if text == "yes"}
    return Trial(
        user_namespaces="user_namespaces" in good, mounts="mounts" in good,
        overlay="overlay" in good, proc_mount="proc_mount" in good,
    )  # fmt: skip


def _existing(path: Path) -> Path:
    """The path, or the nearest of its parents that exists."""
    for candidate in (path, *path.parents):
        if candidate.is_dir() and os.access(candidate, os.W_OK):
            return candidate
    return Path(tempfile.gettempdir())


def _try_as_root(place: Path, reasons: dict[str, str]) -> Trial:
    found = [Trial()]
    thread = threading.Thread(target=lambda: found.append(_root_trial(place, reasons)))
    thread.start()
    thread.join()
    return found[-1]


def _root_trial(place: Path, reasons: dict[str, str]) -> Trial:
    users = _read("/proc/sys/user/max_user_namespaces") != "0"
    if not users:
        reasons["user_namespaces"] = "user.max_user_namespaces is 0"
    try:
        namespaces.unshare(CLONE_NEWNS)
        mount_at("", "", "/", _MS_REC_PRIVATE, "")
    except OSError as error:
        reasons["mounts"] = str(error.strerror)
        return Trial(user_namespaces=users)
    reason = try_overlay(place, userxattr=False)
    if reason:
        reasons["overlay"] = reason
    return Trial(user_namespaces=users, mounts=True, overlay=not reason, proc_mount=True)


def try_overlay(place: Path, *, userxattr: bool) -> str:
    """Mount an overlay below ``place`` and take it down again. Why not; empty where it works."""
    try:
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=place) as name:
            parts = [Path(name, part) for part in ("lower", "upper", "work", "merged")]
            for part in parts:
                part.mkdir()
            item = overlay([parts[0]], parts[1], parts[2], userxattr=userxattr)
            mount_at("overlay", "overlay", str(parts[3]), 0, ",".join(item.options))
            unmount(parts[3])
            for leftover in parts[2].iterdir():
                leftover.rmdir()
    except OSError as error:
        return f"overlay cannot be mounted below {place}: {error.strerror}"
    return ""


def _cgroups() -> tuple[tuple[tuple[str, str], ...], Literal["v1", "v2", "hybrid", "none"]]:
    found: list[tuple[str, str]] = []
    try:
        entries = mountinfo()
    except OSError:
        return (), "none"
    for entry in entries:
        if entry.type == "cgroup2":
            found.append(("", entry.target))
        elif entry.type == "cgroup":
            flags = ("rw", "ro", "none", "clone_children", "xattr")
            names = [o for o in entry.super_options if o not in flags and "release_agent" not in o]
            found.append((",".join(names), entry.target))
    old = any(name for name, _ in found)
    new = any(not name for name, _ in found)
    return tuple(found), "hybrid" if old and new else "v1" if old else "v2" if new else "none"


def _mapped(path: str, number: int, tool: bool) -> tuple[IDMapping, ...]:
    """The own id as 0, then the ranges that subuid(5) grants to the user."""
    own = IDMapping(container_id=0, host_id=number, size=1)
    if not tool:
        return (own,)
    try:
        names = {str(os.geteuid()), pwd.getpwuid(os.geteuid()).pw_name}
    except KeyError:
        names = {str(os.geteuid())}
    ranges = [own]
    start = 1
    for line in _read(path).splitlines():
        name, _, rest = line.partition(":")
        first, _, size = rest.partition(":")
        if name in names and first.isdigit() and size.strip().isdigit():
            ranges.append(IDMapping(container_id=start, host_id=int(first), size=int(size)))
            start += int(size)
    return tuple(ranges)


def find_tool(name: str) -> str:
    """The path of an outside program in the system's own directories; empty without."""
    paths = (f"{directory}/{name}" for directory in _TOOL_PATHS)
    return next((path for path in paths if os.access(path, os.X_OK)), "")


def _bounding() -> frozenset[str]:
    try:
        return capabilities.bounding()
    except OSError:
        return frozenset()


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _has_nftables() -> bool:
    """Ask nfnetlink for the generation of the rules; a kernel without nf_tables says EINVAL."""
    request = struct.pack("=IHHIIBBH", 20, _NFT_MSG_GETGEN, _NLM_F_REQUEST, 1, 0, 0, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as end:
            end.settimeout(0.2)
            end.send(request)
            answer = end.recv(4096)
    except OSError:
        return False
    kind, code = struct.unpack_from("=4xH10xi", answer)
    return kind != _NLMSG_ERROR or code in (0, -errno.EPERM)


def _in_user_namespace() -> bool:
    return _read("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


def _has_line(path: str, start: str) -> bool:
    return any(line.startswith(start) for line in _read(path).splitlines())


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").rstrip("\n")
    except OSError:
        return ""
