"""Which way a packet takes, hop by hop, as the kernel's state says; where it would be dropped.

A pure function of a ``Topology``: it follows links, routes and our firewall's rules as the kernel
would. Rules of other tables are not read; where their policy may drop, a warning says so.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Final

from workbench.errors import InvalidInput, NotFound
from workbench.network import nat
from workbench.network.links import Address, Route
from workbench.network.topology import HOST, Interface, Place, Topology

WORLD: Final = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One station. ``kind`` is interface, veth, bridge, route, nat or rule; ``place`` where."""

    kind: str
    place: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The way of a first packet. ``rule`` is the comment of the rule that drops it, if one does.

    ``arrives`` says that it reaches the place ``reached`` at ``address`` and ``port``; whether
    somebody listens there is not known.
    """

    hops: tuple[Hop, ...]
    arrives: bool
    reached: str = ""
    address: str = ""
    port: int = 0
    reason: str = ""
    rule: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Walk:
    """The packet on its way; the one changing thing here."""

    topology: Topology
    source: Address
    target: Address
    port: int
    protocol: str
    hops: list[Hop] = field(default_factory=list)
    changed: bool = False

    def add(self, kind: str, place: str, name: str, detail: str = "") -> None:
        self.hops.append(Hop(kind=kind, place=place, name=name, detail=detail))

    def end(self, place: str) -> Path:
        return Path(
            hops=tuple(self.hops),
            arrives=True,
            reached=place,
            address=str(self.target),
            port=self.port,
        )

    def drop(self, reason: str, rule: str = "") -> Path:
        if rule:
            self.add("rule", HOST, rule, "drop")
        return Path(
            hops=tuple(self.hops),
            arrives=False,
            address=str(self.target),
            port=self.port,
            reason=reason,
            rule=rule,
        )


def path(
    topology: Topology, source: str, destination: str, port: int, *, protocol: str = "tcp"
) -> Path:
    """The way from ``source`` to ``destination``: a container, host, world; also to an address.

    Raises NotFound for an unknown container, InvalidInput where both ends are the world.
    """
    start = _find(topology, source)
    target = _target(topology, start, destination)
    if start is None and not topology.host.has(target) and _owner(topology, target) is None:
        raise InvalidInput("a packet from the world to the world does not come by here")
    walk = _Walk(topology, _source_address(topology, start, target), target, port, protocol)
    if start is None:
        way = _from_world(walk)
    elif start is topology.host:
        way = _from_host(walk)
    else:
        way = _from_container(walk, start)
    return replace(way, warnings=_warnings(topology, way))


def _find(topology: Topology, name: str) -> Place | None:
    """A place by its name or id; None is the world."""
    if name == WORLD:
        return None
    if name == HOST:
        return topology.host
    for place in topology.containers:
        if name in (place.name, place.id, place.id[:12]):
            return place
    raise NotFound(f"no running container {name} is connected to a network")


def _target(topology: Topology, start: Place | None, name: str) -> Address:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        place = _find(topology, name)
    if place is None:
        return ipaddress.IPv4Address("192.0.2.1")
    if place is start:
        return ipaddress.IPv4Address("127.0.0.1")
    choices = [
        value.ip
        for item in place.interfaces
        for value in item.addresses
        if not value.ip.is_loopback and not value.ip.is_link_local and _ours(topology, place, item)
    ]
    if not choices:
        raise NotFound(f"{name} has no address")
    near = start.interfaces if start is not None else ()
    shared = [
        choice
        for choice in choices
        if any(choice in value.network for item in near for value in item.addresses)
    ]
    return (shared or sorted(choices, key=lambda address: address.version))[0]


def _ours(topology: Topology, place: Place, interface: Interface) -> bool:
    """Of the host only addresses of its own links count, not those of our bridges."""
    return place is not topology.host or interface.name not in topology.bridges


def _source_address(topology: Topology, start: Place | None, target: Address) -> Address:
    if start is None:
        return ipaddress.ip_address("192.0.2.1" if target.version == 4 else "2001:db8::1")
    if start.has(target):
        return target
    route = start.route(target)
    link = start.interface(route.link) if route else None
    for value in link.addresses if link else ():
        if value.version == target.version:
            return value.ip
    return ipaddress.ip_address("0.0.0.0" if target.version == 4 else "::")


def _owner(topology: Topology, address: Address) -> Place | None:
    return next((place for place in topology.containers if place.has(address)), None)


def _from_container(walk: _Walk, start: Place) -> Path:
    if start.has(walk.target):
        walk.add("interface", start.name, "lo")
        return walk.end(start.name)
    route = start.route(walk.target)
    link = start.interface(route.link) if route else None
    if route is None or link is None:
        return walk.drop(f"{start.name} has no route to {walk.target}")
    walk.add("interface", start.name, link.name, f"from {walk.source}")
    outside = walk.topology.host.interface(link.peer) if link.peer else None
    if outside is None:
        return _on_a_wire(walk, link)
    walk.add("veth", HOST, outside.name)
    walk.add("bridge", HOST, outside.master)
    if route.gateway is None:
        return _within(walk, outside)
    return _arrive(walk, outside.master)


def _on_a_wire(walk: _Walk, link: Interface) -> Path:
    """A macvlan, ipvlan or TAP device: the packet leaves without our rules."""
    owner = _owner(walk.topology, walk.target)
    return walk.end(owner.name if owner else f"{WORLD} by {link.kind}")


def _within(walk: _Walk, port: Interface) -> Path:
    """From one port of a bridge to another: no routing."""
    bridge = _named(walk.topology.host, port.master)
    if bridge and any(walk.target == value.ip for value in bridge.addresses):
        return _arrive(walk, port.master)
    return _deliver(walk, port.master, isolated=port.isolated)


def _deliver(walk: _Walk, bridge: str, *, isolated: bool = False) -> Path:
    """Out of a bridge to the container that has the address."""
    for place in walk.topology.containers:
        for link in place.interfaces:
            outside = walk.topology.host.interface(link.peer) if link.peer else None
            if outside is None or outside.master != bridge:
                continue
            if not any(walk.target == value.ip for value in link.addresses):
                continue
            if isolated and outside.isolated:
                return walk.drop("containers of this network are kept apart (enable_icc=false)")
            walk.add("veth", HOST, outside.name)
            walk.add("interface", place.name, link.name, f"to {walk.target}:{walk.port}")
            return walk.end(place.name)
    return walk.drop(f"nobody on {bridge} has the address {walk.target}")


def _named(place: Place, name: str) -> Interface | None:
    return next((item for item in place.interfaces if item.name == name), None)


def _from_world(walk: _Walk) -> Path:
    route = walk.topology.host.route(walk.source)
    link = walk.topology.host.interface(route.link) if route else None
    name = link.name if link else "the uplink"
    walk.add("interface", HOST, name, f"from {WORLD}")
    return _arrive(walk, name)


def _from_host(walk: _Walk) -> Path:
    host = walk.topology.host
    _publish(walk)
    if host.has(walk.target):
        walk.add("interface", HOST, "lo")
        return walk.end(HOST)
    route = host.route(walk.target)
    if route is None:
        return walk.drop(f"the host has no route to {walk.target}")
    return _leave(walk, route)


def _publish(walk: _Walk) -> None:
    """What our rules do to a packet for an address of the host."""
    if not walk.topology.host.has(walk.target):
        return
    for item in walk.topology.published:
        wanted = item.publication
        every = wanted.host_ip in ("0.0.0.0", "::")
        if (
            wanted.protocol == walk.protocol
            and wanted.host_port == walk.port
            and item.address.version == walk.target.version
            and (every or wanted.host_ip == str(walk.target))
        ):
            walk.target, walk.port = item.address, wanted.container_port
            walk.changed = True
            detail = f"destination becomes {walk.target}:{walk.port}"
            walk.add("nat", HOST, f"published on {wanted.host_ip}:{wanted.host_port}", detail)
            return


def _arrive(walk: _Walk, by: str) -> Path:
    """A packet comes into the host by a bridge or link."""
    topology = walk.topology
    if by in topology.bridges and walk.target.is_loopback:
        return walk.drop("containers do not reach the host's loopback", "martians")
    _publish(walk)
    if topology.host.has(walk.target):
        return walk.end(HOST)
    route = topology.host.route(walk.target)
    if route is None:
        return walk.drop(f"the host has no route to {walk.target}")
    forwards = topology.forwarding if walk.target.version == 4 else topology.forwarding6
    if not forwards:
        return walk.drop("the host does not forward packets (net.ipv4.ip_forward is 0)")
    out = topology.host.interface(route.link)
    dropped = _forward(walk, by, out.name if out else "")
    return dropped or _leave(walk, route)


def _forward(walk: _Walk, by: str, out: str) -> Path | None:
    """Our forward chain, rule by rule; None lets the packet go on."""
    topology = walk.topology
    if by == out and out in topology.bridges:
        return None
    if by in topology.internal:
        return walk.drop("its network is internal: nothing leaves it", nat.FROM_INTERNAL)
    if out in topology.internal:
        return walk.drop("that network is internal: nothing comes into it", nat.INTO_INTERNAL)
    if out in topology.bridges and walk.changed:
        walk.add("rule", HOST, nat.TO_PUBLISHED, "accept")
        return None
    if out in topology.bridges and by in topology.bridges:
        return walk.drop("the two are in different networks", nat.OTHER_NETWORK)
    if out in topology.bridges:
        return walk.drop("the port is not published", nat.NOT_PUBLISHED)
    return None


def _leave(walk: _Walk, route: Route) -> Path:
    """Out of the host, perhaps under its own address."""
    topology = walk.topology
    out = topology.host.interface(route.link)
    name = out.name if out else ""
    to_bridge = name in topology.bridges
    ours = any(walk.source in subnet for subnet in topology.subnets if _same(subnet, walk))
    hidden = any(walk.source in subnet for subnet in topology.masqueraded if _same(subnet, walk))
    own = (
        next((v.ip for v in out.addresses if v.version == walk.target.version), None)
        if out
        else None
    )
    if own and (
        (to_bridge and (walk.source.is_loopback or (ours and walk.changed)))
        or (hidden and not to_bridge)
    ):
        walk.source = own
        walk.add("nat", HOST, "masquerade", f"source becomes {own}")
    if to_bridge:
        walk.add("bridge", HOST, name)
        return _deliver(walk, name)
    walk.add("interface", HOST, name, f"to {route.gateway or walk.target}")
    return walk.end(WORLD)


def _same(subnet: object, walk: _Walk) -> bool:
    return getattr(subnet, "version", 0) == walk.source.version


def _warnings(topology: Topology, way: Path) -> tuple[str, ...]:
    """Chains of others on the way whose policy is to drop."""
    hooks = {"forward"} if any(hop.kind in ("nat", "bridge") for hop in way.hops) else set()
    return tuple(
        f"the table {chain.family} {chain.table} drops by policy in its chain {chain.name}"
        for chain in topology.chains
        if chain.hook in hooks and chain.policy == "drop"
    )
