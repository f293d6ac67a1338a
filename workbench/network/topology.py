"""What is in the kernel now: places, links, addresses, routes, published ports, rules. Values."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from workbench.errors import ContainerNotFound
from workbench.network import links, nft, sysctl
from workbench.network.driver import Publication
from workbench.network.firewall import DEFAULT_TABLE
from workbench.network.gate import Gate, namespace_of
from workbench.network.links import Address, Link, Route, Subnet
from workbench.network.nat import PROTOCOLS
from workbench.network.netlink import NETFILTER, ROUTE, Channel, SeenChain, SeenRule, chains, rules
from workbench.network.nft import Element

HOST: Final = "host"
_NAMES: Final = {number: name for name, number in PROTOCOLS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A container to look into: its name, and a process in its network namespace."""

    id: str
    name: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One link with its addresses. ``master`` is the name of its bridge, or empty.

    ``peer`` is the index of the other end of a veth pair, in another place. The counters are of
    packets and bytes since the link was made, seen from the place that it is in.
    """

    index: int
    name: str
    kind: str
    up: bool
    mtu: int
    mac: str
    addresses: tuple[links.Interface, ...] = ()
    master: str = ""
    peer: int = 0
    isolated: bool = False
    alias: str = ""
    received_packets: int = 0
    sent_packets: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A network namespace: that of the host, or a container's. ``id`` is empty for the host."""

    name: str
    id: str = ""
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()

    def interface(self, index: int) -> Interface | None:
        return next((item for item in self.interfaces if item.index == index), None)

    def has(self, address: Address) -> bool:
        """Whether the address is one of this place."""
        return address.is_loopback or any(
            address == value.ip for item in self.interfaces for value in item.addresses
        )

    def route(self, address: Address) -> Route | None:
        """The most exact route to an address."""
        fitting = [
            route
            for route in self.routes
            if route.destination.version == address.version and address in route.destination
        ]
        return max(
            fitting, key=lambda route: (route.destination.prefixlen, -route.metric), default=None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A port of the host, and the container's address and port to which it leads."""

    publication: Publication
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything at one moment. ``forwarding`` says whether the host passes packets on.

    ``bridges``, ``internal`` (names of bridges), ``subnets`` and ``masqueraded`` are what our
    firewall knows, ``rules`` its rules with counters, ``chains`` the base chains of all tables.
    """

    host: Place
    containers: tuple[Place, ...] = ()
    published: tuple[Published, ...] = ()
    bridges: frozenset[str] = frozenset()
    internal: frozenset[str] = frozenset()
    subnets: tuple[Subnet, ...] = ()
    masqueraded: tuple[Subnet, ...] = ()
    rules: tuple[SeenRule, ...] = ()
    chains: tuple[SeenChain, ...] = ()
    forwarding: bool = False
    forwarding6: bool = False


def observe(gate: Gate, running: Sequence[Running], *, table: str = DEFAULT_TABLE) -> Topology:
    """Look at the host and into these containers; those that have ended are left out."""
    with Channel(ROUTE) as channel:
        host = _place(channel, HOST, "")
    with Channel(NETFILTER) as channel:
        seen = {name: _elements(channel, table, name) for name in _SETS}
        found_rules, found_chains = rules(channel, table), chains(channel)
    return Topology(
        host=host,
        containers=tuple(_inside(gate, running)),
        published=_published(seen),
        bridges=frozenset(map(_name, seen["bridges"])),
        internal=frozenset(map(_name, seen["internal"])),
        subnets=_subnets(seen["subnets4"]) + _subnets(seen["subnets6"]),
        masqueraded=_subnets(seen["masqueraded4"]) + _subnets(seen["masqueraded6"]),
        rules=found_rules,
        chains=found_chains,
        forwarding=sysctl.read("ipv4/ip_forward") == "1",
        forwarding6=sysctl.read("ipv6/conf/all/forwarding") == "1",
    )


_SETS: Final = (
    "bridges",
    "internal",
    "subnets4",
    "subnets6",
    "masqueraded4",
    "masqueraded6",
    "published4",
    "published6",
    "published4_at",
    "published6_at",
)


def _inside(gate: Gate, running: Sequence[Running]) -> list[Place]:
    places = []
    for container in running:
        try:
            with (
                namespace_of(container.pid) as namespace,
                gate.route_channel(namespace) as channel,
            ):
                places.append(_place(channel, container.name, container.id))
        except ContainerNotFound:
            continue
    return places


def _place(channel: Channel, name: str, identity: str) -> Place:
    found = [links.read_link(body) for _, body in channel.dump(links.all_links())]
    addresses: dict[int, list[links.Interface]] = {}
    for _, body in channel.dump(links.all_addresses()):
        index, value = links.read_address(body)
        addresses.setdefault(index, []).append(value)
    routes = [
        route
        for family in (socket.AF_INET, socket.AF_INET6)
        for _, body in channel.dump(links.all_routes(family))
        if (route := links.read_route(body)) is not None
    ]
    names = {link.index: link.name for link in found}
    return Place(
        name=name,
        id=identity,
        interfaces=tuple(
            _interface(link, names, tuple(addresses.get(link.index, ()))) for link in found
        ),
        routes=tuple(routes),
    )


def _interface(
    link: Link, names: dict[int, str], addresses: tuple[links.Interface, ...]
) -> Interface:
    counters = link.counters or (0,) * 8
    return Interface(
        index=link.index,
        name=link.name,
        kind=link.kind or ("loopback" if link.name == "lo" else "device"),
        up=link.up,
        mtu=link.mtu,
        mac=link.mac,
        addresses=addresses,
        master=names.get(link.master, ""),
        peer=link.peer if link.kind == "veth" else 0,
        isolated=link.isolated,
        alias=link.alias,
        received_packets=counters[0],
        sent_packets=counters[1],
        received_bytes=counters[2],
        sent_bytes=counters[3],
        dropped=counters[6] + counters[7],
    )


def _elements(channel: Channel, table: str, name: str) -> list[Element]:
    found: list[Element] = []
    try:
        for _, body in channel.dump(nft.get_elements(table, name)):
            found += nft.read_elements(body)
    except FileNotFoundError:
        return []
    return found


def _name(element: Element) -> str:
    return element.key.rstrip(b"\0").decode("utf-8", "replace")


def _subnets(elements: Sequence[Element]) -> tuple[Subnet, ...]:
    """Intervals, as they come from the kernel: starts, and ends that lie behind them."""
    ordered = sorted(elements, key=lambda element: (element.key, not element.end))
    found: list[Subnet] = []
    for at, element in enumerate(ordered):
        if element.end:
            continue
        first = ipaddress.ip_address(element.key)
        behind = next((item.key for item in ordered[at + 1 :] if item.end), None)
        size = len(element.key) * 8
        last = int.from_bytes(behind, "big") - 1 if behind else (1 << size) - 1
        if not any(element.key):
            continue
        found += ipaddress.summarize_address_range(first, type(first)(last))
    return tuple(found)


def _published(seen: dict[str, list[Element]]) -> tuple[Published, ...]:
    found = []
    for size, family in ((4, "4"), (16, "6")):
        for element in (*seen[f"published{family}"], *seen[f"published{family}_at"]):
            if element.data is None:
                continue
            at = 4 if len(element.key) == 8 else 4 + size
            host = str(ipaddress.ip_address(element.key[4:at])) if at > 4 else ""
            found.append(
                Published(
                    publication=Publication(
                        container_port=struct.unpack_from(">H", element.data, size)[0],
                        host_port=struct.unpack_from(">H", element.key, at)[0],
                        protocol=_NAMES.get(element.key[0], str(element.key[0])),
                        host_ip=host or ("0.0.0.0" if family == "4" else "::"),
                    ),
                    address=ipaddress.ip_address(element.data[:size]),
                )
            )
    return tuple(sorted(found, key=lambda item: (item.publication.host_port, str(item.address))))
