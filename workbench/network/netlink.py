"""Netlink sockets, and the only import of pyroute2.

Changes go as bytes through ``Channel``, which costs microseconds: a veth pair with its addresses
and routes is one datagram. What people want to look at (links with counters, rules) is read
through pyroute2's decoders, which know every attribute but cost 150 ms to import: so only then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final, Self

from workbench.network import messages

ROUTE: Final = 0
NETFILTER: Final = 12
_RECEIVE: Final = 1 << 18
_EXTENDED_ACK: Final = 11
_SOL_NETLINK: Final = 270
_SO_SNDBUFFORCE: Final = 32


class NetlinkError(OSError):
    """The kernel refused the message with this ``index`` of those that were sent together."""

    def __init__(self, number: int, what: str, index: int, detail: str = "") -> None:
        reason = f"{os.strerror(number)}{f' ({detail})' if detail else ''}"
        super().__init__(number, f"{what}: {reason}")
        self.index = index
        self.detail = detail


class Channel:
    """A netlink socket of one network namespace: that in which it was opened, for good.

    Not for several threads at once. ``family`` is ROUTE or NETFILTER; ``opened`` takes over a
    socket that was made elsewhere, in another namespace.
    """

    def __init__(self, family: int, *, opened: socket.socket | None = None) -> None:
        self._socket = opened or socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family
        )
        with contextlib.suppress(OSError):
            self._socket.setsockopt(_SOL_NETLINK, _EXTENDED_ACK, 1)
        self._sequence = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def perform(self, requests: Sequence[bytes], what: str) -> None:
        """Send messages together and wait until the kernel has done them, in their order.

        Each must ask for an acknowledgement. Raises NetlinkError for the first that failed; with
        rtnetlink those before and after it were done all the same.
        """
        first = self._send(requests)
        failed = self._outcomes(first, len(requests))
        if failed:
            index, number, detail = min(failed)
            raise NetlinkError(number, what, index, detail)

    def attempt(self, requests: Sequence[bytes]) -> dict[int, int]:
        """Like ``perform``, but answers with the errno of each message that failed, by index."""
        first = self._send(requests)
        return {index: number for index, number, _ in self._outcomes(first, len(requests))}

    def transact(self, requests: Sequence[bytes], what: str) -> None:
        """Send one batch of nfnetlink: all of it takes effect at once, or nothing.

        The last request must ask for an acknowledgement. Raises NetlinkError.
        """
        frames = [_batch(0x10), *requests, _batch(0x11)]
        size = sum(map(len, frames))
        if size > 150_000:
            self._grow(size * 2)
        first = self._send(frames)
        failed = self._outcomes(first, len(frames), patient=False)
        if failed:
            index, number, detail = min(failed)
            raise NetlinkError(number, what, index - 1, detail)

    def dump(self, request: bytes) -> Iterator[tuple[int, bytes]]:
        """Every message of the answer to a dump: (type, body). Raises OSError."""
        sequence = self._send([request])
        while True:
            for kind, _, answered, body in messages.split(self._socket.recv(_RECEIVE)):
                if answered != sequence:
                    continue
                if kind == messages.DONE:
                    return
                if kind == messages.ERROR:
                    number = messages.fault(body)
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                yield kind, body

    def ask(self, request: bytes) -> bytes | None:
        """The body of the one answer; None where there is no such thing. Raises OSError."""
        sequence = self._send([request])
        while True:
            for kind, _, answered, body in messages.split(self._socket.recv(_RECEIVE)):
                if answered != sequence:
                    continue
                if kind != messages.ERROR:
                    return body
                number = messages.fault(body)
                if number in (errno.ENODEV, errno.ENOENT, errno.ENXIO):
                    return None
                raise OSError(number, os.strerror(number))

    def _send(self, requests: Sequence[bytes]) -> int:
        """Send under fresh sequence numbers; answers with the first of them."""
        self._drain()
        first = self._sequence
        self._sequence += len(requests)
        self._socket.send(
            b"".join(messages.numbered(text, first + i) for i, text in enumerate(requests))
        )
        return first

    def _drain(self) -> None:
        """Late answers to what was asked before concern nobody."""
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(_RECEIVE, socket.MSG_DONTWAIT):
                pass

    def _outcomes(
        self, first: int, count: int, *, patient: bool = True
    ) -> list[tuple[int, int, str]]:
        """(index, errno, detail) of those that failed.

        The kernel has answered before send(2) returns, so that all that will come lies ready.
        """
        failed, seen = [], 0
        while seen < count:
            try:
                buffer = self._socket.recv(_RECEIVE, 0 if patient else socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            for kind, flags, sequence, body in messages.split(buffer):
                if kind != messages.ERROR or not first <= sequence < first + count:
                    continue
                seen += 1
                if number := messages.fault(body):
                    failed.append((sequence - first, number, _detail(flags, body)))
        return failed

    def _grow(self, size: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def _batch(kind: int) -> bytes:
    return messages.message(kind, messages.REQUEST, struct.pack(">BBH", 0, 0, 10))


def _detail(flags: int, body: bytes) -> str:
    """The kernel's own words about a failure, where it has any (extended acknowledgements)."""
    if not flags & 0x200:
        return ""
    length = 4 + (16 if flags & 0x100 else struct.unpack_from("=I", body, 4)[0])
    return messages.string(messages.mapping(body, length).get(1, b""))
