"""The wire format of DNS messages (RFC 1035, RFC 6891): bytes to values and back. Pure.

Only what a small name server needs is understood; other records keep their data as bytes.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, replace
from typing import Final

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 255
IN: Final = 1
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = range(6)

HEADER: Final = 12
_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_POINTER: Final = 0xC0
_LARGEST_NAME: Final = 255
_PLAIN_UDP: Final = 512


class Malformed(ValueError):
    """These bytes are no DNS message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. ``name`` is labels joined by dots, without the last dot, in any case."""

    name: str
    kind: int
    group: int = IN


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One resource record; ``data`` as it travels (without compression in what we write)."""

    name: str
    kind: int
    data: bytes
    ttl: int = 0
    group: int = IN


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message. ``room`` is how many bytes the asker takes by UDP."""

    identity: int
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    response: bool = False
    opcode: int = 0
    authoritative: bool = False
    truncated: bool = False
    recursion_desired: bool = False
    recursion_available: bool = False
    code: int = NO_ERROR

    @property
    def room(self) -> int:
        """From the OPT record of the asker (RFC 6891), else 512."""
        sizes = [record.group for record in self.additional if record.kind == OPT]
        return max(_PLAIN_UDP, sizes[0]) if sizes else _PLAIN_UDP


def encode_name(name: str) -> bytes:
    """Raises Malformed for labels or names that are too long."""
    encoded = b""
    for label in name.rstrip(".").split(".") if name.rstrip(".") else []:
        raw = label.encode("latin-1", "replace")
        if not 0 < len(raw) < 64:
            raise Malformed(f"a label of {len(raw)} bytes")
        encoded += bytes((len(raw),)) + raw
    if len(encoded) >= _LARGEST_NAME:
        raise Malformed(f"a name of {len(encoded)} bytes")
    return encoded + b"\0"


def decode_name(buffer: bytes, offset: int) -> tuple[str, int]:
    """The name and the offset behind it. Pointers must lead backwards, so that they end."""
    labels: list[str] = []
    behind, length, lowest = -1, 0, offset
    while True:
        size = _byte(buffer, offset)
        if size & _POINTER == _POINTER:
            target = (size & 0x3F) << 8 | _byte(buffer, offset + 1)
            behind = offset + 2 if behind < 0 else behind
            if target >= lowest:
                raise Malformed("a pointer that does not lead backwards")
            offset = lowest = target
            continue
        if size & _POINTER:
            raise Malformed("an unknown kind of label")
        offset += 1
        if not size:
            return ".".join(labels), offset if behind < 0 else behind
        length += size + 1
        if length >= _LARGEST_NAME or offset + size > len(buffer):
            raise Malformed("a name that is too long")
        label = buffer[offset : offset + size].decode("latin-1")
        if "." in label:
            raise Malformed("a dot inside a label")
        labels.append(label)
        offset += size


def _byte(buffer: bytes, offset: int) -> int:
    if offset >= len(buffer):
        raise Malformed("cut off")
    return buffer[offset]


def encode(message: Message) -> bytes:
    """Raises Malformed for names that cannot be written."""
    flags = message.opcode << 11 | message.code & 0xF
    flags |= _QR if message.response else 0
    flags |= _AA if message.authoritative else 0
    flags |= _TC if message.truncated else 0
    flags |= _RD if message.recursion_desired else 0
    flags |= _RA if message.recursion_available else 0
    sections = (message.answers, message.authority, message.additional)
    counts = (len(message.questions), *map(len, sections))
    parts = [struct.pack(">HHHHHH", message.identity, flags, *counts)]
    known: dict[str, int] = {}
    size = HEADER
    for question in message.questions:
        known.setdefault(question.name, size)
        parts.append(encode_name(question.name) + struct.pack(">HH", question.kind, question.group))
        size += len(parts[-1])
    for section in sections:
        parts += [_record(record, known) for record in section]
    return b"".join(parts)


def _record(record: Record, known: dict[str, int]) -> bytes:
    at = known.get(record.name)
    name = encode_name(record.name) if at is None else struct.pack(">H", 0xC000 | at)
    head = struct.pack(">HHIH", record.kind, record.group, record.ttl, len(record.data))
    return name + head + record.data


def decode(buffer: bytes) -> Message:
    """Raises Malformed for anything that is not a whole message."""
    if len(buffer) < HEADER:
        raise Malformed("shorter than a header")
    identity, flags, *counts = struct.unpack_from(">HHHHHH", buffer)
    offset, questions = HEADER, []
    for _ in range(counts[0]):
        name, offset = decode_name(buffer, offset)
        if offset + 4 > len(buffer):
            raise Malformed("a question that is cut off")
        kind, group = struct.unpack_from(">HH", buffer, offset)
        questions.append(Question(name=name, kind=kind, group=group))
        offset += 4
    sections = []
    for count in counts[1:]:
        records = []
        for _ in range(count):
            record, offset = _decode_record(buffer, offset)
            records.append(record)
        sections.append(tuple(records))
    return Message(
        identity=identity,
        questions=tuple(questions),
        answers=sections[0],
        authority=sections[1],
        additional=sections[2],
        response=bool(flags & _QR),
        opcode=flags >> 11 & 0xF,
        authoritative=bool(flags & _AA),
        truncated=bool(flags & _TC),
        recursion_desired=bool(flags & _RD),
        recursion_available=bool(flags & _RA),
        code=flags & 0xF,
    )


def _decode_record(buffer: bytes, offset: int) -> tuple[Record, int]:
    name, offset = decode_name(buffer, offset)
    if offset + 10 > len(buffer):
        raise Malformed("a record that is cut off")
    kind, group, ttl, size = struct.unpack_from(">HHIH", buffer, offset)
    offset += 10
    if offset + size > len(buffer):
        raise Malformed("data that is cut off")
    data = buffer[offset : offset + size]
    return Record(name=name, kind=kind, group=group, ttl=ttl, data=data), offset + size


def reply(
    query: Message, answers: tuple[Record, ...] = (), *, code: int = NO_ERROR, room: int = 65535
) -> bytes:
    """The answer of an authoritative server; what does not fit in ``room`` is cut, and said so."""
    message = Message(
        identity=query.identity,
        questions=query.questions,
        answers=answers,
        response=True,
        opcode=query.opcode,
        authoritative=code == NO_ERROR,
        recursion_desired=query.recursion_desired,
        recursion_available=True,
        code=code,
    )
    encoded = encode(message)
    while len(encoded) > room and message.answers:
        surplus = (len(encoded) - room + 15) // 16
        kept = message.answers[: max(0, len(message.answers) - surplus)]
        message = replace(message, answers=kept, truncated=True)
        encoded = encode(message)
    return encoded


def refusal(buffer: bytes, code: int) -> bytes | None:
    """The answer to bytes that could not be understood; None where not even the header is whole.

    A response is never answered.
    """
    if len(buffer) < HEADER:
        return None
    identity, flags = struct.unpack_from(">HH", buffer)
    if flags & _QR:
        return None
    return struct.pack(">HHHHHH", identity, _QR | _RA | flags & (_RD | 0x7800) | code, 0, 0, 0, 0)


def with_identity(buffer: bytes, identity: int) -> bytes:
    """The same message under another number."""
    return struct.pack(">H", identity) + buffer[2:]


def address_of_pointer(name: str) -> str | None:
    """The address that a reverse name (in-addr.arpa, ip6.arpa) stands for."""
    labels = name.lower().split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return str(ipaddress.IPv4Address(".".join(reversed(labels[:4]))))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34:
            return str(ipaddress.IPv6Address(int("".join(reversed(labels[:32])), 16).to_bytes(16)))
    except (ValueError, OverflowError):
        return None
    return None
