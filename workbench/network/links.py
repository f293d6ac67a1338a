"""Links, addresses and routes as rtnetlink messages: pure functions that return bytes.

Source: rtnetlink(7), linux/if_link.h, linux/if_addr.h. Each message asks for an acknowledgement.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import Final

from workbench.network import messages
from workbench.network.messages import attribute, nest, text, u8, u32

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_UP: Final = 1
_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _PID, _ALIAS = 1, 3, 4, 5, 10, 18, 19, 20
_AF_SPEC, _NET_NS_FD = 26, 28
_INFO_KIND, _INFO_DATA, _SLAVE_KIND, _SLAVE_DATA, _PEER = 1, 2, 4, 5, 1
_PORT_HAIRPIN, _PORT_ISOLATED = 4, 33
_ADDRESS_MODE_NONE: Final = 1
_NODAD: Final = 0x02
_MAIN_TABLE, _BOOT, _UNIVERSE, _UNICAST = 254, 3, 0, 1
_DO: Final = messages.REQUEST | messages.ACK
_MAKE: Final = _DO | messages.CREATE | messages.EXCLUSIVE
_PUT: Final = _DO | messages.CREATE | messages.REPLACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What the kernel says of one link; ``kind`` is bridge, veth, ... or empty for hardware.

    ``master`` is the index of its bridge, ``peer`` the index of a veth's other end; 0 for none.
    """

    index: int
    name: str
    kind: str = ""
    up: bool = False
    running: bool = False
    mtu: int = 0
    mac: str = ""
    alias: str = ""
    master: int = 0
    peer: int = 0
    namespace: int = -1
    isolated: bool = False
    counters: tuple[int, ...] = ()


def _head(index: int = 0, *, up: bool = False) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, _UP if up else 0, _UP if up else 0)


def _mac(value: str) -> bytes:
    return attribute(_ADDRESS, bytes.fromhex(value.replace(":", "")))


def new_bridge(name: str, *, mac: str, mtu: int) -> bytes:
    """A bridge that forwards at once (no spanning tree) and keeps its MAC address; still down."""
    data = nest(_INFO_DATA, u32(1, 0), u32(5, 0))
    info = nest(_LINKINFO, text(_INFO_KIND, "bridge"), data)
    body = _head() + text(_IFNAME, name) + _mac(mac) + u32(_MTU, mtu) + info
    return messages.message(_NEWLINK, _MAKE, body)


def new_veth(
    name: str, *, bridge: int, mtu: int, peer: str, peer_mac: str, namespace: int
) -> bytes:
    """A veth pair: ``name`` in the bridge, ``peer`` in the namespace of that fd. Both are down."""
    far = _head() + text(_IFNAME, peer) + _mac(peer_mac) + u32(_MTU, mtu)
    far += u32(_NET_NS_FD, namespace)
    data = nest(_INFO_DATA, attribute(_PEER, far))
    info = nest(_LINKINFO, text(_INFO_KIND, "veth"), data)
    body = _head() + text(_IFNAME, name) + u32(_MTU, mtu) + u32(_MASTER, bridge) + info
    return messages.message(_NEWLINK, _MAKE, body)


def new_child(
    kind: str, name: str, *, parent: int, mode: int, mac: str, mtu: int, namespace: int
) -> bytes:
    """A macvlan or ipvlan on ``parent``, made in the namespace of that fd."""
    value = u32(1, mode) if kind == "macvlan" else attribute(1, struct.pack("=H", mode))
    info = nest(_LINKINFO, text(_INFO_KIND, kind), nest(_INFO_DATA, value))
    body = _head() + text(_IFNAME, name) + u32(_LINK, parent) + u32(_NET_NS_FD, namespace)
    body += (u32(_MTU, mtu) if mtu else b"") + (_mac(mac) if mac else b"") + info
    return messages.message(_NEWLINK, _MAKE, body)


def set_alias(name: str, alias: str) -> bytes:
    """What ``ip link`` shows as the alias; names the owner of a link."""
    return _change(name, attribute(_ALIAS, alias.encode()))


def set_port(name: str, *, hairpin: bool, isolated: bool) -> bytes:
    """A bridge's port: may frames go back where they came from, and to other isolated ports?"""
    data = nest(_SLAVE_DATA, u8(_PORT_HAIRPIN, hairpin), u8(_PORT_ISOLATED, isolated))
    return _change(name, nest(_LINKINFO, text(_SLAVE_KIND, "bridge"), data))


def rename(index: int, name: str) -> bytes:
    """For a link that is down."""
    return messages.message(_NEWLINK, _DO, _head(index) + text(_IFNAME, name))


def set_up(name: str) -> bytes:
    return messages.message(_NEWLINK, _DO, _head(up=True) + text(_IFNAME, name))


def no_link_local(name: str) -> bytes:
    """Let the kernel make no IPv6 address on its own; must come before the link goes up."""
    inet6 = nest(socket.AF_INET6, u8(8, _ADDRESS_MODE_NONE))
    return _change(name, nest(_AF_SPEC, inet6))


def _change(name: str, what: bytes) -> bytes:
    return messages.message(_NEWLINK, _DO, _head() + text(_IFNAME, name) + what)


