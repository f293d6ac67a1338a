"""The name server of user networks: answers for containers, and asks the host's resolvers else.

It runs inside the warden. Each container has a UDP and a TCP socket of its own, in the container's
namespace, so the socket on which a question comes tells who asks; questions for the world leave
from the host's namespace, where also a resolver on the host's loopback is in reach.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from workbench.network import dns_wire as wire
from workbench.network.files import parse_resolvers
from workbench.network.loop import READ, WRITE, Loop, Timer
from workbench.network.names import Names, Table

TTL: Final = 600
PORT: Final = 53
PATIENCE: Final = 2.0
TRIES: Final = 2
MOST_WAITING: Final = 1000
MOST_CONNECTIONS: Final = 64
STREAM_PATIENCE: Final = 10.0

Respond = Callable[[bytes], None]


class HostResolvers:
    """The name servers of the host's resolv.conf, read again when the file has changed."""

    def __init__(self, path: Path = Path("/etc/resolv.conf")) -> None:
        self._path = path
        self._stamp = 0
        self._servers: tuple[str, ...] = ()

    def servers(self) -> tuple[str, ...]:
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._servers = parse_resolvers(self._path.read_text("utf-8", "replace")).servers
                self._stamp = stamp
        except OSError:
            self._servers = ()
        return self._servers


class NameServer:
    """Answers questions, whoever brings them."""

    def __init__(self, loop: Loop, table: Table, resolvers: HostResolvers) -> None:
        self._loop = loop
        self._table = table
        self._resolvers = resolvers
        self._waiting: set[Forward] = set()

    def question(
        self, container_id: str, data: bytes, respond: Respond, *, stream: bool = False
    ) -> None:
        """Answer one message of a container; bytes that are no question get none, or an error."""
        try:
            query = wire.decode(data)
        except wire.Malformed:
            _maybe(respond, wire.refusal(data, wire.FORMAT_ERROR))
            return
        if query.response:
            return
        if query.opcode or len(query.questions) != 1:
            code = wire.NOT_IMPLEMENTED if query.opcode else wire.FORMAT_ERROR
            _maybe(respond, wire.refusal(data, code))
            return
        self._table.refresh()
        asker = self._table.containers.get(container_id)
        if asker is None:
            respond(wire.reply(query, code=wire.SERVER_FAILURE))
            return
        answers = self._local(asker, query.questions[0])
        if answers is not None:
            respond(wire.reply(query, answers, room=65535 if stream else query.room))
        else:
            self._forward(asker, query, data, respond, stream)

    def _local(self, asker: Names, question: wire.Question) -> tuple[wire.Record, ...] | None:
        """Records of what we know; none where the name has no such record; None if unknown."""
        if question.group not in (wire.IN, wire.ANY):
            return None
        if question.kind in (wire.PTR, wire.ANY):
            address = wire.address_of_pointer(question.name)
            name = self._table.name_of(asker, address) if address else None
            if name:
                data = wire.encode_name(name)
                return (wire.Record(name=question.name, kind=wire.PTR, data=data, ttl=TTL),)
        found = self._table.addresses(asker, question.name)
        if not found:
            return None
        records = []
        for kind, column in ((wire.A, 0), (wire.AAAA, 1)):
            if question.kind in (kind, wire.ANY):
                records += [
                    wire.Record(name=question.name, kind=kind, data=_packed(text), ttl=TTL)
                    for text in dict.fromkeys(pair[column] for pair in found if pair[column])
                ]
        random.shuffle(records)
        return tuple(records)

    def _forward(
        self, asker: Names, query: wire.Message, data: bytes, respond: Respond, stream: bool
    ) -> None:
        servers = asker.upstreams or self._resolvers.servers()
        if asker.secluded or not servers or len(self._waiting) >= MOST_WAITING:
            respond(wire.reply(query, code=wire.SERVER_FAILURE))
            return
        kind = StreamForward if stream else DatagramForward
        forward = kind(self._loop, servers, query, data, respond, self._waiting.discard)
        self._waiting.add(forward)
        forward.next_try()


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _maybe(respond: Respond, data: bytes | None) -> None:
    if data is not None:
        respond(data)


