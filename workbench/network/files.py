"""The three files that a container gets for its network, as Docker writes them: pure functions.

The engine writes the text; resolv.conf(5) and hosts(5) are the formats.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from workbench.errors import InvalidInput

SERVER: Final = "127.0.0.11"
"""Where the name server of user networks answers, inside each container."""

PUBLIC_SERVERS: Final = ("8.8.8.8", "8.8.4.4")
PUBLIC_SERVERS6: Final = ("2001:4860:4860::8888", "2001:4860:4860::8844")

_LOCAL: Final = "127.0.0.1\tlocalhost\n"
_LOCAL6: Final = (
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolvers:
    """What a resolv.conf says."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverOptions:
    """``--dns``, ``--dns-search`` and ``--dns-option``; a search of "." means none at all."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One line of a hosts file: an address with its names."""

    address: str
    names: tuple[str, ...] = field(default=())


def parse_resolvers(text: str) -> Resolvers:
    """Read a resolv.conf; what cannot be understood is passed over, as the C library does."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        match words:
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *domains]:
                search = tuple(domains)
            case ["options", *values]:
                options += values
    return Resolvers(servers=tuple(servers), search=search, options=tuple(options))


def write_resolvers(resolvers: Resolvers) -> str:
    """The text of a resolv.conf."""
    lines = [f"nameserver {server}" for server in resolvers.servers]
    if resolvers.search:
        lines.append("search " + " ".join(resolvers.search))
    if resolvers.options:
        lines.append("options " + " ".join(resolvers.options))
    return "".join(f"{line}\n" for line in lines)


def upstreams(host: Resolvers, asked: ResolverOptions) -> tuple[str, ...]:
    """The servers that the name server of user networks asks, from the host's namespace.

    A resolver on the host's loopback is good there. Without any, public ones are asked.
    """
    return asked.servers or host.servers or PUBLIC_SERVERS


def default_resolv_conf(
    host: Resolvers, asked: ResolverOptions = ResolverOptions(), *, ipv6: bool = False
) -> str:
    """For containers without a name server of ours (the default bridge).

    Resolvers on the host's loopback are out of reach from inside and are left out; where none
    is left, public ones stand in.
    """
    servers = asked.servers or tuple(item for item in host.servers if _reachable(item, ipv6))
    if not servers:
        servers = PUBLIC_SERVERS + (PUBLIC_SERVERS6 if ipv6 else ())
    return write_resolvers(_merged(host, asked, servers))


def host_resolv_conf(host: Resolvers, asked: ResolverOptions = ResolverOptions()) -> str:
    """For containers in the host's namespace: the host's own, changed by what was asked."""
    return write_resolvers(_merged(host, asked, asked.servers or host.servers))


def user_resolv_conf(host: Resolvers, asked: ResolverOptions = ResolverOptions()) -> str:
    """For containers in user networks: the embedded name server, and one look-up per name."""
    merged = _merged(host, asked, (SERVER,))
    options = merged.options
    if not any(option.startswith("ndots:") for option in asked.options):
        options = (*(item for item in options if not item.startswith("ndots:")), "ndots:0")
    return write_resolvers(Resolvers(servers=(SERVER,), search=merged.search, options=options))


def _merged(host: Resolvers, asked: ResolverOptions, servers: Sequence[str]) -> Resolvers:
    search = asked.search or host.search
    return Resolvers(
        servers=tuple(servers),
        search=() if "." in search else tuple(search),
        options=asked.options or host.options,
    )


def _reachable(server: str, ipv6: bool) -> bool:
    try:
        address = ipaddress.ip_address(server.partition("%")[0])
    except ValueError:
        return False
    if address.version == 6:
        return ipv6 and not (address.is_loopback or address.is_link_local)
    return not address.is_loopback


def hosts_file(own: Iterable[Host] = (), extra: Iterable[Host] = ()) -> str:
    """``own`` are the container's addresses with its names, ``extra`` what the user added."""
    lines = [f"{host.address}\t{' '.join(host.names)}\n" for host in (*extra, *own) if host.names]
    return _LOCAL + _LOCAL6 + "".join(lines)


def own_hosts(addresses: Iterable[str], hostname: str, domainname: str = "") -> tuple[Host, ...]:
    """The container's own line for each of its addresses."""
    names = (f"{hostname}.{domainname}", hostname) if domainname else (hostname,)
    return tuple(Host(address=address, names=names) for address in addresses if address)


def host_hosts_file(host: str, extra: Iterable[Host] = ()) -> str:
    """For containers in the host's namespace: the host's file and what the user added."""
    text = host if host.endswith("\n") or not host else host + "\n"
    return text + "".join(f"{item.address}\t{' '.join(item.names)}\n" for item in extra)


def parse_extra_host(text: str, *, gateway: str = "") -> Host:
    """``--add-host NAME:ADDRESS`` or ``NAME=ADDRESS``; ``host-gateway`` stands for ``gateway``.

    Raises InvalidInput in Docker's words.
    """
    mark = "=" if "=" in text else ":"
    name, _, address = text.partition(mark)
    address = address.removeprefix("[").removesuffix("]")
    if not name or not address or any(letter.isspace() for letter in text):
        raise InvalidInput(f"bad format for add-host: {text!r}")
    if address == "host-gateway":
        if not gateway:
            raise InvalidInput("unable to derive the IP value for host-gateway")
        return Host(address=gateway, names=(name,))
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise InvalidInput(f"invalid IP address in add-host: {address!r}") from error
    return Host(address=address, names=(name,))


def hostname_file(hostname: str) -> str:
    """The text of /etc/hostname."""
    return hostname + "\n"
