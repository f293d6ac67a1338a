"""The rules inside a container that bring its questions to the name server.

The name server listens on free ports, so that a container may have a name server of its own on
port 53. Ports are rewritten packet by packet, without connection tracking, which would cost every
packet of the container something.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from workbench.network import nft
from workbench.network.nft import Chain, Rule, Table

TABLE = "workbench"
_SERVER = bytes((127, 0, 0, 11))
_MANGLE = -150
_DNS = struct.pack(">H", 53)


def table(udp: int, tcp: int) -> Table:
    """Questions to 127.0.0.11:53 go to these ports, and answers seem to come from 53."""
    return Table(
        name=TABLE,
        sets=(),
        chains=(Chain(name="names", hook="output", priority=_MANGLE),),
        rules=tuple(_rules(udp, tcp)),
    )


def first(udp: int, tcp: int) -> list[bytes]:
    """The batch for a container that has no such rules.

    Removing a table makes the close of the socket wait for a grace period (some 10 ms), so it is
    done only where there may be one.
    """
    return nft.make(table(udp, tcp), ())


def again(udp: int, tcp: int) -> list[bytes]:
    """The batch that puts the rules in the place of those that are there."""
    return nft.build(table(udp, tcp), ())


def _rules(udp: int, tcp: int) -> Iterator[Rule]:
    for number, name, checksum, port in ((17, "udp", 6, udp), (6, "tcp", 16, tcp)):
        own = struct.pack(">H", port)
        yield _rule(number, 16, 2, _DNS, own, checksum, f"questions by {name}")
        yield _rule(number, 12, 0, own, _DNS, checksum, f"answers by {name}")


def _rule(
    protocol: int, address: int, port: int, match: bytes, into: bytes, checksum: int, comment: str
) -> Rule:
    return Rule(
        chain="names",
        comment=comment,
        expressions=(
            nft.meta("nfproto"),
            nft.compare(b"\x02"),
            nft.payload("network", address, 4),
            nft.compare(_SERVER),
            nft.meta("l4proto"),
            nft.compare(bytes((protocol,))),
            nft.payload("transport", port, 2),
            nft.compare(match),
            nft.immediate(into),
            nft.write_port(port, checksum=checksum),
        ),
    )
