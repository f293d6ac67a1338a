"""nftables as values: sets, chains, rules and their expressions, and the messages that make them.

Pure functions. Source: linux/netfilter/nf_tables.h, nft(8). Attributes are big-endian. Registers
are the kernel's four-byte ones (NFT_REG32_00 and up); each part of a joined key starts a register.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from workbench.network import messages
from workbench.network.messages import attribute, be32, nest, text

INET: Final = 1
ACCEPT, DROP = 1, 0
JUMP: Final = -3
RETURN: Final = -5
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = 0, 2, 3, 6
_NEWSET, _NEWELEMENT, _GETELEMENT, _DELELEMENT = 9, 12, 13, 14
_GETTABLE, _GETRULE, _GETCHAIN = 1, 7, 4
_REGISTER: Final = 8
_VERDICT_REGISTER: Final = 0
_MAP: Final = 0x8
_INTERVAL: Final = 0x4
_INTERVAL_END: Final = 1
_VERDICT_TYPE: Final = 0xFFFFFF00
_ELEMENTS_PER_MESSAGE: Final = 400

# Types of keys as nft(8) numbers them, with the bytes that each takes.
TYPES: Final = {
    "ipv4_addr": (7, 4),
    "ipv6_addr": (8, 16),
    "inet_proto": (12, 1),
    "inet_service": (13, 2),
    "ifname": (41, 16),
}
_META: Final = {"iifname": 6, "oifname": 7, "nfproto": 15, "l4proto": 16, "iif": 4, "oif": 5}
_NAT: Final = {"ip": 2, "ip6": 10}
HOOKS: Final = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element of a set or map: ``key`` and ``data`` as the kernel compares them.

    ``verdict`` is for maps to verdicts. ``end`` makes it the exclusive end of an interval.
    """

    key: bytes
    data: bytes | None = None
    verdict: int | None = None
    end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A named set of joined ``key`` types; with ``data`` types (or ("verdict",)) it is a map."""

    name: str
    key: tuple[str, ...]
    data: tuple[str, ...] = ()
    interval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: its expressions in order, and a comment that says what it is for."""

    chain: str
    comment: str
    expressions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain; with a ``hook`` packets come to it by themselves. Its policy is to accept."""

    name: str
    kind: str = "filter"
    hook: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A whole table of the inet family as data."""

    name: str
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]
    rules: tuple[Rule, ...]


def _expression(name: str, *data: bytes) -> bytes:
    return nest(1, text(1, name), nest(2, *data))


def _data(value: bytes) -> bytes:
    return attribute(1, value)


def meta(key: str, register: int = 0) -> bytes:
    """Load iifname, oifname, nfproto or l4proto."""
    return _expression("meta", be32(1, _REGISTER + register), be32(2, _META[key]))


def compare(value: bytes, *, register: int = 0, unequal: bool = False) -> bytes:
    """Go on only if the register holds (or does not hold) the value."""
    return _expression(
        "cmp", be32(1, _REGISTER + register), be32(2, int(unequal)), nest(3, _data(value))
    )


def payload(base: str, offset: int, length: int, register: int = 0) -> bytes:
    """Load bytes of the ``network`` or ``transport`` header."""
    return _expression(
        "payload",
        be32(1, _REGISTER + register),
        be32(2, {"network": 1, "transport": 2}[base]),
        be32(3, offset),
        be32(4, length),
    )


def write_port(offset: int, *, checksum: int) -> bytes:
    """Overwrite two bytes of the transport header from register 0 and mend its checksum."""
    fields = (be32(2, 2), be32(3, offset), be32(4, 2), be32(5, _REGISTER))
    return _expression("payload", *fields, be32(6, 1), be32(7, checksum))


def immediate(value: bytes, register: int = 0) -> bytes:
    return _expression("immediate", be32(1, _REGISTER + register), nest(2, _data(value)))


def verdict(code: int, chain: str = "") -> bytes:
    """ACCEPT, DROP, RETURN, or JUMP to a chain."""
    body = be32(1, code) + (text(2, chain) if chain else b"")
    return _expression("immediate", be32(1, _VERDICT_REGISTER), nest(2, nest(2, body)))


