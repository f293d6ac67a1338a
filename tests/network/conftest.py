"""Network tests run in a host of their own: a forked child in fresh namespaces.

Nothing that they do reaches the machine: its links, rules and switches are never touched, and all
goes with the child. Containers are further namespaces, held by sleeping processes.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import pickle
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.linux import libc
from workbench.network import links
from workbench.network.addresses import parse_subnet
from workbench.network.bridge import BridgeDriver
from workbench.network.driver import Attachment, Endpoint, Network, Publication
from workbench.network.gate import Gate
from workbench.network.links import read_link
from workbench.network.netlink import ROUTE, Channel

NEWNS, NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000


class Remote(Exception):
    """What failed in a forked child, as text."""


def in_child(body: Callable[[], Any]) -> Any:
    """Run ``body`` in a forked child; its value, or Remote with its traceback."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        try:
            answer = (True, body())
        except BaseException:  # noqa: BLE001 - all of it is told to the parent
            answer = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    if not data:
        raise Remote("the child died")
    good, value = pickle.loads(data)
    if not good:
        raise Remote(value)
    return value


def become_host() -> None:
    """Fresh network and mounts, with the loopback up and a /sys that shows this network."""
    libc.call("unshare", NEWNET | NEWNS)
    libc.call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    with contextlib.suppress(OSError):
        libc.call("mount", b"sysfs", b"/sys", b"sysfs", 0, None)
    with Channel(ROUTE) as channel:
        channel.perform([links.set_up("lo")], "bring up lo")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests marked ``network`` in a host of their own."""
    if not pyfuncitem.get_closest_marker("network"):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    def body() -> str:
        become_host()
        try:
            pyfuncitem.obj(**arguments)
        except pytest.skip.Exception as skipped:
            return str(skipped)
        finally:
            if "lab" in arguments:
                arguments["lab"].close()
        return ""

    sys.stdout.flush()
    failure = ""
    try:
        reason = in_child(body)
    except Remote as error:
        reason, failure = "", str(error)
    if failure:
        pytest.fail(failure, pytrace=False)
    if reason:
        pytest.skip(reason)
    return True


class Container:
    """A network namespace held by a sleeping child."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            libc.call("prctl", 1, signal.SIGKILL, 0, 0, 0)
            libc.call("unshare", NEWNET)
            os.write(writer, b"+")
            os.close(writer)
            while True:
                signal.pause()
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        self.servers: list[int] = []

    def run(self, body: Callable[[], Any]) -> Any:
        """Run a function inside; its value."""

        def inside() -> Any:
            self._enter()
            return body()

        return in_child(inside)

    def _enter(self) -> None:
        descriptor = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        libc.call("setns", descriptor, NEWNET)
        os.close(descriptor)

    def serve(self, port: int, *, protocol: str = "tcp", host: str = "0.0.0.0") -> None:
        """A server inside that answers every client with the client's address."""
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            libc.call("prctl", 1, signal.SIGKILL, 0, 0, 0)
            os.close(reader)
            try:
                self._enter()
                answer(port, protocol, host, writer)
            finally:
                os._exit(1)
        os.close(writer)
        assert os.read(reader, 1) == b"+", "the server inside did not start"
        os.close(reader)
        self.servers.append(pid)

    def end(self) -> None:
        for pid in (*self.servers, self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self.servers = []


def answer(port: int, protocol: str, host: str, ready: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    if protocol == "tcp":
        listener.listen()
    os.write(ready, b"+")
    while True:
        if protocol == "tcp":
            connection, address = listener.accept()
            with connection:
                connection.sendall(address[0].encode())
        else:
            _, address = listener.recvfrom(2048)
            with contextlib.suppress(OSError):
                listener.sendto(address[0].encode(), address)


def call(address: str, port: int, *, protocol: str = "tcp", timeout: float = 2.0) -> str:
    """Ask such a server for our address as it sees it. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as client:
        client.settimeout(timeout)
        client.connect((address, port))
        if protocol != "tcp":
            client.send(b"?")
        return client.recv(100).decode()


def reaches(address: str, port: int, *, protocol: str = "tcp", timeout: float = 0.4) -> bool:
    """Whether such a server answers."""
    try:
        return bool(call(address, port, protocol=protocol, timeout=timeout))
    except OSError:
        return False


class Lab:
    """Networks and containers in the host of this test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.gate = Gate(root)
        self.driver = BridgeDriver(root, self.gate)
        self._numbers = itertools.count(1)
        self._containers: list[Container] = []
        self._given: dict[str, itertools.count[int]] = {}

    def identity(self) -> str:
        return f"{next(self._numbers):012x}" + "0" * 52

    def network(self, *subnets: str, create: bool = True, **facts: Any) -> Network:
        identity = self.identity()
        network = Network(
            id=identity,
            name=facts.pop("name", f"net{identity[:12]}"),
            subnets=tuple(parse_subnet(subnet) for subnet in subnets),
            **facts,
        )
        if create:
            self.driver.create(network)
        return network

    def container(self) -> Container:
        container = Container()
        self._containers.append(container)
        return container

    def endpoint(self, network: Network, *ports: Publication, **facts: Any) -> Endpoint:
        number = next(self._given.setdefault(network.id, itertools.count(2)))
        for version in (4, 6):
            if item := network.subnet(version):
                facts.setdefault(f"ipv{version}", item.subnet.network_address + number)
        return Endpoint(
            id=self.identity(),
            network_id=network.id,
            container_id=self.identity(),
            ports=ports,
            **facts,
        )

    def join(self, network: Network, *ports: Publication, **facts: Any) -> Joined:
        """A new container in the network."""
        container = self.container()
        endpoint = self.endpoint(network, *ports, **facts)
        attachment = self.driver.attach(network, endpoint, container.pid)
        return Joined(container, endpoint, attachment)

    def outside(self) -> Container:
        """Another machine at 198.51.100.2 on the host's uplink eth0, which is 198.51.100.1."""
        machine = self.container()
        namespace = os.open(f"/proc/{machine.pid}/ns/net", os.O_RDONLY)
        with Channel(ROUTE) as channel:
            pair = links.new_veth(
                "eth0", bridge=0, mtu=1500, peer="eth0", peer_mac="02:00:00:00:00:02",
                namespace=namespace,
            )  # fmt: skip
            channel.perform([pair, links.set_up("eth0")], "make the uplink")
            _give(channel, "198.51.100.1/24")
        os.close(namespace)
        machine.run(_be_outside)
        return machine

    def links(self) -> set[str]:
        with Channel(ROUTE) as channel:
            return {read_link(body).name for _, body in channel.dump(links.all_links())}

    def close(self) -> None:
        for container in self._containers:
            container.end()
        if (self.root / "run" / "warden.sock").exists():
            with contextlib.suppress(Exception):
                self.gate.ask({"op": "stop"})


def _be_outside() -> None:
    with Channel(ROUTE) as channel:
        channel.perform([links.set_up("lo"), links.set_up("eth0")], "bring up eth0")
        _give(channel, "198.51.100.2/24")


def _give(channel: Channel, address: str) -> None:
    body = channel.ask(links.get_link("eth0"))
    assert body is not None
    value = ipaddress.ip_interface(address)
    channel.perform([links.add_address(read_link(body).index, value)], "give an address")


class Joined:
    """A container with its endpoint."""

    def __init__(self, container: Container, endpoint: Endpoint, attachment: Attachment) -> None:
        self.container = container
        self.endpoint = endpoint
        self.attachment = attachment
        self.ip = str(endpoint.ipv4)

    def reaches(self, address: str, port: int, **how: Any) -> bool:
        return bool(self.container.run(lambda: reaches(address, port, **how)))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Closed inside the child that runs the test."""
    return Lab(tmp_path / "root")


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait for what the kernel does by and by."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        select.select([], [], [], 0.02)
    return condition()
