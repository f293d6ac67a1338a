"""Topology and paths: what is said agrees with what packets do."""

from __future__ import annotations

import subprocess

import pytest

from tests.network.conftest import Joined, Lab, reaches
from workbench.errors import NotFound
from workbench.network import nat
from workbench.network.driver import ENABLE_ICC, Publication
from workbench.network.path import Path, path
from workbench.network.topology import Running, Topology, observe

pytestmark = pytest.mark.network
PORT = Publication(container_port=80, host_port=8080)


def look(lab: Lab, **containers: Joined) -> Topology:
    return observe(
        lab.gate,
        [
            Running(id=joined.endpoint.container_id, name=name, pid=joined.container.pid)
            for name, joined in containers.items()
        ],
    )


def kinds(way: Path) -> list[str]:
    return [hop.kind for hop in way.hops]


def test_topology_shows_what_is_there(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16", "fd00:18::/64", ipv6=True)
    one = lab.join(network, PORT)
    one.container.serve(80)
    assert reaches("127.0.0.1", 8080)
    seen = look(lab, one=one)
    bridge = next(item for item in seen.host.interfaces if item.alias == network.id)
    assert bridge.kind == "bridge" and bridge.name in seen.bridges
    assert "172.18.0.1/16" in map(str, bridge.addresses)
    inside = next(item for item in seen.containers[0].interfaces if item.name == "eth0")
    outside = seen.host.interface(inside.peer)
    assert outside and outside.master == bridge.name and outside.name == one.attachment.host_link
    assert inside.received_packets > 0 and inside.sent_bytes > 0
    assert {str(item.address) for item in seen.published} == {"172.18.0.2", "fd00:18::2"}
    assert set(map(str, seen.subnets)) == {"172.18.0.0/16", "fd00:18::/64"}
    assert {rule.comment for rule in seen.rules if rule.verdict == "drop"} >= {
        nat.OTHER_NETWORK,
        nat.NOT_PUBLISHED,
    }
    assert seen.forwarding


def test_within_a_network(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one, two = lab.join(network), lab.join(network)
    way = path(look(lab, one=one, two=two), "one", "two", 80)
    assert way.arrives and way.reached == "two"
    assert kinds(way) == ["interface", "veth", "bridge", "veth", "interface"]


def test_between_networks_a_rule_drops(lab: Lab) -> None:
    one, two = lab.join(lab.network("172.18.0.0/16")), lab.join(lab.network("172.19.0.0/16"))
    two.container.serve(80)
    before = look(lab, one=one, two=two)
    way = path(before, "one", "two", 80)
    assert not way.arrives and way.rule == nat.OTHER_NETWORK
    assert not one.reaches(two.ip, 80)
    counted = {rule.comment: rule.packets for rule in look(lab).rules}
    assert counted[nat.OTHER_NETWORK] > 0


def test_to_the_world_and_not_from_an_internal_network(lab: Lab) -> None:
    lab.outside()
    one = lab.join(lab.network("172.18.0.0/16"))
    two = lab.join(lab.network("172.19.0.0/16", internal=True))
    seen = look(lab, one=one, two=two)
    way = path(seen, "one", "198.51.100.2", 443)
    assert way.arrives and way.reached == "world"
    assert way.hops[-2].name == "masquerade" and "198.51.100.1" in way.hops[-2].detail
    assert not path(seen, "two", "198.51.100.2", 443).arrives
    assert not path(seen, "host", "203.0.113.1", 443).arrives


def test_to_published_ports(lab: Lab) -> None:
    lab.outside()
    one = lab.join(lab.network("172.18.0.0/16"), PORT)
    two = lab.join(lab.network("172.19.0.0/16"))
    one.container.serve(80)
    seen = look(lab, one=one, two=two)
    for source, address in (
        ("host", "127.0.0.1"),
        ("two", "198.51.100.1"),
        ("one", "198.51.100.1"),
        ("world", "198.51.100.1"),
        ("world", "host"),
    ):
        way = path(seen, source, address, 8080)
        assert way.arrives and way.reached == "one" and way.port == 80, source
        assert "nat" in kinds(way)
    closed = path(seen, "world", one.ip, 80)
    assert not closed.arrives and closed.rule == nat.NOT_PUBLISHED
    other = path(seen, "world", "198.51.100.1", 22)
    assert other.arrives and other.reached == "host"


def test_isolated_containers_and_policies_of_others(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16", options={ENABLE_ICC: "false"})
    one, two = lab.join(network), lab.join(network)
    rules = "table ip theirs { chain f { type filter hook forward priority 0; policy drop; }; }"
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    seen = look(lab, one=one, two=two)
    way = path(seen, "one", "two", 80)
    assert not way.arrives and "enable_icc" in way.reason
    assert "theirs" in way.warnings[0]
    with pytest.raises(NotFound):
        path(seen, "nobody", "one", 80)


def test_a_container_that_has_ended_is_left_out(lab: Lab) -> None:
    one = lab.join(lab.network("172.18.0.0/16"))
    one.container.end()
    assert look(lab, one=one).containers == ()
