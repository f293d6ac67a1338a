"""A tar writer whose output depends on its input alone: ustar where it fits, else pax.

No user names, whole seconds, no other times; pax headers carry only what ustar cannot.
Source: POSIX pax(1).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from workbench.store.tar_entry import BLOCK, NANO, XATTR_PREFIX, Kind, TarEntry, padding

_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_FLAGS: Final[dict[Kind, bytes]] = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "dir": b"5",
    "fifo": b"6",
}
_SPACES: Final = b" " * 8


class TarWriter:
    """Call ``add``, then ``write`` exactly ``entry.size`` bytes; ``close`` ends the archive."""

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self._left = 0
        self._pad = 0
        self.count = 0

    def add(self, entry: TarEntry) -> None:
        """Begin a member. The one before must be complete."""
        self._finish_member()
        self._emit(header(entry))
        if entry.kind == "file":
            self._left, self._pad = entry.size, padding(entry.size)

    def write(self, data: bytes) -> None:
        """Content of the current member."""
        if len(data) > self._left:
            raise ValueError("more content than the header announced")
        self._left -= len(data)
        self._emit(data)

    def close(self) -> None:
        """Write the end mark. Does not close the sink."""
        self._finish_member()
        self._emit(bytes(2 * BLOCK))

    def _finish_member(self) -> None:
        if self._left:
            raise ValueError("less content than the header announced")
        if self._pad:
            self._emit(bytes(self._pad))
            self._pad = 0

    def _emit(self, data: bytes) -> None:
        self.count += len(data)
        self._sink(data)


def header(entry: TarEntry) -> bytes:
    """The blocks that precede a member's content."""
    pax: dict[str, bytes] = {}
    raw = entry.name.encode("utf-8", "surrogateescape")
    name, prefix = _split(raw, pax)
    target = _link(entry.target.encode("utf-8", "surrogateescape"), pax)
    seconds = entry.mtime_ns // NANO
    block = _block(
        name,
        entry.mode,
        _octal_or_pax(entry.uid, 7, "uid", pax),
        _octal_or_pax(entry.gid, 7, "gid", pax),
        _octal_or_pax(entry.size if entry.kind == "file" else 0, 11, "size", pax),
        _octal_or_pax(seconds, 11, "mtime", pax),
        _FLAGS[entry.kind],
        target,
        entry.major,
        entry.minor,
        prefix,
    )
    for key, value in entry.xattrs.items():
        pax[XATTR_PREFIX + key] = value
    return _pax_header(raw, pax) + block if pax else block


def _split(raw: bytes, pax: dict[str, bytes]) -> tuple[bytes, bytes]:
    """Name and prefix of a ustar header; a name that does not fit goes to ``pax``."""
    if raw.isascii():
        if len(raw) <= 100:
            return raw, b""
        # The slash between the two is not written; a directory's last slash stays in the name.
        cut = raw.rfind(b"/", 0, min(156, len(raw) - 1))
        if cut > 0 and len(raw) - cut - 1 <= 100:
            return raw[cut + 1 :], raw[:cut]
    pax["path"] = raw
    return raw[:100], b""


def _link(raw: bytes, pax: dict[str, bytes]) -> bytes:
    if len(raw) > 100 or not raw.isascii():
        pax["linkpath"] = raw
    return raw[:100]


def _octal_or_pax(value: int, digits: int, key: str, pax: dict[str, bytes]) -> int:
    if 0 <= value < 8**digits:
        return value
    pax[key] = str(value).encode()
    return 0


def _block(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    flag: bytes,
    target: bytes,
    major: int,
    minor: int,
    prefix: bytes,
) -> bytes:
    device = flag in b"34"
    block = _HEADER.pack(
        name,
        b"%07o\0" % mode,
        b"%07o\0" % uid,
        b"%07o\0" % gid,
        b"%011o\0" % size,
        b"%011o\0" % mtime,
        _SPACES,
        flag,
        target,
        b"ustar\x0000",
        b"",
        b"",
        b"%07o\0" % major if device else b"%07o\0" % 0,
        b"%07o\0" % minor if device else b"%07o\0" % 0,
        prefix,
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _pax_header(name: bytes, pax: dict[str, bytes]) -> bytes:
    data = b"".join(
        _record(key.encode("utf-8", "surrogateescape"), pax[key]) for key in sorted(pax)
    )
    short = (b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2])[:100]
    block = _block(short, 0o644, 0, 0, len(data), 0, b"x", b"", 0, 0, b"")
    return block + data + bytes(padding(len(data)))


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    # The length counts its own digits.
    total = length + len(str(length))
    total = length + len(str(total))
    return str(total).encode() + rest
