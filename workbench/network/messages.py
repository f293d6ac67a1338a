"""The wire format of netlink as pure functions: messages and attributes to bytes and back.

Sources: netlink(7), rtnetlink(7), linux/netlink.h, linux/nfnetlink.h. Headers are in the byte order
of the host; nfnetlink's attributes are big-endian, rtnetlink's are not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

REQUEST: Final = 0x01
ACK: Final = 0x04
DUMP: Final = 0x300
REPLACE: Final = 0x100
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400
APPEND: Final = 0x800

ERROR: Final = 2
DONE: Final = 3

NESTED: Final = 0x8000
_TYPE_MASK: Final = 0x3FFF
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")


def message(kind: int, flags: int, body: bytes, *, sequence: int = 0) -> bytes:
    """One netlink message; the socket that sends it fills in the sequence number."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def numbered(text: bytes, sequence: int) -> bytes:
    """The same message with a sequence number."""
    return text[:8] + sequence.to_bytes(4, "little" if _LITTLE else "big") + text[12:]


_LITTLE: Final = struct.pack("=H", 1) == b"\x01\x00"


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nest(kind: int, *members: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(members))


def text(kind: int, value: str) -> bytes:
    """A string with its final zero byte."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def split(buffer: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages of a datagram: (type, flags, sequence, body). A torn tail is left out."""
    offset = 0
    while offset + _HEADER.size <= len(buffer):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(buffer, offset)
        if length < _HEADER.size or offset + length > len(buffer):
            return
        yield kind, flags, sequence, buffer[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def attributes(buffer: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes from ``offset`` on: (type, value). A torn tail is left out."""
    while offset + 4 <= len(buffer):
        length, kind = _ATTRIBUTE.unpack_from(buffer, offset)
        if length < 4 or offset + length > len(buffer):
            return
        yield kind & _TYPE_MASK, buffer[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def mapping(buffer: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes by type; of several of one type the last."""
    return dict(attributes(buffer, offset))


def string(value: bytes) -> str:
    """What ``text`` encoded."""
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")


def number(value: bytes) -> int:
    """An unsigned number in the byte order of the host, of any size."""
    return int.from_bytes(value, "little" if _LITTLE else "big")


def fault(body: bytes) -> int:
    """The errno of an ERROR message; 0 is an acknowledgement."""
    code: int = struct.unpack_from("=i", body)[0]
    return -code
