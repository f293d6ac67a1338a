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
from dataclasses import dataclass
from typing import Any, Final, Self

from workbench.network import messages, nft

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRule:
    """A rule as it is in the kernel; ``verdict`` is accept, drop, jump NAME, nat or empty.

    ``expressions`` are the names of its parts in order; counters are 0 where it has none.
    """

    table: str
    chain: str
    handle: int
    comment: str
    verdict: str
    expressions: tuple[str, ...]
    packets: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenChain:
    """A chain of any table, to which packets come by themselves. ``family`` is ip, inet, ..."""

    family: str
    table: str
    name: str
    kind: str
    hook: str
    priority: int
    policy: str


_FAMILIES: Final = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_NAT_EXPRESSIONS: Final = {"nat": "dnat", "masq": "masquerade", "redir": "redirect"}


def rules(channel: Channel, table: str) -> tuple[SeenRule, ...]:
    """The rules of our table, in their order; none where there is no such table."""
    from pyroute2.netlink.nfnetlink.nftsocket import nft_rule_msg

    return tuple(
        _seen_rule(_decoded(nft_rule_msg, kind, body))
        for kind, body in _dump(channel, nft.get_rules(table))
    )


def chains(channel: Channel) -> tuple[SeenChain, ...]:
    """The base chains of all tables on the host, ours and others'."""
    from pyroute2.netlink.nfnetlink.nftsocket import nft_chain_msg

    seen = []
    for kind, body in _dump(channel, nft.get_chains()):
        found = _decoded(nft_chain_msg, kind, body)
        hook = found.get_attr("NFTA_CHAIN_HOOK")
        if hook is not None:
            number = hook.get_attr("NFTA_HOOK_HOOKNUM")
            seen.append(
                SeenChain(
                    family=_FAMILIES.get(found["nfgen_family"], str(found["nfgen_family"])),
                    table=found.get_attr("NFTA_CHAIN_TABLE"),
                    name=found.get_attr("NFTA_CHAIN_NAME"),
                    kind=found.get_attr("NFTA_CHAIN_TYPE") or "",
                    hook={n: name for name, n in nft.HOOKS.items()}.get(number, str(number)),
                    priority=hook.get_attr("NFTA_HOOK_PRIORITY") or 0,
                    policy="drop" if found.get_attr("NFTA_CHAIN_POLICY") == nft.DROP else "accept",
                )
            )
    return tuple(seen)


def _dump(channel: Channel, request: bytes) -> list[tuple[int, bytes]]:
    try:
        return list(channel.dump(request))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return []
        raise


def _decoded(kind: Any, number: int, body: bytes) -> Any:
    """Let pyroute2 decode a message whose header we have taken off."""
    found = kind(messages.message(number, 0, body))
    found.decode()
    return found


def _seen_rule(found: Any) -> SeenRule:
    names, verdict, packets, octets = [], "", 0, 0
    for expression in found.get_attr("NFTA_RULE_EXPRESSIONS") or ():
        name = expression.get_attr("NFTA_EXPR_NAME")
        data = expression.get_attr("NFTA_EXPR_DATA")
        names.append(name)
        if name == "counter":
            packets = data.get_attr("NFTA_COUNTER_PACKETS") or 0
            octets = data.get_attr("NFTA_COUNTER_BYTES") or 0
        verdict = _NAT_EXPRESSIONS.get(name, verdict)
        if name == "immediate":
            verdict = _verdict(data) or verdict
    return SeenRule(
        table=found.get_attr("NFTA_RULE_TABLE"),
        chain=found.get_attr("NFTA_RULE_CHAIN"),
        handle=found.get_attr("NFTA_RULE_HANDLE"),
        comment=_comment(found.get_attr("NFTA_RULE_USERDATA")),
        verdict=verdict,
        expressions=tuple(names),
        packets=packets,
        octets=octets,
    )


def _verdict(data: Any) -> str:
    value = data.get_attr("NFTA_IMMEDIATE_DATA")
    verdict = value.get_attr("NFTA_DATA_VERDICT") if value is not None else None
    if verdict is None:
        return ""
    code = str(verdict.get_attr("NFTA_VERDICT_CODE")).removeprefix("NFT_").removeprefix("NF_")
    chain = verdict.get_attr("NFTA_VERDICT_CHAIN")
    return f"{code.lower()} {chain}" if chain else code.lower()


def _comment(value: Any) -> str:
    """Plain text, or (in other versions of pyroute2) the kernel's type, length, text."""
    if isinstance(value, bytes):
        return messages.string(value[2:])
    return str(value or "")