class Forward:
    """One question on its way to the servers of the host, one after the other."""

    kind = socket.SOCK_DGRAM

    def __init__(
        self,
        loop: Loop,
        servers: tuple[str, ...],
        query: wire.Message,
        data: bytes,
        respond: Respond,
        done: Callable[[Forward], None],
    ) -> None:
        self._loop = loop
        self._servers = [server for _ in range(TRIES) for server in servers]
        self._query = query
        self._data = data
        self._respond = respond
        self._done = done
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None
        self._identity = 0

    def next_try(self) -> None:
        """Ask the next server, from a fresh port under a fresh number; give up after the last."""
        self._close()
        while self._servers:
            server = self._servers.pop(0)
            try:
                self._open(server)
            except OSError:
                self._close()
                continue
            self._timer = self._loop.after(PATIENCE, self.next_try)
            return
        self._end(wire.reply(self._query, code=wire.SERVER_FAILURE))

    def _open(self, server: str) -> None:
        found = socket.getaddrinfo(server, PORT, type=self.kind, flags=socket.AI_NUMERICHOST)
        family, kind, protocol, _, address = found[0]
        self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        self._identity = secrets.randbits(16)
        with contextlib.suppress(BlockingIOError):
            self._socket.connect(address)
        self._begin(self._socket, wire.with_identity(self._data, self._identity))

    def _begin(self, connection: socket.socket, question: bytes) -> None:
        """Send the question and watch for the answer."""
        connection.send(question)
        self._loop.watch(connection.fileno(), self._readable)

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65535)
        except OSError:
            self.next_try()
            return
        self._received(data)

    def _received(self, data: bytes) -> None:
        """Pass the answer on, if it is one to what we asked; others may be forged."""
        try:
            answer = wire.decode(data)
        except wire.Malformed:
            return
        ours = answer.response and answer.identity == self._identity
        if not ours or not _same(answer.questions or self._query.questions, self._query.questions):
            return
        if answer.code in (wire.SERVER_FAILURE, wire.REFUSED) and self._servers:
            self.next_try()
            return
        self._end(wire.with_identity(data, self._query.identity))

    def _end(self, answer: bytes) -> None:
        self._close()
        self._done(self)
        self._respond(answer)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None


def _same(one: tuple[wire.Question, ...], other: tuple[wire.Question, ...]) -> bool:
    def key(items: tuple[wire.Question, ...]) -> list[tuple[str, int, int]]:
        return [(item.name.lower(), item.kind, item.group) for item in items]

    return key(one) == key(other)


class DatagramForward(Forward):
    """By UDP."""


class StreamForward(Forward):
    """By TCP, for questions that came by TCP."""

    kind = socket.SOCK_STREAM

    def _begin(self, connection: socket.socket, question: bytes) -> None:
        self._output = len(question).to_bytes(2, "big") + question
        self._input = b""
        self._loop.watch(connection.fileno(), self._writable, WRITE)

    def _writable(self) -> None:
        assert self._socket is not None
        try:
            self._output = self._output[self._socket.send(self._output) :]
        except BlockingIOError:
            return
        except OSError:
            self.next_try()
            return
        if not self._output:
            self._loop.watch(self._socket.fileno(), self._readable)

    def _received(self, data: bytes) -> None:
        self._input += data
        size = int.from_bytes(self._input[:2], "big")
        if len(self._input) >= 2 + size and size:
            super()._received(self._input[2 : 2 + size])
        elif not data:
            self.next_try()


class Post:
    """The two sockets at which one container asks, and the end of the container."""

    def __init__(
        self,
        loop: Loop,
        server: NameServer,
        names: Names,
        udp: socket.socket,
        tcp: socket.socket,
        life: int,
        ended: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._server = server
        self.container_id = names.container_id
        self.process = (names.pid, names.started)
        self._udp, self._tcp, self._life = udp, tcp, life
        self._streams: set[Stream] = set()
        loop.watch(udp.fileno(), self._datagram)
        loop.watch(tcp.fileno(), self._accept)
        loop.watch(life, lambda: ended(names.container_id))

    def _datagram(self) -> None:
        for _ in range(32):
            try:
                data, address = self._udp.recvfrom(4096)
            except OSError:
                return

            def respond(answer: bytes, to: tuple[str, int] = address) -> None:
                with contextlib.suppress(OSError):
                    self._udp.sendto(answer, to)

            self._server.question(self.container_id, data, respond)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._tcp.accept()
            if len(self._streams) >= MOST_CONNECTIONS:
                connection.close()
                return
            self._streams.add(
                Stream(self._loop, self._server, self.container_id, connection, self._streams)
            )

    def close(self) -> None:
        """Leave the namespace: the kernel can take it down only then."""
        for stream in tuple(self._streams):
            stream.close()
        for item in (self._udp, self._tcp):
            self._loop.forget(item.fileno())
            item.close()
        self._loop.forget(self._life)
        os.close(self._life)


class Stream:
    """One TCP connection of a container: messages with their length before them."""

    def __init__(
        self,
        loop: Loop,
        server: NameServer,
        container_id: str,
        connection: socket.socket,
        among: set[Stream],
    ) -> None:
        self._loop = loop
        self._server = server
        self._container_id = container_id
        self._connection = connection
        self._among = among
        self._input = self._output = b""
        self._timer = loop.after(STREAM_PATIENCE, self.close)
        self._open = True
        connection.setblocking(False)
        loop.watch(connection.fileno(), self._ready)

    def _ready(self) -> None:
        if self._output:
            self._flush()
        try:
            data = self._connection.recv(65535) if self._open else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._input += data
        while len(self._input) >= 2:
            size = int.from_bytes(self._input[:2], "big")
            if len(self._input) < 2 + size:
                return
            message, self._input = self._input[2 : 2 + size], self._input[2 + size :]
            self._server.question(self._container_id, message, self._respond, stream=True)

    def _respond(self, answer: bytes) -> None:
        if self._open:
            self._output += len(answer).to_bytes(2, "big") + answer
            self._flush()

    def _flush(self) -> None:
        try:
            self._output = self._output[self._connection.send(self._output) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        events = READ | WRITE if self._output else READ
        self._loop.watch(self._connection.fileno(), self._ready, events)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._timer.cancel()
            self._loop.forget(self._connection.fileno())
            self._connection.close()
            self._among.discard(self)
