"""Who is attached to a container: live output, replay of the log, and slow readers.

A reader that falls behind by the bound of its connection makes the container wait. A tied one may
do so for as long as it likes; any other is dropped when it takes nothing at all for STALLED
seconds, so that a client that hangs never stops a container for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.monitor import logs, protocol
from workbench.monitor.connection import Connection
from workbench.monitor.loop import Loop

STALLED: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Client:
    """One attached connection. ``tied``: the container does not outlive it, and waits for it."""

    connection: Connection
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tied: bool = False
    replay: Iterator[logs.LogEntry] | None = None
    unfinished: Callable[[], dict[str, bytes]] = dict

    def wants(self, stream: str) -> bool:
        return self.stdout if stream == "stdout" else self.stderr


class Audience:
    """All attached clients. ``hold`` is told whether the container has to wait for one."""

    def __init__(self, loop: Loop, hold: Callable[[bool], None]) -> None:
        self._loop = loop
        self._hold = hold
        self._held = False
        self._clients: list[Client] = []

    def __iter__(self) -> Iterator[Client]:
        return iter(tuple(self._clients))

    def add(self, client: Client) -> None:
        self._clients.append(client)
        client.connection.on_drained = lambda: self._drained(client)
        self._replay(client)

    def remove(self, connection: Connection) -> Client | None:
        """Forget a client that has gone."""
        for client in self._clients:
            if client.connection is connection:
                self._clients.remove(client)
                self._balance()
                return client
        return None

    def deliver(self, stream: str, data: bytes) -> None:
        """Hand output to all."""
        frame = b""
        for client in tuple(self._clients):
            if client.replay is not None or not client.wants(stream):
                continue
            frame = frame or protocol.frame(protocol.STREAM_KINDS[stream], data)
            client.connection.send(frame)
            if client.connection.crowded and not client.tied:
                self._suspect(client)
        self._balance()

    def finish(self, frame: bytes) -> None:
        """The last word to everybody; the connections close when it has been read."""
        for client in tuple(self._clients):
            if client.replay is not None:
                self._replay(client, all_of_it=True)
            client.connection.send(frame)
            client.connection.finish()
        self._clients.clear()
        self._balance()

    def _drained(self, client: Client) -> None:
        if client in self._clients:
            self._replay(client)
        self._balance()

    def _balance(self) -> None:
        held = any(client.replay is None and client.connection.crowded for client in self._clients)
        if held != self._held:
            self._held = held
            self._hold(held)

    def _suspect(self, client: Client) -> None:
        """Look again later, and drop it if it has not taken a byte meanwhile."""
        sent = client.connection.sent

        def look() -> None:
            if client not in self._clients or not client.connection.crowded:
                return
            if client.connection.sent == sent:
                client.connection.close()
            else:
                self._suspect(client)

        self._loop.after(STALLED, look)

    def _replay(self, client: Client, *, all_of_it: bool = False) -> None:
        """Send what was logged, as fast as the client takes it; then it hears the live output."""
        if client.replay is None:
            return
        for entry in client.replay:
            self._send(client, entry.stream, entry.data)
            if client.connection.crowded and not all_of_it:
                return
        for stream, data in client.unfinished().items():
            self._send(client, stream, data)
        client.replay = None

    def _send(self, client: Client, stream: str, data: bytes) -> None:
        if data and client.wants(stream):
            client.connection.output(protocol.STREAM_KINDS[stream], data)


def replay_of(path: Path | None) -> Iterator[logs.LogEntry] | None:
    """Everything in the log until now, also what rotation moves meanwhile."""
    if path is None:
        return None
    return logs.follow(path, follow=True, finished=lambda: True)
