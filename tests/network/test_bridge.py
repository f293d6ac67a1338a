"""Bridges, veth pairs, published ports and isolation, with real packets."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.network.conftest import Lab, answer, call, eventually, reaches
from workbench.errors import Conflict, ContainerNotFound, InvalidInput
from workbench.network import links, sysctl
from workbench.network.bridge import BridgeDriver, bridge_name, check_options, host_link
from workbench.network.driver import (
    BRIDGE_NAME,
    ENABLE_ICC,
    ENABLE_MASQUERADE,
    MTU,
    Network,
    Publication,
)
from workbench.network.netlink import ROUTE, Channel

pytestmark = pytest.mark.network


def test_two_containers_of_a_network_reach_each_other(lab: Lab) -> None:
    network = lab.network("172.17.0.0/16")
    one, two = lab.join(network), lab.join(network)
    two.container.serve(80)
    assert one.container.run(lambda: call(two.ip, 80)) == one.ip
    assert call(two.ip, 80) == "172.17.0.1"


def test_networks_are_kept_apart(lab: Lab) -> None:
    one, two = lab.join(lab.network("172.18.0.0/16")), lab.join(lab.network("172.19.0.0/16"))
    two.container.serve(80)
    assert not one.reaches(two.ip, 80)
    assert reaches(two.ip, 80)


def test_a_container_reaches_the_world_with_the_hosts_address(lab: Lab) -> None:
    machine = lab.outside()
    machine.serve(80)
    one = lab.join(lab.network("172.18.0.0/16"))
    assert one.container.run(lambda: call("198.51.100.2", 80)) == "198.51.100.1"


def test_without_masquerade_packets_keep_their_source(lab: Lab) -> None:
    machine = lab.outside()
    machine.serve(80, protocol="udp")
    one = lab.join(lab.network("172.18.0.0/16", options={ENABLE_MASQUERADE: "false"}))
    assert not one.reaches("198.51.100.2", 80, protocol="udp")


def test_an_internal_network_has_no_way_out_and_no_way_in(lab: Lab) -> None:
    machine = lab.outside()
    machine.serve(80)
    network = lab.network("172.18.0.0/16", internal=True)
    one, two = lab.join(network), lab.join(network)
    two.container.serve(80)
    assert one.reaches(two.ip, 80)
    assert not one.reaches("198.51.100.2", 80)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_published_port_is_reached_from_everywhere(lab: Lab, protocol: str) -> None:
    machine = lab.outside()
    network = lab.network("172.18.0.0/16")
    port = Publication(container_port=80, host_port=8080, protocol=protocol)
    server = lab.join(network, port)
    neighbour = lab.join(network)
    stranger = lab.join(lab.network("172.19.0.0/16"))
    server.container.serve(80, protocol=protocol)
    assert reaches("127.0.0.1", 8080, protocol=protocol)
    assert reaches("198.51.100.1", 8080, protocol=protocol)
    assert machine.run(lambda: call("198.51.100.1", 8080, protocol=protocol)) == "198.51.100.2"
    assert neighbour.reaches("198.51.100.1", 8080, protocol=protocol)
    assert stranger.reaches("198.51.100.1", 8080, protocol=protocol)
    assert stranger.reaches("172.19.0.1", 8080, protocol=protocol)
    assert server.reaches("172.18.0.1", 8080, protocol=protocol)


def test_hairpin_works_without_bridge_netfilter(lab: Lab) -> None:
    sysctl.write("bridge/bridge-nf-call-iptables", "0")
    network = lab.network("172.18.0.0/16")
    server = lab.join(network, Publication(container_port=80, host_port=8080))
    server.container.serve(80)
    assert server.reaches("172.18.0.1", 8080)
    assert lab.join(network).reaches("172.18.0.1", 8080)


def test_a_port_that_is_not_published_is_closed_to_other_machines(lab: Lab) -> None:
    machine = lab.outside()
    server = lab.join(lab.network("172.18.0.0/16"), Publication(container_port=80, host_port=8080))
    server.container.serve(81)

    def over_the_host() -> bool:
        subprocess.run(["ip", "route", "add", "172.18.0.0/16", "via", "198.51.100.1"], check=True)
        return reaches(server.ip, 81)

    assert not machine.run(over_the_host)


def test_a_port_on_the_loopback_is_for_the_host_alone(lab: Lab) -> None:
    machine = lab.outside()
    port = Publication(container_port=80, host_port=8080, host_ip="127.0.0.1")
    server = lab.join(lab.network("172.18.0.0/16"), port)
    server.container.serve(80)
    assert call("127.0.0.1", 8080) == "172.18.0.1"
    assert not reaches("198.51.100.1", 8080)
    assert not machine.run(lambda: reaches("198.51.100.1", 8080))


def test_a_container_does_not_reach_the_hosts_loopback(lab: Lab) -> None:
    host = lab.container()
    os.kill(host.pid, signal.SIGSTOP)
    one = lab.join(lab.network("172.18.0.0/16"))

    def by_route() -> bool:
        subprocess.run(["ip", "addr", "flush", "dev", "lo"], check=True)
        subprocess.run(["ip", "route", "add", "127.0.0.1", "via", "172.18.0.1"], check=True)
        sysctl.write("ipv4/conf/eth0/route_localnet", "1")
        return reaches("127.0.0.1", 8099, protocol="udp")

    server = os.fork()
    if not server:
        answer(8099, "udp", "127.0.0.1", os.open("/dev/null", os.O_WRONLY))
    assert eventually(lambda: reaches("127.0.0.1", 8099, protocol="udp"))
    assert not one.container.run(by_route)
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)


def test_ports_go_with_the_container_and_can_be_taken_again(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    port = Publication(container_port=80, host_port=8080)
    first = lab.join(network, port)
    first.container.serve(80)
    assert reaches("127.0.0.1", 8080)
    with pytest.raises(Conflict, match="already allocated"):
        lab.join(network, port)
    first.container.end()
    lab.driver.detach(network, first.endpoint, ended=True)
    assert not reaches("127.0.0.1", 8080)
    second = lab.join(network, port)
    second.container.serve(80)
    assert reaches("127.0.0.1", 8080)


def test_a_refused_attach_leaves_nothing(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    lab.join(network, Publication(container_port=80, host_port=8080))
    before = lab.links()
    with pytest.raises(Conflict):
        lab.join(network, Publication(container_port=80, host_port=8080))
    assert lab.links() == before
    gone = lab.container()
    gone.end()
    with pytest.raises(ContainerNotFound):
        lab.driver.attach(network, lab.endpoint(network), gone.pid)
    assert lab.links() == before


def test_attach_may_be_repeated_for_the_same_endpoint(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = lab.join(network, Publication(container_port=80, host_port=8080))
    lab.driver.attach(network, one.endpoint, one.container.pid)
    one.container.serve(80)
    assert reaches("127.0.0.1", 8080)


def test_without_icc_containers_are_alone_but_published_ports_work(lab: Lab) -> None:
    machine = lab.outside()
    network = lab.network("172.18.0.0/16", options={ENABLE_ICC: "false"})
    one, two = lab.join(network), lab.join(network, Publication(container_port=80, host_port=8080))
    two.container.serve(80)
    assert not one.reaches(two.ip, 80)
    assert reaches(two.ip, 80)
    assert machine.run(lambda: reaches("198.51.100.1", 8080))


def test_ipv6_within_a_network_and_to_a_published_port(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16", "fd00:18::/64", ipv6=True)
    server = lab.join(network, Publication(container_port=80, host_port=8080))
    client = lab.join(network)
    server.container.serve(80, host="::")
    assert client.reaches(str(server.endpoint.ipv6), 80)
    assert reaches("fd00:18::1", 8080)
    assert client.reaches("fd00:18::1", 8080)
    assert server.reaches("fd00:18::1", 8080)
    with pytest.raises(ConnectionRefusedError):
        call("::1", 8080)
    other = lab.join(lab.network("fd00:19::/64", ipv6=True))
    assert not other.reaches(str(server.endpoint.ipv6), 80)


def test_a_container_in_two_networks_reaches_both(lab: Lab) -> None:
    first, second = lab.network("172.18.0.0/16"), lab.network("172.19.0.0/16")
    one = lab.join(first)
    lab.driver.attach(
        second, lab.endpoint(second, interface="eth1", default_route=False), one.container.pid
    )
    neighbour = lab.join(second)
    neighbour.container.serve(80)
    assert one.container.run(lambda: call(neighbour.ip, 80)) == "172.19.0.2"


def test_another_network_leads_out_when_the_first_is_taken_away(lab: Lab) -> None:
    lab.outside().serve(80)
    first, second = lab.network("172.18.0.0/16"), lab.network("172.19.0.0/16")
    one = lab.join(first)
    endpoint = lab.endpoint(second, interface="eth1", default_route=False)
    lab.driver.attach(second, endpoint, one.container.pid)
    lab.driver.detach(first, one.endpoint)
    assert not one.reaches("198.51.100.2", 80)
    lab.driver.lead_out(second, endpoint, one.container.pid)
    assert one.reaches("198.51.100.2", 80)


def test_a_bridge_with_nobody_in_it_may_rest(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = lab.join(network)
    assert not lab.driver.rest(network)
    lab.driver.detach(network, one.endpoint)
    assert lab.driver.rest(network)
    assert bridge_name(network) not in lab.links()
    two = lab.join(network)
    two.container.serve(80)
    assert reaches(two.ip, 80)


def test_disconnect_takes_the_interface_away(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one, two = lab.join(network), lab.join(network)
    two.container.serve(80)
    lab.driver.detach(network, one.endpoint)
    lab.driver.detach(network, one.endpoint)
    assert not one.reaches(two.ip, 80)
    assert host_link(one.endpoint) not in lab.links()


def test_options_name_the_bridge_and_set_the_mtu(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16", options={BRIDGE_NAME: "classroom", MTU: "1400"})
    one = lab.join(network)
    assert "classroom" in lab.links()
    text = one.container.run(
        lambda: subprocess.run(["ip", "link"], capture_output=True, text=True).stdout
    )
    assert "eth0" in text and "mtu 1400" in text


def test_a_bridge_of_somebody_else_is_left_alone(lab: Lab) -> None:
    lab.network("172.18.0.0/16", options={BRIDGE_NAME: "classroom"})
    with pytest.raises(Conflict, match="classroom"):
        lab.network("172.19.0.0/16", options={BRIDGE_NAME: "classroom"})


@pytest.mark.parametrize(
    "options",
    [
        {MTU: "many"},
        {MTU: "20"},
        {ENABLE_ICC: "perhaps"},
        {BRIDGE_NAME: "a name that is too long"},
        {"com.docker.network.bridge.unheard_of": "1"},
    ],
)
def test_wrong_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        check_options(Network(id="a" * 64, name="x", options=options))


def test_deleting_everything_leaves_nothing(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = lab.join(network, Publication(container_port=80, host_port=8080))
    one.container.end()
    lab.driver.detach(network, one.endpoint, ended=True)
    lab.driver.delete(network)
    lab.driver.delete(network)
    lab.driver.tidy()
    assert eventually(lambda: lab.links() <= {"lo", "ifb0", "ifb1"})
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    assert "workbench" not in rules.stdout


def test_a_crash_is_mended(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = lab.join(network, Publication(container_port=80, host_port=8080))
    lost = lab.join(network, Publication(container_port=80, host_port=8081))
    one.container.serve(80)
    subprocess.run(["nft", "delete", "table", "inet", "workbench"], check=True)
    assert not reaches("127.0.0.1", 8080)
    lab.driver.reconcile([network], [one.endpoint])
    assert reaches("127.0.0.1", 8080)
    assert host_link(lost.endpoint) not in lab.links()
    assert host_link(one.endpoint) in lab.links()


def test_publishing_mends_a_table_that_is_gone(lab: Lab) -> None:
    network, other = lab.network("172.18.0.0/16"), lab.network("172.19.0.0/16")
    first = lab.join(other, Publication(container_port=80, host_port=8081))
    first.container.serve(80)
    facts = ([network, other], [first.endpoint])
    driver = BridgeDriver(lab.root, lab.gate, facts=lambda: facts)
    subprocess.run(["nft", "delete", "table", "inet", "workbench"], check=True)
    container = lab.container()
    endpoint = lab.endpoint(network, Publication(container_port=80, host_port=8080))
    driver.attach(network, endpoint, container.pid)
    container.serve(80)
    assert reaches("127.0.0.1", 8080)
    assert reaches("127.0.0.1", 8081)
    assert not container.run(lambda: reaches(first.ip, 80))


def test_a_bridge_that_goes_while_somebody_joins_is_made_again(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16", create=False)
    containers = [lab.container() for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        resting = [pool.submit(lab.driver.rest, network) for _ in range(40)]
        jobs = [
            pool.submit(lab.driver.attach, network, lab.endpoint(network), container.pid)
            for container in containers
        ]
        for job in (*resting, *jobs):
            job.result()
    containers[1].serve(80)
    assert containers[0].run(lambda: reaches("172.18.0.1", 80)) is False
    with Channel(ROUTE) as channel:
        found = [links.read_link(body) for _, body in channel.dump(links.all_links())]
    bridge = next(link for link in found if link.alias == network.id)
    assert len([link for link in found if link.master == bridge.index]) == len(containers)


def test_other_tables_are_not_touched(lab: Lab) -> None:
    subprocess.run(
        ["nft", "-f", "-"], input="table inet theirs { chain c { }; }", text=True, check=True
    )
    network = lab.network("172.18.0.0/16")
    lab.driver.reconcile([network], [])
    lab.driver.delete(network)
    lab.driver.tidy()
    left = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    assert left.stdout.split() == ["table", "inet", "theirs"]


def test_a_hundred_containers_join_at_once(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16", create=False)
    containers = [lab.container() for _ in range(100)]
    endpoints = [
        lab.endpoint(network, Publication(container_port=80, host_port=9000 + number))
        for number in range(100)
    ]
    with ThreadPoolExecutor(16) as pool:
        jobs = [
            pool.submit(lab.driver.attach, network, endpoint, container.pid)
            for endpoint, container in zip(endpoints, containers, strict=True)
        ]
        for job in jobs:
            job.result()
    containers[99].serve(80)
    assert reaches("127.0.0.1", 9099)
    assert containers[0].run(lambda: reaches(str(endpoints[99].ipv4), 80))
    assert bridge_name(network) in lab.links()
