"""Ports of the host: is one free, who holds it, and which one to choose."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from workbench.errors import Conflict, Denied, InvalidInput, Unavailable
from workbench.network.driver import Publication

_TRIES: Final = 200
_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_LISTENING: Final = "0A"


def check_free(port: Publication) -> None:
    """Raises Conflict with the name of the process that holds the port, where that can be read.

    A published port is brought to the container before any process of the host sees it, so a
    server of the host would be cut off without a word: hence we look.
    """
    kind = _KINDS.get(port.protocol)
    if kind is None:
        return
    for host in _hosts(port.host_ip):
        number = _try_bind(host, port.host_port, kind)
        if number == errno.EADDRINUSE:
            raise Conflict(
                f"failed to bind host port for {_at(host, port.host_port)}/{port.protocol}:"
                " address already in use",
                hint=holder(port.protocol, port.host_port),
            )
        if number in (errno.EACCES, errno.EPERM):
            raise Denied(
                f"not allowed to bind host port {port.host_port}",
                hint="ports below net.ipv4.ip_unprivileged_port_start need root",
            )
        if number == errno.EADDRNOTAVAIL and port.host_ip:
            raise InvalidInput(
                f"cannot publish on {host}: cannot assign requested address",
                hint="the host has no such address",
            )


def choose(protocol: str, host_ip: str, taken: Collection[int]) -> int:
    """A free port that the kernel would choose, and that is not in ``taken``."""
    kind = _KINDS.get(protocol, socket.SOCK_STREAM)
    host = _hosts(host_ip)[0]
    for _ in range(_TRIES):
        with socket.socket(_family(host), kind) as probe:
            probe.bind((host, 0))
            number: int = probe.getsockname()[1]
        if number not in taken:
            return number
    raise Unavailable("no free host port could be found")


def _hosts(host_ip: str) -> tuple[str, ...]:
    return (host_ip,) if host_ip else ("0.0.0.0", "::")


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _try_bind(host: str, port: int, kind: int) -> int:
    """The errno of bind(2); connections that are ending do not count."""
    try:
        with socket.socket(_family(host), kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in host:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.errno or 0
    return 0


def holder(protocol: str, port: int) -> str:
    """A sentence about the process that has the port, or nothing where it cannot be read."""
    inodes = set(_inodes(protocol, port))
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _has_one(process, wanted):
            name = ""
            with contextlib.suppress(OSError):
                name = (process / "comm").read_text("utf-8", "replace").strip()
            return f"process {process.name} ({name}) holds it"
    return ""


def _inodes(protocol: str, port: int) -> Iterator[str]:
    for file in (protocol, f"{protocol}6"):
        with contextlib.suppress(OSError):
            for line in (Path("/proc/net") / file).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                listens = protocol != "tcp" or fields[3] == _LISTENING
                if listens and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _has_one(process: Path, wanted: set[str]) -> bool:
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) in wanted:
                return True
    return False
