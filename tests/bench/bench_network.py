"""How long networks take: ``python tests/bench/bench_network.py`` as root prints a table.

Everything happens in a fresh network namespace of a forked child.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.network.conftest import (
    Container,
    Lab,
    become_host,
    call,
    eventually,
    in_child,
)
from tests.network.test_dns import ask, names
from workbench.linux import libc
from workbench.network import links, nat, sysctl
from workbench.network.driver import Publication
from workbench.network.netlink import ROUTE, Channel
from workbench.network.path import path
from workbench.network.topology import Running, observe


def say(what: str, seconds: float, more: str = "") -> None:
    sys.stdout.write(f"{what:58} {seconds * 1000:9.3f} ms  {more}\n")
    sys.stdout.flush()


def timed(body: Callable[[], object]) -> float:
    begin = time.perf_counter()
    body()
    return time.perf_counter() - begin


def joining(lab: Lab) -> None:
    """200 containers, each with a published port and a name."""
    say("warden: first start", timed(lab.gate.ensure))
    network = lab.network("172.18.0.0/16", create=False)
    say("network: create", timed(lambda: lab.driver.create(network)))
    attach, publish, detach = [], [], []
    joined = []
    for number in range(200):
        container = lab.container()
        endpoint = lab.endpoint(network, Publication(container_port=80, host_port=9000 + number))
        attach.append(
            timed(lambda: lab.driver.attach(network, endpoint, container.pid))  # noqa: B023
        )
        one = type("One", (), {"endpoint": endpoint, "container": container})
        facts = names(one, network, f"c{number}")
        publish.append(timed(lambda: lab.gate.publish(facts)))  # noqa: B023
        joined.append((container, endpoint))
    say("attach with a port: median of 200", statistics.median(attach), _worst(attach))
    say("publish a name: median of 200", statistics.median(publish), _worst(publish))
    first = joined[0][0]
    look_ups = first.run(lambda: [timed(lambda: ask("c150")) for _ in range(200)])
    say("name look-up among 200: median", statistics.median(look_ups), _worst(look_ups))
    endpoints = [endpoint for _, endpoint in joined]
    say("reconcile 200", timed(lambda: lab.driver.reconcile([network], endpoints)))
    running = [
        Running(id=endpoint.container_id, name=f"c{number}", pid=container.pid)
        for number, (container, endpoint) in enumerate(joined)
    ]
    observe(lab.gate, [])
    begin = time.perf_counter()
    topology = observe(lab.gate, running)
    say("topology of 200", time.perf_counter() - begin)
    say("path among 200", timed(lambda: path(topology, "c0", "c199", 80)))
    last = joined[-1][0]
    last.serve(80)
    calls = [timed(lambda: call("127.0.0.1", 9199)) for _ in range(50)]
    say("connection to a published port of 200: median", statistics.median(calls))
    pid = lab.gate.ask({"op": "ping"})[0]["pid"]
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    sys.stdout.write(f"warden with 200 containers: {_field(status, 'VmRSS')}\n")
    for container, endpoint in joined[:100]:
        container.end()
        detach.append(
            timed(lambda: lab.driver.detach(network, endpoint, ended=True))  # noqa: B023
        )
    say("detach of an ended container: median", statistics.median(detach), _worst(detach))


def _worst(times: list[float]) -> str:
    return f"worst {max(times) * 1000:.3f}"


def _field(status: str, name: str) -> str:
    return next(line.split(":")[1].strip() for line in status.splitlines() if name in line)


def throughput(server: Container, client: Container, address: str, seconds: float = 2.0) -> float:
    """Bytes per second over one TCP connection between two namespaces."""
    if not server.servers:
        _sink(server)

    def push() -> float:
        chunk = b"\0" * (1 << 20)
        with socket.create_connection((address, 5001)) as connection:
            begin, sent = time.perf_counter(), 0
            while time.perf_counter() - begin < seconds:
                connection.sendall(chunk)
                sent += len(chunk)
            return sent / (time.perf_counter() - begin)

    return float(client.run(push))


def _sink(container: Container) -> None:
    """A process inside that swallows what comes to port 5001."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            libc.call("prctl", 1, signal.SIGKILL, 0, 0, 0)
            container._enter()
            listener = socket.create_server(("0.0.0.0", 5001))
            os.write(writer, b"+")
            while True:
                connection, _ = listener.accept()
                buffer = bytearray(1 << 20)
                while connection.recv_into(buffer):
                    pass
        finally:
            os._exit(1)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    container.servers.append(pid)


def by_hand(lab: Lab) -> tuple[Container, Container]:
    """The same bridge and veths without anything of ours around them."""
    with Channel(ROUTE) as channel:
        channel.perform(
            [links.new_bridge("hand0", mac="02:42:0a:00:00:01", mtu=1500), links.set_up("hand0")],
            "make a bridge",
        )
        body = channel.ask(links.get_link("hand0"))
        assert body is not None
        bridge = links.read_link(body).index
        found = []
        for number in (2, 3):
            container = lab.container()
            namespace = os.open(f"/proc/{container.pid}/ns/net", os.O_RDONLY)
            pair = links.new_veth(
                f"hand{number}", bridge=bridge, mtu=1500, peer="eth0",
                peer_mac=f"02:42:0a:00:00:0{number}", namespace=namespace,
            )  # fmt: skip
            channel.perform([pair, links.set_up(f"hand{number}")], "make a pair")

            def configure(number: int = number) -> None:
                with Channel(ROUTE) as inside:
                    inside.perform([links.set_up("lo"), links.set_up("eth0")], "up")
                    body = inside.ask(links.get_link("eth0"))
                    assert body is not None
                    value = ipaddress.ip_interface(f"10.9.0.{number}/24")
                    index = links.read_link(body).index
                    inside.perform([links.add_address(index, value)], "address")

            container.run(configure)
            found.append(container)
    return found[0], found[1]


def comparing(lab: Lab) -> None:
    """One TCP connection: on a bridge made by hand, then on ours, in turns; the best of each."""
    for switch in ("1", "0"):
        sysctl.write("bridge/bridge-nf-call-iptables", switch)
        network = lab.network(f"172.2{switch}.0.0/16")
        one, two = lab.join(network), lab.join(network)
        hand, ours = [], []
        for _ in range(5):
            hand.append(in_child(functools.partial(_by_hand, switch)))
            ours.append(throughput(one.container, two.container, one.ip, 1.0))
        best, other = max(ours) / 1e9, max(hand) / 1e9
        sys.stdout.write(
            f"TCP on one bridge (bridge-nf-call-iptables={switch}): ours {best:.2f} GB/s,"
            f" by hand {other:.2f} GB/s, {best / other:.1%}\n"
        )


def _by_hand(switch: str) -> float:
    become_host()
    sysctl.write("bridge/bridge-nf-call-iptables", switch)
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        one, two = by_hand(lab)
        try:
            return throughput(one, two, "10.9.0.2", 1.0)
        finally:
            lab.close()


def main() -> None:
    for part in (joining, comparing):

        def body(part: Callable[[Lab], None] = part) -> None:
            become_host()
            with tempfile.TemporaryDirectory() as folder:
                lab = Lab(Path(folder) / "root")
                try:
                    part(lab)
                finally:
                    lab.close()
                    eventually(lambda: not (Path(folder) / "root/run/warden.sock").exists(), 0.2)

        in_child(body)
    sys.stdout.write(f"rules in the table: {len(nat.table('x').rules)}\n")


if __name__ == "__main__":
    main()