def lookup(name: str, *, register: int = 0, inverted: bool = False) -> bytes:
    """Go on only if the key is in the set (or is not)."""
    flags = (be32(5, 1),) if inverted else ()
    return _expression("lookup", text(1, name), be32(2, _REGISTER + register), *flags)


def translate(name: str, *, register: int = 0, into: int = 0) -> bytes:
    """Go on only if the key is in the map; load its data."""
    return _expression(
        "lookup", text(1, name), be32(2, _REGISTER + register), be32(3, _REGISTER + into)
    )


def decide(name: str, *, register: int = 0) -> bytes:
    """Take the verdict that the map has for the key, if any."""
    return _expression(
        "lookup", text(1, name), be32(2, _REGISTER + register), be32(3, _VERDICT_REGISTER)
    )


def connection(key: str, bits: int, register: int = 0) -> tuple[bytes, ...]:
    """Go on only if the connection's ``state`` or ``status`` has one of the bits."""
    at = _REGISTER + register
    return (
        _expression("ct", be32(1, at), be32(2, {"state": 0, "status": 2}[key])),
        _expression(
            "bitwise",
            be32(1, at),
            be32(2, at),
            be32(3, 4),
            nest(4, _data(struct.pack("=I", bits))),
            nest(5, _data(bytes(4))),
        ),
        compare(bytes(4), register=register, unequal=True),
    )


def to_local_address() -> tuple[bytes, ...]:
    """Go on only if the destination is an address of this host."""
    load = _expression("fib", be32(1, _REGISTER), be32(2, 3), be32(3, 2))
    return load, compare(struct.pack("=I", 2))


def redirect(family: str, *, address: int, port: int) -> bytes:
    """Send the connection to the address and port in these registers (destination NAT)."""
    at, to = _REGISTER + address, _REGISTER + port
    fields = (be32(1, 1), be32(2, _NAT[family]), be32(3, at), be32(4, at), be32(5, to), be32(6, to))
    return _expression("nat", *fields)


def masquerade() -> bytes:
    """Let the connection come from the address of the interface that it leaves by."""
    return _expression("masq")


def counter() -> bytes:
    return _expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8)))


def interface(name: str) -> bytes:
    """A name as the kernel compares it: sixteen bytes."""
    return name.encode().ljust(16, b"\0")


def join(*parts: bytes) -> bytes:
    """A joined key: each part padded to whole registers."""
    return b"".join(part + b"\0" * (-len(part) % 4) for part in parts)


def _message(kind: int, flags: int, *body: bytes) -> bytes:
    head = struct.pack(">BBH", INET, 0, 0)
    return messages.message(0xA00 | kind, messages.REQUEST | flags, head + b"".join(body))


def new_table(name: str, *, acknowledge: bool = False) -> bytes:
    """Does nothing where the table is there already."""
    flags = messages.CREATE | (messages.ACK if acknowledge else 0)
    return _message(_NEWTABLE, flags, text(1, name))


def delete_table(name: str, *, acknowledge: bool = False) -> bytes:
    return _message(_DELTABLE, messages.ACK if acknowledge else 0, text(1, name))


def new_chain(table: str, chain: Chain) -> bytes:
    body = text(1, table) + text(3, chain.name)
    if chain.hook:
        body += nest(4, be32(1, HOOKS[chain.hook]), be32(2, chain.priority))
        body += be32(5, ACCEPT) + text(7, chain.kind)
    return _message(_NEWCHAIN, messages.CREATE, body)


def new_set(table: str, value: Set, identity: int) -> bytes:
    """``identity`` is a number that no other set of the same batch has."""
    flags = (_INTERVAL if value.interval else 0) | (_MAP if value.data else 0)
    body = text(1, table) + text(2, value.name) + be32(3, flags) + be32(10, identity)
    body += be32(4, _type(value.key)) + be32(5, _size(value.key))
    if value.data == ("verdict",):
        body += be32(6, _VERDICT_TYPE) + be32(7, 16)
    elif value.data:
        body += be32(6, _type(value.data)) + be32(7, _size(value.data))
    if value.key == ("ifname",):
        # nft(8) prints names only where it is told that they are not numbers of the network.
        body += attribute(13, struct.pack("=BBI", 0, 4, 1))
    return _message(_NEWSET, messages.CREATE, body)


