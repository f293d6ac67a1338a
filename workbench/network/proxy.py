"""A relay for published ports where nftables is missing: ``python -m workbench.network.proxy``.

One process for each container that publishes ports. It reads what to do from its standard input,
answers with one line when it listens (or cannot), goes into the background, and ends with the
container.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from workbench.errors import Conflict, Unavailable
from workbench.network.driver import Publication
from workbench.network.gate import home, module_arguments
from workbench.network.loop import READ, WRITE, Loop, Timer
from workbench.network.names import start_time

CHUNK: Final = 65536
MOST_BUFFERED: Final = 1 << 20
UDP_IDLE: Final = 90.0
MOST_UDP_CLIENTS: Final = 1000


def start(ports: Sequence[Publication], address: str, pid: int) -> None:
    """Relay the ports to ``address`` for as long as process ``pid`` lives.

    Raises Conflict where a port is taken, Unavailable where the relay does not start.
    """
    request = {
        "pid": pid,
        "started": start_time(pid),
        "ports": [
            [port.protocol, port.host_ip or "0.0.0.0", port.host_port, address, port.container_port]
            for port in ports
        ],
    }
    run = subprocess.run(
        [sys.executable, *module_arguments("workbench.network.proxy")],
        input=json.dumps(request).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=home(),
        start_new_session=True,
        timeout=10,
        check=False,
    )
    if run.stdout == b"+":
        return
    if run.stdout:
        raise Conflict(run.stdout.decode("utf-8", "replace"))
    raise Unavailable("the relay of published ports did not start")


class Pair:
    """Two connected TCP sockets; what one says the other hears, half-closes included."""

    def __init__(self, loop: Loop, client: socket.socket, target: tuple[str, int]) -> None:
        self._loop = loop
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        client.setblocking(False)
        self._ends = (client, server)
        self._waiting = [b"", b""]
        self._reading = [True, True]
        self._finished = [False, False]
        self._connected = False
        try:
            with contextlib.suppress(BlockingIOError):
                server.connect(target)
        except OSError:
            self._connected = True
            for end in self._ends:
                end.close()
            return
        loop.watch(server.fileno(), self._on_connect, WRITE)

    def _on_connect(self) -> None:
        server = self._ends[1]
        if server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._close()
            return
        for number, end in enumerate(self._ends):
            self._loop.watch(end.fileno(), functools.partial(self._ready, number))

    def _ready(self, number: int) -> None:
        """An end can be read or written."""
        try:
            self._flush(number)
            if self._reading[number] and len(self._waiting[1 - number]) < MOST_BUFFERED:
                self._read(number)
        except OSError:
            self._close()
            return
        if all(self._finished):
            self._close()
            return
        for one in (0, 1):
            self._watch(one)

    def _read(self, number: int) -> None:
        try:
            data = self._ends[number].recv(CHUNK)
        except BlockingIOError:
            return
        if data:
            self._waiting[1 - number] += data
        else:
            self._reading[number] = False
        self._flush(1 - number)

    def _flush(self, number: int) -> None:
        """Write what waits for this end; after the last of it, its half is closed."""
        if self._waiting[number]:
            with contextlib.suppress(BlockingIOError):
                sent = self._ends[number].send(self._waiting[number])
                self._waiting[number] = self._waiting[number][sent:]
        over = not self._waiting[number] and not self._reading[1 - number]
        if over and not self._finished[number]:
            self._finished[number] = True
            self._ends[number].shutdown(socket.SHUT_WR)

    def _watch(self, number: int) -> None:
        room = len(self._waiting[1 - number]) < MOST_BUFFERED
        events = READ if self._reading[number] and room else 0
        events |= WRITE if self._waiting[number] else 0
        self._loop.watch(
            self._ends[number].fileno(), functools.partial(self._ready, number), events
        )

    def _close(self) -> None:
        for end in self._ends:
            self._loop.forget(end.fileno())
            end.close()


class Datagrams:
    """A UDP port; each client has a socket of its own towards the container."""

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int]) -> None:
        self._loop = loop
        self._listener = listener
        self._target = target
        self._clients: dict[Any, tuple[socket.socket, list[Timer]]] = {}
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._incoming)

    def _incoming(self) -> None:
        with contextlib.suppress(OSError):
            data, client = self._listener.recvfrom(CHUNK)
            if client not in self._clients and len(self._clients) < MOST_UDP_CLIENTS:
                self._add(client)
            if client in self._clients:
                self._touch(client)
                self._clients[client][0].send(data)

    def _add(self, client: Any) -> None:
        family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
        towards = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        towards.connect(self._target)
        self._clients[client] = (towards, [])
        self._loop.watch(towards.fileno(), lambda: self._outgoing(client))

    def _touch(self, client: Any) -> None:
        timers = self._clients[client][1]
        for timer in timers:
            timer.cancel()
        timers[:] = [self._loop.after(UDP_IDLE, lambda: self._drop(client))]

    def _outgoing(self, client: Any) -> None:
        with contextlib.suppress(OSError):
            self._listener.sendto(self._clients[client][0].recv(CHUNK), client)
            self._touch(client)

    def _drop(self, client: Any) -> None:
        towards, _ = self._clients.pop(client)
        self._loop.forget(towards.fileno())
        towards.close()


def _listen(loop: Loop, protocol: str, host: str, port: int, target: tuple[str, int]) -> None:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if protocol == "udp":
        listener = socket.socket(family, socket.SOCK_DGRAM)
        listener.bind((host, port))
        Datagrams(loop, listener, target)
        return
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(256)
    listener.setblocking(False)

    def accept() -> None:
        with contextlib.suppress(OSError):
            Pair(loop, listener.accept()[0], target)

    loop.watch(listener.fileno(), accept)


def main() -> None:
    """Read the request, listen, say so, and relay until the container has ended."""
    request = json.loads(sys.stdin.buffer.read())
    loop = Loop()
    life = os.pidfd_open(request["pid"])
    if start_time(request["pid"]) != request["started"]:
        return
    for protocol, host, port, address, inside in request["ports"]:
        try:
            _listen(loop, protocol, host, port, (address, inside))
        except OSError as error:
            message = f"failed to bind host port for {host}:{port}/{protocol}: {error.strerror}"
            os.write(1, message.encode())
            return
    os.write(1, b"+")
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)

    def ended() -> None:
        loop.stopped = True

    loop.watch(life, ended)
    loop.run()


if __name__ == "__main__":
    main()
