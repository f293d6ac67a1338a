"""The firewall as data."""

from __future__ import annotations

import ipaddress
import subprocess

import pytest

from tests.network.conftest import Lab
from workbench.network import nat, nft
from workbench.network.addresses import parse_subnet
from workbench.network.driver import ENABLE_MASQUERADE, HOST_BINDING, Endpoint, Network, Publication
from workbench.network.firewall import Firewall, available
from workbench.network.netlink import NETFILTER, Channel

NETWORK = Network(id="a" * 64, name="lab", subnets=(parse_subnet("172.18.0.0/16"),))


def endpoint(*ports: Publication, **facts: object) -> Endpoint:
    return Endpoint(
        id="b" * 64,
        network_id=NETWORK.id,
        container_id="c" * 64,
        ipv4=ipaddress.IPv4Address("172.18.0.2"),
        ports=ports,
        **facts,  # type: ignore[arg-type]
    )


def test_a_network_is_a_few_elements() -> None:
    elements = nat.network_elements(NETWORK, "wb-a")
    assert set(elements) == {"bridges", "within", "subnets4", "masqueraded4"}
    starts = {element.key for element in elements["subnets4"] if not element.end}
    assert starts == {bytes((172, 18, 0, 0))}
    ends = {element.key for element in elements["subnets4"] if element.end}
    assert ends == {bytes((172, 19, 0, 0))}


def test_internal_networks_and_those_without_masquerade() -> None:
    internal = Network(id="a" * 64, name="lab", subnets=NETWORK.subnets, internal=True)
    assert set(nat.network_elements(internal, "x")) == {"bridges", "within", "internal", "subnets4"}
    plain = Network(
        id="a" * 64, name="lab", subnets=NETWORK.subnets, options={ENABLE_MASQUERADE: "false"}
    )
    assert "masqueraded4" not in nat.network_elements(plain, "x")
    port = Publication(container_port=80, host_port=80)
    assert nat.port_elements(internal, endpoint(port)) == {}


@pytest.mark.parametrize(
    ("host", "sets"),
    [
        ("", {"published4", "published6"}),
        ("0.0.0.0", {"published4"}),
        ("::", {"published6"}),
        ("127.0.0.1", {"published4_at"}),
        ("fd00::9", {"published6_at"}),
    ],
)
def test_where_a_port_is_published(host: str, sets: set[str]) -> None:
    port = Publication(container_port=80, host_port=8080, host_ip=host)
    elements = nat.port_elements(NETWORK, endpoint(port, ipv6=ipaddress.IPv6Address("fd00::2")))
    assert set(elements) == sets


def test_a_network_may_bind_its_ports_to_one_address() -> None:
    network = Network(
        id="a" * 64, name="x", subnets=NETWORK.subnets, options={HOST_BINDING: "127.0.0.1"}
    )
    port = Publication(container_port=80, host_port=8080)
    assert set(nat.port_elements(network, endpoint(port))) == {"published4_at"}


def test_the_plan_does_not_depend_on_the_order_of_facts() -> None:
    ports = [Publication(container_port=80, host_port=number) for number in (1, 2, 3)]
    one = nat.rebuild("t", nat.merge([nat.port_elements(NETWORK, endpoint(*ports))]))
    other = nat.rebuild("t", nat.merge([nat.port_elements(NETWORK, endpoint(*reversed(ports)))]))
    assert one == other


@pytest.mark.network
def test_the_kernel_reads_our_rules_as_they_are_meant(lab: Lab) -> None:
    assert available()
    network = lab.network("172.18.0.0/16")
    lab.join(network, Publication(container_port=80, host_port=8080, host_ip="127.0.0.1"))
    text = subprocess.run(
        ["nft", "list", "table", "inet", "workbench"], capture_output=True, text=True, check=True
    ).stdout
    assert "tcp . 127.0.0.1 . 8080 : 172.18.0.2 . 80" in text
    assert 'iifname @internal counter packets 0 bytes 0 drop comment "from an internal' in text
    assert "dnat ip to meta l4proto . th dport map @published4" in text
    assert "ip saddr @masqueraded4 oifname != @bridges counter" in text


@pytest.mark.network
def test_many_ports_are_one_batch(lab: Lab) -> None:
    ports = [Publication(container_port=80, host_port=1000 + number) for number in range(5000)]
    elements = nat.port_elements(NETWORK, endpoint(*ports))
    firewall = Firewall(lab.root / "run")
    firewall.apply(lambda: elements)
    with Channel(NETFILTER) as channel:
        found = [
            element
            for _, body in channel.dump(nft.get_elements("workbench", "published4"))
            for element in nft.read_elements(body)
        ]
    assert frozenset(found) == elements["published4"]
    firewall.remove(elements)
    firewall.drop_if_idle()
    assert not firewall.exists()
    firewall.drop_if_idle()