def _type(names: tuple[str, ...]) -> int:
    number = 0
    for name in names:
        number = number << 6 | TYPES[name][0]
    return number


def _size(names: tuple[str, ...]) -> int:
    sizes = [TYPES[name][1] for name in names]
    return sizes[0] if len(sizes) == 1 else sum((size + 3) & ~3 for size in sizes)


def new_rule(table: str, rule: Rule) -> bytes:
    comment = rule.comment.encode()[:120] + b"\0"
    return _message(
        _NEWRULE,
        messages.CREATE | messages.APPEND,
        text(1, table),
        text(2, rule.chain),
        nest(4, *rule.expressions),
        attribute(7, bytes((0, len(comment))) + comment),
    )


def new_elements(table: str, name: str, elements: Iterable[Element]) -> list[bytes]:
    """Adds those that are not there; one that is there with other data makes the batch fail."""
    return _elements(_NEWELEMENT, messages.CREATE, table, name, elements)


def delete_elements(table: str, name: str, elements: Iterable[Element]) -> list[bytes]:
    """The batch fails where one is not there."""
    return _elements(_DELELEMENT, 0, table, name, elements)


def _elements(
    kind: int, flags: int, table: str, name: str, elements: Iterable[Element]
) -> list[bytes]:
    encoded = [_element(element) for element in elements]
    head = text(1, table) + text(2, name)
    return [
        _message(kind, flags, head, nest(3, *encoded[at : at + _ELEMENTS_PER_MESSAGE]))
        for at in range(0, len(encoded), _ELEMENTS_PER_MESSAGE)
    ]


def _element(element: Element) -> bytes:
    body = nest(1, _data(element.key))
    if element.data is not None:
        body += nest(2, _data(element.data))
    if element.verdict is not None:
        body += nest(2, nest(2, be32(1, element.verdict)))
    if element.end:
        body += be32(3, _INTERVAL_END)
    return nest(1, body)


def build(table: Table, elements: Sequence[tuple[str, Iterable[Element]]]) -> list[bytes]:
    """The batch that puts the table in the place of the one that is there, if any."""
    return [new_table(table.name), delete_table(table.name), *make(table, elements)]


def make(table: Table, elements: Sequence[tuple[str, Iterable[Element]]]) -> list[bytes]:
    """The batch that makes a table where none is."""
    batch = [new_table(table.name)]
    batch += [new_set(table.name, value, 1 + at) for at, value in enumerate(table.sets)]
    batch += [new_chain(table.name, chain) for chain in table.chains]
    for name, members in elements:
        batch += new_elements(table.name, name, members)
    batch += [new_rule(table.name, rule) for rule in table.rules]
    return [*batch, new_table(table.name, acknowledge=True)]


def get_table(name: str) -> bytes:
    return _message(_GETTABLE, 0, text(1, name))


def get_rules(table: str) -> bytes:
    return _message(_GETRULE, messages.DUMP, text(1, table))


def get_chains() -> bytes:
    """The chains of all tables of all families."""
    head = struct.pack(">BBH", 0, 0, 0)
    return messages.message(0xA00 | _GETCHAIN, messages.REQUEST | messages.DUMP, head)


def get_elements(table: str, name: str) -> bytes:
    return _message(_GETELEMENT, messages.DUMP, text(1, table) + text(2, name))


def read_elements(body: bytes) -> list[Element]:
    """The elements that one message of an answer to ``get_elements`` holds."""
    found = []
    for _, item in messages.attributes(messages.mapping(body, 4).get(3, b"")):
        parts = messages.mapping(item)
        key = messages.mapping(parts.get(1, b"")).get(1, b"")
        value = messages.mapping(parts.get(2, b""))
        code = messages.mapping(value[2]).get(1) if 2 in value else None
        flags = int.from_bytes(parts.get(3, b""), "big")
        found.append(
            Element(
                key=key,
                data=value.get(1),
                verdict=None if code is None else int.from_bytes(code, "big"),
                end=bool(flags & _INTERVAL_END),
            )
        )
    return found
