"""The drivers beside the bridge, relays, and ports of the host."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.network.conftest import Lab, call, eventually, reaches
from workbench.errors import Conflict, InvalidInput, NotFound, Unsupported
from workbench.network import ports, proxy, slirp
from workbench.network.addresses import parse_subnet
from workbench.network.bridge import BridgeDriver
from workbench.network.direct import DirectDriver
from workbench.network.driver import Network, Publication
from workbench.network.firewall import Firewall
from workbench.network.host import HostDriver
from workbench.network.none import NoneDriver

PORT = Publication(container_port=80, host_port=8080)


class NoFirewall(Firewall):
    """A host without nftables."""

    def add(self, elements: object, whole: object) -> None:
        raise Unsupported("no nftables here")


@pytest.mark.network
def test_without_nftables_ports_are_relayed(lab: Lab) -> None:
    driver = BridgeDriver(lab.root, lab.gate, firewall=NoFirewall(lab.root / "run"))
    network = lab.network("172.18.0.0/16", create=False)
    notices = driver.create(network)
    assert "do not reach the world" in notices[0]
    udp = Publication(container_port=81, host_port=8081, protocol="udp")
    container, endpoint = lab.container(), lab.endpoint(network, PORT, udp)
    driver.attach(network, endpoint, container.pid)
    container.serve(80)
    container.serve(81, protocol="udp")
    assert call("127.0.0.1", 8080) == "172.18.0.1"
    assert call("127.0.0.1", 8081, protocol="udp") == "172.18.0.1"
    with pytest.raises(Conflict, match="8080"):
        driver.attach(network, lab.endpoint(network, PORT), lab.container().pid)
    container.end()
    assert eventually(lambda: not reaches("127.0.0.1", 8080))
    internal = lab.network("172.19.0.0/16", create=False, internal=True)
    with pytest.raises(Unsupported):
        driver.create(internal)


@pytest.mark.network
def test_a_relay_passes_much_data_and_half_closes(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = lab.join(network)

    def echo() -> None:
        listener = socket.create_server(("0.0.0.0", 80))
        connection, _ = listener.accept()
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
        connection.sendall(data)
        connection.close()

    pid = os.fork()
    if not pid:
        try:
            one.container._enter()
            echo()
        finally:
            os._exit(0)
    assert eventually(lambda: _listens(one.container))
    proxy.start([PORT], one.ip, one.container.pid)
    payload = os.urandom(3_000_000)
    with socket.create_connection(("127.0.0.1", 8080)) as client:
        client.settimeout(10)
        client.sendall(payload)
        client.shutdown(socket.SHUT_WR)
        back = b""
        while chunk := client.recv(65536):
            back += chunk
    assert back == payload
    os.waitpid(pid, 0)


def _listens(container: object) -> bool:
    text = Path(f"/proc/{container.pid}/net/tcp").read_text("ascii")  # type: ignore[attr-defined]
    return ":0050 00000000:0000 0A" in text


@pytest.mark.network
def test_macvlan_joins_the_uplink(lab: Lab, require: Callable[[object, str], None]) -> None:
    machine = lab.outside()
    machine.serve(80)
    network = Network(
        id=lab.identity(),
        name="wire",
        driver="macvlan",
        subnets=(parse_subnet("198.51.100.0/24", gateway="198.51.100.254"),),
        options={"parent": "eth0"},
    )
    driver = DirectDriver(lab.gate)
    driver.create(network)
    container, endpoint = lab.container(), lab.endpoint(network)
    endpoint = lab.endpoint(network)
    attachment = driver.attach(network, endpoint, container.pid)
    assert attachment.mac
    assert container.run(lambda: call("198.51.100.2", 80)) == str(endpoint.ipv4)
    driver.leave(endpoint, container.pid)
    assert not container.run(lambda: reaches("198.51.100.2", 80))


@pytest.mark.network
def test_ipvlan_joins_or_says_that_the_kernel_has_none(lab: Lab) -> None:
    lab.outside().serve(80)
    network = Network(
        id=lab.identity(),
        name="wire",
        driver="ipvlan",
        subnets=(parse_subnet("198.51.100.0/24", gateway="198.51.100.254"),),
        options={"parent": "eth0"},
    )
    container = lab.container()
    lab.endpoint(network)
    try:
        DirectDriver(lab.gate).attach(network, lab.endpoint(network), container.pid)
    except Unsupported as error:
        assert "ipvlan" in str(error)
        return
    assert container.run(lambda: reaches("198.51.100.2", 80))


@pytest.mark.network
def test_direct_networks_need_a_parent_and_a_known_mode(lab: Lab) -> None:
    driver = DirectDriver(lab.gate)
    with pytest.raises(InvalidInput, match="parent"):
        driver.create(Network(id="a" * 64, name="x", driver="macvlan"))
    with pytest.raises(NotFound, match="nowhere0"):
        driver.create(
            Network(id="a" * 64, name="x", driver="macvlan", options={"parent": "nowhere0"})
        )
    with pytest.raises(InvalidInput, match="mode"):
        driver.create(
            Network(id="a" * 64, name="x", driver="macvlan", options={"macvlan_mode": "odd"})
        )


def test_host_and_none_make_nothing() -> None:
    network = Network(id="a" * 64, name="x")
    lab = Lab(Path("/nonexistent"))
    endpoint = lab.endpoint(network, PORT)
    assert HostDriver().attach(network, endpoint, 1).notices
    assert NoneDriver().attach(network, endpoint, 1).host_link == ""
    with pytest.raises(InvalidInput):
        HostDriver().detach(network, endpoint)


@pytest.mark.network
def test_a_port_that_a_process_holds_names_the_process(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 8080)):
        with pytest.raises(Conflict, match="address already in use") as caught:
            ports.check_free(PORT)
        assert f"process {os.getpid()}" in caught.value.hint
    ports.check_free(PORT)
    with pytest.raises(InvalidInput):
        ports.check_free(Publication(container_port=1, host_port=1, host_ip="203.0.113.7"))


@pytest.mark.network
def test_chosen_ports_are_free(lab: Lab) -> None:
    seen: set[int] = set()
    for _ in range(20):
        number = ports.choose("tcp", "", seen)
        assert number not in seen
        ports.check_free(Publication(container_port=1, host_port=number))
        seen.add(number)


def test_the_words_for_slirp_and_pasta() -> None:
    words = slirp.command("/usr/bin/slirp4netns", 7, [PORT], ready=5, api="/tmp/x")
    assert words[-2:] == ["7", "tap0"] and "--disable-host-loopback" in words
    udp = Publication(container_port=53, host_port=5353, protocol="udp", host_ip="127.0.0.1")
    words = slirp.command("/usr/bin/pasta", 7, [udp])
    assert "127.0.0.1/5353:53" in words and words[-1] == "7"
    with pytest.raises(Unsupported, match="no network"):
        slirp.SlirpDriver("")


@pytest.mark.network
def test_slirp_reaches_the_world_and_publishes(
    lab: Lab, require: Callable[[object, str], None]
) -> None:
    tool = shutil.which("slirp4netns")
    require(tool and Path("/dev/net/tun").exists(), "needs slirp4netns and /dev/net/tun")
    machine = lab.outside()
    machine.serve(80)
    driver = slirp.SlirpDriver(str(tool))
    network = lab.network("10.0.2.0/24", create=False)
    container = lab.container()
    driver.attach(network, lab.endpoint(network, PORT), container.pid)
    assert container.run(lambda: reaches("198.51.100.2", 80, timeout=3))
    container.serve(80)
    assert reaches("127.0.0.1", 8080, timeout=3)
    other = lab.container()
    with pytest.raises(Conflict):
        driver.attach(network, lab.endpoint(network, PORT), other.pid)
    container.end()
    assert eventually(lambda: not _running("slirp4netns", container.pid))


def _running(name: str, pid: int) -> bool:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return any(name in line and f" {pid} " in line for line in listing.stdout.splitlines())
