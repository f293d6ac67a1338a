"""What the firewall must say, as data: one nftables table of our own, and nothing in any other.

The rules never change; networks and published ports are elements of sets and maps that the rules
look up. A packet costs the same with one container and with two hundred, a port is published by
one small batch, and after a crash the whole table is put in place again in one atomic batch.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from workbench.network import nft
from workbench.network.driver import (
    ENABLE_MASQUERADE,
    HOST_BINDING,
    Endpoint,
    IPNetwork,
    Network,
    flag,
)
from workbench.network.nft import Chain, Element, Rule, Set

PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}
_IPV4, _IPV6, _LOOPBACK = b"\x02", b"\x0a", b"\x7f"
_DROP: Final = (nft.counter(), nft.verdict(nft.DROP))
_ACCEPT: Final = (nft.counter(), nft.verdict(nft.ACCEPT))
_ESTABLISHED_OR_RELATED: Final = 0x2 | 0x4
_DESTINATION_CHANGED: Final = 1 << 5

# What the rules of the forward chain are for; ``path`` names them as the reason of a drop.
WITHIN: Final = "within one network"
FROM_INTERNAL: Final = "from an internal network"
INTO_INTERNAL: Final = "into an internal network"
ANSWERS: Final = "answers"
TO_PUBLISHED: Final = "to a published port"
OTHER_NETWORK: Final = "from another network"
NOT_PUBLISHED: Final = "to a port that is not published"

SETS: Final = (
    Set(name="bridges", key=("ifname",)),
    Set(name="internal", key=("ifname",)),
    Set(name="within", key=("ifname", "ifname"), data=("verdict",)),
    Set(name="subnets4", key=("ipv4_addr",), interval=True),
    Set(name="subnets6", key=("ipv6_addr",), interval=True),
    Set(name="masqueraded4", key=("ipv4_addr",), interval=True),
    Set(name="masqueraded6", key=("ipv6_addr",), interval=True),
    Set(
        name="published4",
        key=("inet_proto", "inet_service"),
        data=("ipv4_addr", "inet_service"),
    ),
    Set(
        name="published6",
        key=("inet_proto", "inet_service"),
        data=("ipv6_addr", "inet_service"),
    ),
    Set(
        name="published4_at",
        key=("inet_proto", "ipv4_addr", "inet_service"),
        data=("ipv4_addr", "inet_service"),
    ),
    Set(
        name="published6_at",
        key=("inet_proto", "ipv6_addr", "inet_service"),
        data=("ipv6_addr", "inet_service"),
    ),
)

CHAINS: Final = (
    Chain(name="martians", hook="prerouting", priority=-300),
    Chain(name="arriving", kind="nat", hook="prerouting", priority=-100),
    Chain(name="local", kind="nat", hook="output", priority=-100),
    Chain(name="forward", hook="forward", priority=0),
    Chain(name="leaving", kind="nat", hook="postrouting", priority=100),
    Chain(name="publish"),
)


def _rule(chain: str, comment: str, *expressions: bytes) -> Rule:
    return Rule(chain=chain, comment=comment, expressions=expressions)


def _version(value: bytes) -> tuple[bytes, ...]:
    return nft.meta("nfproto"), nft.compare(value)


def _arriving_rules() -> Iterator[Rule]:
    jump = (*nft.to_local_address(), nft.verdict(nft.JUMP, "publish"))
    yield _rule("arriving", "to an address of this host", *jump)
    yield _rule("local", "to an address of this host", *jump)
    yield _rule(
        "martians",
        "from a container to the host's loopback",
        nft.meta("iifname"),
        nft.lookup("bridges"),
        *_version(_IPV4),
        nft.payload("network", 16, 1),
        nft.compare(_LOOPBACK),
        *_DROP,
    )


def _forward_rules() -> Iterator[Rule]:
    from_bridge = (nft.meta("iifname"), nft.lookup("bridges"))
    to_bridge = (nft.meta("oifname"), nft.lookup("bridges"))
    state = nft.connection("state", _ESTABLISHED_OR_RELATED)
    changed = nft.connection("status", _DESTINATION_CHANGED)
    chain = "forward"
    yield _rule(chain, WITHIN, nft.meta("iifname"), nft.meta("oifname", 4), nft.decide("within"))
    yield _rule(chain, FROM_INTERNAL, nft.meta("iifname"), nft.lookup("internal"), *_DROP)
    yield _rule(chain, INTO_INTERNAL, nft.meta("oifname"), nft.lookup("internal"), *_DROP)
    yield _rule(chain, ANSWERS, *state, *_ACCEPT)
    yield _rule(chain, TO_PUBLISHED, *to_bridge, *changed, *_ACCEPT)
    yield _rule(chain, OTHER_NETWORK, *from_bridge, *to_bridge, *_DROP)
    yield _rule(chain, NOT_PUBLISHED, *to_bridge, *_DROP)


def _publish_rules() -> Iterator[Rule]:
    """Load protocol, (address,) and port as one key, and go where the map says.

    The kernel cannot lead ``::1`` elsewhere: who asks there is refused at once and tries 127.0.0.1.
    """
    yield _rule(
        "publish",
        "not on the IPv6 loopback",
        *_version(_IPV6),
        nft.payload("network", 24, 16),
        nft.compare(bytes(15) + b"\1"),
        nft.verdict(nft.RETURN),
    )
    for family, version, size, offset in (("4", _IPV4, 4, 16), ("6", _IPV6, 16, 24)):
        words = size // 4
        protocol = (*_version(version), nft.meta("l4proto"))
        go = nft.redirect("ip" if family == "4" else "ip6", address=0, port=words)
        yield _rule(
            "publish",
            f"published on one IPv{family} address",
            *protocol,
            nft.payload("network", offset, size, 1),
            nft.payload("transport", 2, 2, 1 + words),
            nft.translate(f"published{family}_at"),
            go,
        )
        yield _rule(
            "publish",
            f"published on every IPv{family} address",
            *protocol,
            nft.payload("transport", 2, 2, 1),
            nft.translate(f"published{family}"),
            go,
        )


def _leaving_rules() -> Iterator[Rule]:
    to_bridge = (nft.meta("oifname"), nft.lookup("bridges"))
    to_world = (nft.meta("oifname"), nft.lookup("bridges", inverted=True))
    changed = nft.connection("status", _DESTINATION_CHANGED)
    yield _rule(
        "leaving",
        "from the host's loopback to a published port",
        *_version(_IPV4),
        nft.payload("network", 12, 1),
        nft.compare(_LOOPBACK),
        *to_bridge,
        nft.masquerade(),
    )
    for family, version, size, offset in (("4", _IPV4, 4, 12), ("6", _IPV6, 16, 8)):
        source = (*_version(version), nft.payload("network", offset, size))
        yield _rule(
            "leaving",
            f"from a container to a published port, IPv{family}",
            *source,
            nft.lookup(f"subnets{family}"),
            *to_bridge,
            *changed,
            nft.masquerade(),
        )
        yield _rule(
            "leaving",
            f"from a container to the world, IPv{family}",
            *source,
            nft.lookup(f"masqueraded{family}"),
            *to_world,
            nft.counter(),
            nft.masquerade(),
        )


def table(name: str) -> nft.Table:
    """Our table under this name, without its elements."""
    rules = (*_arriving_rules(), *_forward_rules(), *_publish_rules(), *_leaving_rules())
    return nft.Table(name=name, sets=SETS, chains=CHAINS, rules=rules)


Elements = Mapping[str, frozenset[Element]]


def network_elements(network: Network, bridge: str) -> dict[str, frozenset[Element]]:
    """What the table must know about one bridge network."""
    name = nft.interface(bridge)
    found: dict[str, set[Element]] = {
        "bridges": {Element(key=name)},
        "within": {Element(key=name + name, verdict=nft.ACCEPT)},
    }
    if network.internal:
        found["internal"] = {Element(key=name)}
    for item in network.subnets:
        family = str(item.subnet.version)
        members = set(_interval(item.subnet))
        found.setdefault("subnets" + family, set()).update(members)
        if not network.internal and flag(network, ENABLE_MASQUERADE, default=True):
            found.setdefault("masqueraded" + family, set()).update(members)
    return {key: frozenset(members) for key, members in found.items()}


def _interval(subnet: IPNetwork) -> tuple[Element, ...]:
    """From the first address to the one after the last, which ends the interval."""
    size = len(subnet.network_address.packed)
    end = int(subnet.broadcast_address) + 1
    first = Element(key=subnet.network_address.packed)
    if end >> (8 * size):
        return (first,)
    return first, Element(key=end.to_bytes(size, "big"), end=True)


def port_elements(network: Network, endpoint: Endpoint) -> dict[str, frozenset[Element]]:
    """What the table must know about the published ports of one endpoint."""
    found: dict[str, set[Element]] = {}
    if network.internal:
        return {}
    for port in endpoint.ports:
        host = port.host_ip or network.options.get(HOST_BINDING, "")
        protocol = bytes((PROTOCOLS[port.protocol],))
        outside = struct.pack(">H", port.host_port)
        inside = struct.pack(">H", port.container_port)
        for family, target in (("4", endpoint.ipv4), ("6", endpoint.ipv6)):
            if target is None:
                continue
            data = nft.join(target.packed, inside)
            if host in ("", "0.0.0.0" if family == "4" else "::"):
                key = nft.join(protocol, outside)
                found.setdefault("published" + family, set()).add(Element(key=key, data=data))
            elif (":" in host) == (family == "6") and host not in ("0.0.0.0", "::"):
                key = nft.join(protocol, ipaddress.ip_address(host).packed, outside)
                found.setdefault(f"published{family}_at", set()).add(Element(key=key, data=data))
    return {key: frozenset(members) for key, members in found.items()}


def merge(parts: Iterable[Elements]) -> dict[str, frozenset[Element]]:
    """All elements of all parts, by set."""
    merged: dict[str, frozenset[Element]] = {}
    for part in parts:
        for name, members in part.items():
            merged[name] = merged.get(name, frozenset()) | members
    return merged


def rebuild(name: str, elements: Elements) -> list[bytes]:
    """The batch that makes the whole table anew."""
    return nft.build(table(name), [(key, _ordered(elements[key])) for key in sorted(elements)])


def addition(name: str, elements: Elements) -> list[bytes]:
    """The batch that adds elements to the table that is there."""
    batch = []
    for key in sorted(elements):
        batch += nft.new_elements(name, key, _ordered(elements[key]))
    return [*batch, nft.new_table(name, acknowledge=True)]


def removal(name: str, elements: Elements) -> list[bytes]:
    """The batch that takes elements out of the table."""
    batch = []
    for key in sorted(elements):
        batch += nft.delete_elements(name, key, _ordered(elements[key]))
    return [*batch, nft.new_table(name, acknowledge=True)]


def _ordered(elements: Iterable[Element]) -> list[Element]:
    """Starts before ends of intervals, else the kernel sees an overlap."""
    return sorted(elements, key=lambda element: (element.key, not element.end))
