"""One client of the monitor: frames in, a bounded queue of frames out, never blocking."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from workbench.errors import InvalidInput
from workbench.monitor import protocol
from workbench.monitor.loop import GONE, READ, WRITE, Loop

HIGH_WATER: Final = 1024**2
LOW_WATER: Final = 256 * 1024


class Connection:
    """A connected socket in the loop. ``on_frame`` and ``on_gone`` are set by its owner.

    ``pending`` bytes are queued, ``sent`` is the count of all that have gone. ``on_drained`` is
    called when the queue has sunk below LOW_WATER after it was above HIGH_WATER.
    """

    def __init__(self, loop: Loop, sock: socket.socket, peer: int) -> None:
        sock.setblocking(False)
        self.peer = peer
        self.on_frame: Callable[[int, bytes], None] = _ignore
        self.on_gone: Callable[[], None] = _nothing
        self.on_drained: Callable[[], None] = _nothing
        self.pending = 0
        self.sent = 0
        self._loop = loop
        self._socket: socket.socket | None = sock
        self._reader = protocol.FrameReader()
        self._queue: deque[memoryview] = deque()
        self._reading = True
        self._closing = False
        self._crowded = False
        loop.watch(sock.fileno(), READ, self._ready)

    @property
    def closed(self) -> bool:
        return self._socket is None

    @property
    def crowded(self) -> bool:
        """The peer reads more slowly than it is written to."""
        return self.pending > HIGH_WATER

    def send(self, data: bytes) -> None:
        """Queue whole frames; what the socket takes at once goes at once."""
        if self._socket is None or self._closing:
            return
        self._queue.append(memoryview(data))
        self.pending += len(data)
        if len(self._queue) == 1:
            self._flush()
        self._crowded = self._crowded or self.crowded

    def output(self, kind: int, data: bytes) -> None:
        """Queue one frame of raw bytes."""
        self.send(protocol.frame(kind, data))

    def hold(self, held: bool) -> None:
        """Stop or resume reading; the loss of the peer is noticed all the same."""
        if self._reading == held:
            self._reading = not held
            self._update()

    def finish(self) -> None:
        """Close when everything queued has been sent."""
        self._closing = True
        if not self._queue:
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._queue.clear()
            self.pending = 0
            self.on_gone()

    def _ready(self, events: int) -> None:
        if events & READ:
            self._receive()
        elif events & GONE:
            self.close()
        if events & WRITE and self._socket is not None:
            self._flush()

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(2 * protocol.CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._reader.feed(data)
        try:
            for kind, payload in self._reader.frames():
                self.on_frame(kind, payload)
        except InvalidInput as error:
            self.send(protocol.failure(error))
            self.finish()

    def _flush(self) -> None:
        assert self._socket is not None
        while self._queue:
            try:
                sent = self._socket.send(self._queue[0])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.close()
                return
            self.pending -= sent
            self.sent += sent
            if sent == len(self._queue[0]):
                self._queue.popleft()
            else:
                self._queue[0] = self._queue[0][sent:]
        self._after_flush()

    def _after_flush(self) -> None:
        if self._closing and not self._queue:
            self.close()
            return
        self._update()
        if self._crowded and self.pending < LOW_WATER:
            self._crowded = False
            self.on_drained()

    def _update(self) -> None:
        if self._socket is not None:
            events = (READ if self._reading else 0) | (WRITE if self._queue else 0)
            self._loop.change(self._socket.fileno(), events)


class PeerWatch:
    """Notices that the process of a client has ended, even while a child of it holds the socket."""

    def __init__(self, loop: Loop, pid: int, on_end: Callable[[], None]) -> None:
        self._loop = loop
        self._on_end = on_end
        self._fd = -1
        with contextlib.suppress(OSError):
            self._fd = os.pidfd_open(pid) if pid > 0 else -1
        if self._fd >= 0:
            loop.watch(self._fd, READ, self._ended)

    def _ended(self, _events: int) -> None:
        self.close()
        self._on_end()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1


def _ignore(_kind: int, _payload: bytes) -> None:
    """A frame that nobody waits for."""


def _nothing() -> None:
    """A change that nobody waits for."""
