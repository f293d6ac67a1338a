"""The name server, asked from inside containers."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.network.conftest import Joined, Lab, eventually
from workbench.linux import libc
from workbench.network import dns_wire as wire
from workbench.network.dns_wire import Message, Question, Record
from workbench.network.driver import Network
from workbench.network.names import Membership, Names, keep_only, start_time

pytestmark = pytest.mark.network


def names(joined: Joined, network: Network, *called: str, **facts: object) -> Names:
    member = Membership(
        network_id=network.id,
        network_name=network.name,
        names=called,
        ipv4=str(joined.endpoint.ipv4 or ""),
        ipv6=str(joined.endpoint.ipv6 or ""),
        internal=network.internal,
    )
    return Names(
        container_id=joined.endpoint.container_id,
        pid=joined.container.pid,
        started=start_time(joined.container.pid),
        memberships=(member,),
        **facts,  # type: ignore[arg-type]
    )


def join(lab: Lab, network: Network, *called: str, **facts: object) -> Joined:
    joined = lab.join(network)
    lab.gate.publish(names(joined, network, *called, **facts))
    return joined


def ask(name: str, kind: int = wire.A, *, tcp: bool = False, server: str = "127.0.0.11") -> Message:
    query = wire.encode(
        Message(
            identity=4711,
            questions=(Question(name=name, kind=kind),),
            recursion_desired=True,
        )
    )
    family = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, family) as client:
        client.settimeout(3)
        client.connect((server, 53))
        client.sendall(len(query).to_bytes(2, "big") + query if tcp else query)
        data = client.recv(65535)
        while tcp and len(data) < 2 + int.from_bytes(data[:2], "big"):
            data += client.recv(65535)
    answer = wire.decode(data[2:] if tcp else data)
    assert answer.identity == 4711 and answer.response
    return answer


def addresses(message: Message) -> list[str]:
    family = {wire.A: socket.AF_INET, wire.AAAA: socket.AF_INET6}
    return [socket.inet_ntop(family[record.kind], record.data) for record in message.answers]


@pytest.mark.parametrize("tcp", [False, True])
def test_names_and_aliases_of_a_network(lab: Lab, tcp: bool) -> None:
    network = lab.network("172.18.0.0/16", name="lab")
    one = join(lab, network, "one")
    two = join(lab, network, "two", "database")
    for name in ("two", "database", "TWO", "two.lab", "two."):
        assert addresses(one.container.run(lambda name=name: ask(name, tcp=tcp))) == [two.ip]


def test_other_networks_have_other_names(lab: Lab) -> None:
    first, second = lab.network("172.18.0.0/16"), lab.network("172.19.0.0/16")
    one = join(lab, first, "one", upstreams=("127.0.0.1",))
    join(lab, second, "two")
    assert one.container.run(lambda: ask("two")).code == wire.SERVER_FAILURE


def test_several_of_one_name_take_turns(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    members = [join(lab, network, f"web{number}", "web") for number in range(3)]
    answers = members[0].container.run(lambda: [addresses(ask("web")) for _ in range(40)])
    assert all(set(answer) == {member.ip for member in members} for answer in answers)
    assert len({answer[0] for answer in answers}) == 3


def test_a_name_without_ipv6_is_known_all_the_same(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = join(lab, network, "one")
    answer = one.container.run(lambda: ask("one", wire.AAAA))
    assert answer.code == wire.NO_ERROR and not answer.answers


def test_ipv6_and_reverse_look_ups(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16", "fd00:18::/64", ipv6=True, name="lab")
    one = join(lab, network, "one")
    assert addresses(one.container.run(lambda: ask("one", wire.AAAA))) == ["fd00:18::2"]
    for reverse in (one.endpoint.ipv4.reverse_pointer, one.endpoint.ipv6.reverse_pointer):
        answer = one.container.run(lambda reverse=reverse: ask(reverse, wire.PTR))
        assert wire.decode_name(answer.answers[0].data, 0)[0] == "one.lab"


def test_links_are_names_for_one_container(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    two = join(lab, network, "two")
    one = join(lab, network, "one", links={"db": "two"})
    assert addresses(one.container.run(lambda: ask("db"))) == [two.ip]
    three = join(lab, network, "three", upstreams=("127.0.0.1",))
    assert three.container.run(lambda: ask("db")).code == wire.SERVER_FAILURE


def test_the_resolver_of_the_c_library_understands_us(lab: Lab, tmp_path: Path) -> None:
    network = lab.network("172.18.0.0/16")
    one, two = join(lab, network, "one"), join(lab, network, "two")
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.11\noptions ndots:0\n")

    def look_up() -> str:
        libc.call("mount", str(resolv).encode(), b"/etc/resolv.conf", None, 4096, None)
        return socket.gethostbyname("two")

    assert one.container.run(look_up) == two.ip


def test_a_container_may_have_its_own_name_server(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = join(lab, network, "one")
    one.container.serve(53, protocol="udp")
    one.container.serve(53)
    assert addresses(one.container.run(lambda: ask("one"))) == [one.ip]


def test_names_go_with_their_container(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = join(lab, network, "one", upstreams=("127.0.0.1",))
    two = join(lab, network, "two")
    two.container.end()
    lab.gate.withdraw(two.endpoint.container_id)
    assert one.container.run(lambda: ask("two")).code == wire.SERVER_FAILURE
    lab.gate.withdraw("never-there")


def test_a_container_that_ended_unseen_has_no_name_any_more(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = join(lab, network, "one", upstreams=("127.0.0.1",))
    two = join(lab, network, "two")
    two.container.end()
    gone = eventually(lambda: one.container.run(lambda: ask("two")).code == wire.SERVER_FAILURE)
    assert gone
    keep_only(lab.root, {one.endpoint.container_id})
    assert addresses(one.container.run(lambda: ask("one"))) == [one.ip]


def test_a_dead_containers_namespace_is_not_held(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = join(lab, network, "one")
    assert one.attachment.host_link in lab.links()
    one.container.end()
    assert eventually(lambda: one.attachment.host_link not in lab.links())


def test_a_killed_warden_is_followed_by_one_that_knows_all(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one, two = join(lab, network, "one"), join(lab, network, "two")
    pid = lab.gate.ask({"op": "ping"})[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: start_time(pid) == 0)
    lab.gate.ensure()
    assert addresses(one.container.run(lambda: ask("two"))) == [two.ip]


def test_only_one_warden_starts(lab: Lab) -> None:
    pids = {lab.gate.ask({"op": "ping"})[0]["pid"] for _ in range(3)}
    lab.gate._start()
    assert {lab.gate.ask({"op": "ping"})[0]["pid"]} == pids


def test_bytes_that_are_no_question_do_no_harm(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = join(lab, network, "one")

    def disturb() -> list[str]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.11", 53))
            for data in (b"", b"x", b"\xff" * 12, b"\0" * 12, os.urandom(400), b"\xc0" * 60):
                client.send(data)
        with socket.create_connection(("127.0.0.11", 53)) as client:
            client.sendall(b"\xff\xff" + os.urandom(100))
        with socket.create_connection(("127.0.0.11", 53)) as client:
            client.sendall(b"\0\0\0\1x")
        return addresses(ask("one"))

    assert one.container.run(disturb) == [one.ip]


class Upstream:
    """A resolver on the host's loopback that knows one name."""

    def __init__(self, lab: Lab, address: str = "127.0.0.53") -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                libc.call("prctl", 1, signal.SIGKILL, 0, 0, 0)
                _resolve(address, writer)
            finally:
                os._exit(1)
        os.read(reader, 1)


