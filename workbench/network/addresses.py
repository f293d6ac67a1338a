"""Which addresses and subnets to give out: pure functions; whoever calls them writes it down."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Iterable, Iterator, Sequence

from workbench.errors import Conflict, Denied, InvalidInput, Unavailable
from workbench.network.driver import Address, IPNetwork, Subnet

_POOLS = (
    *(f"172.{number}.0.0/16" for number in range(17, 32)),
    *(f"192.168.{number}.0/20" for number in range(0, 256, 16)),
)


def allocate(
    subnet: IPNetwork,
    taken: Collection[Address],
    *,
    gateway: Address | None = None,
    ip_range: IPNetwork | None = None,
    after: Address | None = None,
) -> Address:
    """The next free address after ``after``, going round. Raises Unavailable when all are taken.

    Network and broadcast address and the gateway are never given out. Going on from the last one
    keeps an address unused for as long as possible after its container is gone.
    """
    used = {int(address) for address in taken if address.version == subnet.version}
    used |= {int(gateway)} if gateway else set()
    low, high = _hosts(subnet)
    if ip_range is not None:
        low = max(low, int(ip_range.network_address))
        high = min(high, int(ip_range.broadcast_address))
    begin = int(after) + 1 if after is not None and low <= int(after) < high else low
    for first, last in ((begin, high), (low, begin - 1)):
        free = _first_free(first, last, used)
        if free is not None:
            return _address(free, subnet)
    raise Unavailable(
        f"no available IPv{subnet.version} addresses on this network's address pools: {subnet}"
    )


def _first_free(first: int, last: int, used: set[int]) -> int | None:
    while first <= last:
        if first not in used:
            return first
        first += 1
    return None


def _hosts(subnet: IPNetwork) -> tuple[int, int]:
    """The lowest and the highest address that a host may have."""
    low, high = int(subnet.network_address), int(subnet.broadcast_address)
    if subnet.num_addresses <= 2:
        return low, high
    return (low + 1, high - 1) if subnet.version == 4 else (low + 1, high)


def _address(number: int, subnet: IPNetwork) -> Address:
    kind = ipaddress.IPv4Address if subnet.version == 4 else ipaddress.IPv6Address
    return kind(number)


def check_address(
    wanted: str, subnet: Subnet, taken: Collection[Address], *, used_by: str = ""
) -> Address:
    """An address that the user asked for. Raises InvalidInput or Conflict in Docker's words."""
    address = parse_address(wanted)
    if address not in subnet.subnet:
        raise InvalidInput(
            f"invalid endpoint settings: no configured subnet contains IP address {wanted}"
        )
    low, high = _hosts(subnet.subnet)
    if address == subnet.gateway or not low <= int(address) <= high:
        raise Conflict("Address already in use", hint=f"{wanted} is not for containers")
    if address in taken:
        raise Conflict(
            "Address already in use", hint=f"{wanted} belongs to {used_by}" if used_by else ""
        )
    return address


def parse_address(text: str) -> Address:
    """Raises InvalidInput."""
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidInput(f"invalid IP address: {text}") from error


def parse_subnet(subnet: str, *, gateway: str = "", ip_range: str = "") -> Subnet:
    """A subnet as ``docker network create`` takes it; the first host address is the gateway.

    Raises InvalidInput where gateway or range lie outside, or bits of the host part are set.
    """
    network = _network(subnet)
    room = _network(ip_range, strict=False) if ip_range else None
    if room is not None and not _within(room, network):
        raise InvalidInput(f"invalid ip-range: {ip_range} is not within subnet {subnet}")
    if not gateway:
        low, high = _hosts(network)
        if room is not None and network.num_addresses > 2:
            low = max(low, int(room.network_address) + (room.num_addresses > 1))
        chosen = _address(min(low, high), network)
        return Subnet(subnet=network, gateway=chosen, ip_range=room)
    address = parse_address(gateway)
    if address not in network:
        raise InvalidInput(f"no matching subnet for gateway {gateway}")
    return Subnet(subnet=network, gateway=address, ip_range=room)


def _network(text: str, *, strict: bool = True) -> IPNetwork:
    try:
        return ipaddress.ip_network(text, strict=strict)
    except ValueError as error:
        raise InvalidInput(f"invalid subnet {text}: {error}") from error


def _within(inner: IPNetwork, outer: IPNetwork) -> bool:
    low, high = _bounds(outer)
    first, last = _bounds(inner)
    return inner.version == outer.version and low <= first and last <= high


def _bounds(network: IPNetwork) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two subnets have an address in common."""
    low, high = _bounds(one)
    first, last = _bounds(other)
    return one.version == other.version and low <= last and first <= high


def check_overlap(subnet: IPNetwork, networks: Iterable[IPNetwork]) -> None:
    """Raises Denied (403, in Docker's words) where a network has some of these addresses."""
    for other in networks:
        if overlap(subnet, other):
            raise Denied(
                "invalid pool request: Pool overlaps with other one on this address space",
                hint=f"{subnet} overlaps {other}; choose another --subnet",
            )


def choose_subnet(avoid: Sequence[IPNetwork], *, pools: Iterable[str] = _POOLS) -> IPNetwork:
    """The first pool that overlaps nothing in ``avoid``: other networks and the host's routes.

    A default route does not count. Raises Unavailable when none is left.
    """
    occupied = [network for network in avoid if network.prefixlen]
    for text in pools:
        pool = ipaddress.ip_network(text)
        if not any(overlap(pool, other) for other in occupied):
            return pool
    raise Unavailable(
        "all predefined address pools have been fully subnetted",
        hint="name addresses with --subnet, or remove unused networks with network prune",
    )


def local_subnet(identity: str, avoid: Sequence[IPNetwork]) -> IPNetwork:
    """A unique local /64 (RFC 4193) that follows from ``identity``, such as a network's id."""
    for candidate in _local_subnets(identity):
        if not any(overlap(candidate, other) for other in avoid if other.prefixlen):
            return candidate
    raise Unavailable("no unique local IPv6 subnet is free")


def _local_subnets(identity: str) -> Iterator[ipaddress.IPv6Network]:
    for attempt in range(64):
        digest = hashlib.sha256(f"{identity}/{attempt}".encode()).digest()
        yield ipaddress.IPv6Network((b"\xfd" + digest[:7] + bytes(8), 64))
