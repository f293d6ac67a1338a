"""Addresses and subnets that are given out."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import Conflict, Denied, InvalidInput, Unavailable
from workbench.network import addresses
from workbench.network.driver import Address, IPNetwork, mac_address


def network(text: str) -> IPNetwork:
    return ipaddress.ip_network(text)


@st.composite
def subnets(draw: st.DrawFn) -> IPNetwork:
    version = draw(st.sampled_from([4, 6]))
    bits = 32 if version == 4 else 128
    length = draw(st.integers(bits - 10, bits))
    number = draw(st.integers(0, 2**bits - 1)) >> (bits - length) << (bits - length)
    kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
    return kind((number, length))


@given(subnets(), st.data())
def test_what_is_given_out_is_free_and_for_hosts(subnet: IPNetwork, data: st.DataObject) -> None:
    gateway = data.draw(st.sampled_from([None, subnet[0], subnet[-1]]))
    taken: list[Address] = []
    while True:
        try:
            after = taken[-1] if taken and data.draw(st.booleans()) else None
            address = addresses.allocate(subnet, taken, gateway=gateway, after=after)
        except Unavailable:
            break
        assert address in subnet and address not in taken and address != gateway
        if subnet.num_addresses > 2:
            assert address != subnet.network_address
            assert subnet.version == 6 or address != subnet.broadcast_address
        taken.append(address)
        if len(taken) > 40:
            return
    hosts = set(subnet) if subnet.num_addresses <= 2 else set(subnet.hosts())
    assert set(taken) == hosts - {gateway}


def test_addresses_go_on_from_the_last_one_and_go_round() -> None:
    subnet = network("10.0.0.0/29")
    gateway = subnet[1]
    assert addresses.allocate(subnet, [], gateway=gateway) == subnet[2]
    assert addresses.allocate(subnet, [], gateway=gateway, after=subnet[4]) == subnet[5]
    assert addresses.allocate(subnet, [], gateway=gateway, after=subnet[6]) == subnet[2]


def test_a_range_bounds_what_is_given_out() -> None:
    subnet, room = network("10.0.0.0/16"), network("10.0.5.0/30")
    given_out: list[Address] = []
    for _ in range(4):
        given_out.append(addresses.allocate(subnet, given_out, ip_range=room))
    assert [str(address) for address in given_out] == [f"10.0.5.{n}" for n in range(4)]
    with pytest.raises(Unavailable):
        addresses.allocate(subnet, given_out, ip_range=room)


def test_a_large_subnet_with_many_taken_is_quick() -> None:
    subnet = network("172.17.0.0/16")
    taken = [subnet[number] for number in range(2, 60000)]
    assert addresses.allocate(subnet, taken, gateway=subnet[1]) == subnet[60000]


def test_subnets_as_the_user_writes_them() -> None:
    assert addresses.parse_subnet("10.1.0.0/16").gateway == ipaddress.ip_address("10.1.0.1")
    room = addresses.parse_subnet("10.1.0.0/16", ip_range="10.1.5.0/24")
    assert room.gateway == ipaddress.ip_address("10.1.5.1")
    chosen = addresses.parse_subnet("10.1.0.0/16", gateway="10.1.9.9")
    assert chosen.gateway == ipaddress.ip_address("10.1.9.9")


@pytest.mark.parametrize(
    ("subnet", "more"),
    [
        ("10.1.0.1/16", {}),
        ("nonsense", {}),
        ("10.1.0.0/16", {"gateway": "10.2.0.1"}),
        ("10.1.0.0/16", {"gateway": "gate"}),
        ("10.1.0.0/16", {"ip_range": "10.2.0.0/24"}),
        ("10.1.0.0/24", {"ip_range": "10.1.0.0/16"}),
    ],
)
def test_wrong_subnets_are_refused(subnet: str, more: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        addresses.parse_subnet(subnet, **more)


def test_an_address_that_was_asked_for() -> None:
    subnet = addresses.parse_subnet("10.1.0.0/24")
    wanted = addresses.check_address("10.1.0.7", subnet, [])
    assert wanted == ipaddress.ip_address("10.1.0.7")
    for taken in ("10.1.0.1", "10.1.0.0", "10.1.0.255"):
        with pytest.raises(Conflict):
            addresses.check_address(taken, subnet, [])
    with pytest.raises(Conflict) as caught:
        addresses.check_address("10.1.0.7", subnet, [wanted], used_by="web")
    assert "web" in caught.value.hint
    with pytest.raises(InvalidInput, match="no configured subnet"):
        addresses.check_address("10.2.0.1", subnet, [])


def test_pools_avoid_networks_and_routes() -> None:
    assert addresses.choose_subnet([]) == network("172.17.0.0/16")
    avoid = [network("0.0.0.0/0"), network("172.17.4.0/24"), network("172.18.0.0/15")]
    assert addresses.choose_subnet(avoid) == network("172.20.0.0/16")
    assert addresses.choose_subnet([network("172.16.0.0/12")]) == network("192.168.0.0/20")
    with pytest.raises(Unavailable):
        addresses.choose_subnet([network("172.16.0.0/12"), network("192.168.0.0/16")])


@given(subnets(), subnets())
def test_overlap_is_what_it_says(one: IPNetwork, other: IPNetwork) -> None:
    expected = one.version == other.version and one.overlaps(other)
    assert addresses.overlap(one, other) == expected


def test_overlapping_networks_are_denied() -> None:
    with pytest.raises(Denied, match="Pool overlaps"):
        addresses.check_overlap(network("10.0.0.0/8"), [network("10.1.0.0/16")])


def test_local_ipv6_subnets_follow_from_the_identity() -> None:
    one = addresses.local_subnet("a", [])
    assert one == addresses.local_subnet("a", []) != addresses.local_subnet("b", [])
    assert one.subnet_of(network("fd00::/8")) and one.prefixlen == 64
    assert addresses.local_subnet("a", [one]) != one


def test_mac_addresses_follow_from_addresses() -> None:
    assert mac_address(ipaddress.IPv4Address("172.17.0.2"), "") == "02:42:ac:11:00:02"
    assert mac_address(None, "a1b2c3d4" + "0" * 56) == "02:42:a1:b2:c3:d4"