def _resolve(address: str, ready: int) -> None:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for item in (udp, tcp):
        item.bind((address, 53))
    tcp.listen()
    if os.fork() == 0:
        libc.call("prctl", 1, signal.SIGKILL, 0, 0, 0)
        while True:
            connection, _ = tcp.accept()
            data = connection.recv(4096)
            answer = _known(data[2:], big=True)
            connection.sendall(len(answer).to_bytes(2, "big") + answer)
            connection.close()
    os.write(ready, b"+")
    while True:
        data, client = udp.recvfrom(4096)
        udp.sendto(b"\0\0forged", client)
        udp.sendto(_known(data, big=False), client)


def _known(data: bytes, *, big: bool) -> bytes:
    query = wire.decode(data)
    name = query.questions[0].name
    if name != "example.org":
        return wire.reply(query, code=wire.NO_SUCH_NAME)
    count = 300 if big else 1
    return wire.reply(
        query, tuple(Record(name=name, kind=wire.A, data=b"\1\2\3\4") for _ in range(count))
    )


def test_other_names_are_asked_of_the_hosts_resolvers(lab: Lab, tmp_path: Path) -> None:
    Upstream(lab)
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.53\n")
    libc.call("mount", str(resolv).encode(), b"/etc/resolv.conf", None, 4096, None)
    network = lab.network("172.18.0.0/16")
    one = join(lab, network, "one")
    assert addresses(one.container.run(lambda: ask("example.org"))) == ["1.2.3.4"]
    assert len(one.container.run(lambda: ask("example.org", tcp=True)).answers) == 300
    assert one.container.run(lambda: ask("nowhere.example")).code == wire.NO_SUCH_NAME


def test_the_next_resolver_is_asked_where_one_is_silent(lab: Lab) -> None:
    Upstream(lab)
    network = lab.network("172.18.0.0/16")
    one = join(lab, network, "one", upstreams=("127.0.0.99", "127.0.0.53"))
    assert addresses(one.container.run(lambda: ask("example.org"))) == ["1.2.3.4"]


def test_an_internal_network_asks_nothing_of_the_world(lab: Lab) -> None:
    Upstream(lab)
    network = lab.network("172.18.0.0/16", internal=True)
    one = join(lab, network, "one", upstreams=("127.0.0.53",))
    assert one.container.run(lambda: ask("example.org")).code == wire.SERVER_FAILURE
    assert addresses(one.container.run(lambda: ask("one"))) == [one.ip]


def test_a_look_up_takes_less_than_a_millisecond(lab: Lab) -> None:
    network = lab.network("172.18.0.0/16")
    one = join(lab, network, "one")

    def measure() -> float:
        times = []
        for _ in range(50):
            begin = time.perf_counter()
            ask("one")
            times.append(time.perf_counter() - begin)
        return sorted(times)[25]

    assert one.container.run(measure) < 0.001