def delete(index: int) -> bytes:
    return messages.message(_DELLINK, _DO, _head(index))


def delete_named(name: str) -> bytes:
    return messages.message(_DELLINK, _DO, _head() + text(_IFNAME, name))


def get_link(name: str) -> bytes:
    return messages.message(_GETLINK, messages.REQUEST, _head() + text(_IFNAME, name))


def all_links() -> bytes:
    return messages.message(_GETLINK, messages.REQUEST | messages.DUMP, _head())


def all_addresses() -> bytes:
    body = struct.pack("=BBBBi", 0, 0, 0, 0, 0)
    return messages.message(_GETADDR, messages.REQUEST | messages.DUMP, body)


def all_routes(family: int = socket.AF_INET) -> bytes:
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
    return messages.message(_GETROUTE, messages.REQUEST | messages.DUMP, body)


def _address(index: int, value: Interface) -> bytes:
    family = socket.AF_INET if value.version == 4 else socket.AF_INET6
    flags = 0 if value.version == 4 else _NODAD
    body = struct.pack("=BBBBi", family, value.network.prefixlen, flags, 0, index)
    body += attribute(2, value.ip.packed)
    if value.version == 4:
        body += attribute(1, value.ip.packed)
        if value.network.prefixlen < 31:
            body += attribute(4, value.network.broadcast_address.packed)
    return body


def add_address(index: int, value: Interface) -> bytes:
    """Without a search for duplicates (IPv6): the addresses are ours to give."""
    return messages.message(_NEWADDR, _PUT, _address(index, value))


def delete_address(index: int, value: Interface) -> bytes:
    return messages.message(_DELADDR, _DO, _address(index, value))


def _route(destination: Subnet | None, gateway: Address | None, index: int, family: int) -> bytes:
    length = destination.prefixlen if destination else 0
    scope = _UNIVERSE if gateway or family == socket.AF_INET6 else 253
    body = struct.pack("=BBBBBBBBI", family, length, 0, 0, _MAIN_TABLE, _BOOT, scope, _UNICAST, 0)
    if destination and length:
        body += attribute(1, destination.network_address.packed)
    if gateway:
        body += attribute(5, gateway.packed)
    return body + u32(4, index)


def put_default_route(gateway: Address | None, index: int, *, version: int = 4) -> bytes:
    """Replaces the one that is there. Without a gateway everything is thought to be on the link."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return messages.message(_NEWROUTE, _PUT, _route(None, gateway, index, family))


def delete_default_route(index: int, *, version: int = 4) -> bytes:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return messages.message(_DELROUTE, _DO, _route(None, None, index, family))


def read_link(body: bytes) -> Link:
    """A ``Link`` out of the body of a NEWLINK message."""
    _, _, index, flags, _ = struct.unpack_from("=BxHiII", body)
    found = messages.mapping(body, 16)
    info = messages.mapping(found.get(_LINKINFO, b""))
    kind = messages.string(info.get(_INFO_KIND, b""))
    stats = found.get(23, b"")
    port = messages.mapping(info.get(_SLAVE_DATA, b""))
    return Link(
        index=index,
        name=messages.string(found.get(_IFNAME, b"")),
        kind=kind,
        up=bool(flags & _UP),
        running=bool(flags & 0x40),
        mtu=messages.number(found.get(_MTU, b"")),
        mac=found.get(_ADDRESS, b"").hex(":"),
        alias=messages.string(found.get(_ALIAS, b"")),
        master=messages.number(found.get(_MASTER, b"")),
        peer=messages.number(found.get(_LINK, b"")),
        namespace=messages.number(found[37]) if 37 in found else -1,
        isolated=port.get(_PORT_ISOLATED, b"") == b"\1",
        counters=struct.unpack_from("=8Q", stats) if len(stats) >= 64 else (),
    )


def read_address(body: bytes) -> tuple[int, Interface]:
    """The index of the link and the address, out of the body of a NEWADDR message."""
    _, length, _, _, index = struct.unpack_from("=BBBBi", body)
    found = messages.mapping(body, 8)
    packed = found.get(2) or found[1]
    return index, ipaddress.ip_interface((packed, length))


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route of the main table; ``gateway`` None means that the subnet is on the link."""

    destination: Subnet
    gateway: Address | None
    link: int
    source: Address | None = None
    metric: int = 0


def read_route(body: bytes) -> Route | None:
    """A ``Route`` out of the body of a NEWROUTE message; None unless unicast and in main."""
    family, length, _, _, table, _, _, kind, _ = struct.unpack_from("=BBBBBBBBI", body)
    found = messages.mapping(body, 12)
    table = messages.number(found[15]) if 15 in found else table
    if table != _MAIN_TABLE or kind != _UNICAST:
        return None
    size = 4 if family == socket.AF_INET else 16
    network = ipaddress.ip_network((found.get(1, bytes(size)), length))
    return Route(
        destination=network,
        gateway=ipaddress.ip_address(found[5]) if 5 in found else None,
        link=messages.number(found.get(4, b"")),
        source=ipaddress.ip_address(found[7]) if 7 in found else None,
        metric=messages.number(found.get(6, b"")),
    )
