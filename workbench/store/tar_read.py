"""A tar reader for streams: ustar, GNU and pax, sparse files included; hostile input is bounded.

It reads forward only, holds one header and one buffer, and never trusts a number it has read.
Source: POSIX pax(1), GNU tar manual appendix D, tar(5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from workbench.errors import Corrupt, LimitExceeded
from workbench.oci.digest import Readable
from workbench.store import tar_sparse
from workbench.store.tar_entry import BLOCK, NANO, XATTR_PREFIX, Kind, TarEntry, padding

_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_ZERO: Final = bytes(BLOCK)
_CHUNK: Final = 1 << 20
_MAX_EXTENSION: Final = 1 << 20
_MAX_SIZE: Final = 1 << 62

_KINDS: Final[dict[bytes, Kind]] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"S": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "char",
    b"4": "block",
    b"5": "dir",
    b"6": "fifo",
}
_IGNORED: Final = (b"V", b"M", b"N")


class TarReader:
    """Iterate for the entries; ``data()`` gives the content of the entry that came last.

    Raises Corrupt for what is no tar and for a cut-off one, LimitExceeded above the bounds.
    ``drain()`` reads what follows the end mark, so that a hash around ``source`` sees everything.
    """

    def __init__(
        self, source: Readable, *, max_entries: int = 5_000_000, max_bytes: int = 1 << 46
    ) -> None:
        self._source = source
        self._buffer = b""
        self._at = 0
        self._left = 0
        self._entry: TarEntry | None = None
        self._global: dict[str, bytes] = {}
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.entries = 0
        self.bytes = 0

    def __iter__(self) -> Iterator[TarEntry]:
        while (entry := self._next()) is not None:
            self._entry = entry
            self._account(entry)
            yield entry
            self._skip(self._left)

    def data(self) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of the current file's content in order; holes are left out."""
        assert self._entry is not None
        for offset, length in self._extents(self._entry):
            end = offset + length
            while offset < end:
                piece = self._some(min(end - offset, _CHUNK))
                yield offset, piece
                offset += len(piece)
        self._skip(self._left)

    def drain(self) -> None:
        """Read the stream to its end."""
        self._buffer, self._at = b"", 0
        while self._source.read(_CHUNK):
            pass

    def _extents(self, entry: TarEntry) -> tuple[tuple[int, int], ...]:
        if entry.kind != "file" or not entry.size:
            return ()
        if entry.sparse is not None:
            return entry.sparse
        return ((0, entry.size),)

    def _account(self, entry: TarEntry) -> None:
        self.entries += 1
        self.bytes += entry.size
        if self.entries > self._max_entries:
            raise LimitExceeded(f"the archive has more than {self._max_entries} entries")
        if self.bytes > self._max_bytes:
            raise LimitExceeded(f"the archive unpacks to more than {self._max_bytes} bytes")

    # -- headers

    def _next(self) -> TarEntry | None:
        pax: dict[str, bytes] = {}
        names: dict[str, bytes] = {}
        for _ in range(64):
            block = self._header_block()
            if block is None:
                if pax or names:
                    raise Corrupt("the archive ends after an extension header")
                return None
            fields = _HEADER.unpack(block)
            _check_sum(block, fields[6])
            kind = fields[7]
            if kind in b"xgLKX":
                self._extension(kind, _number(fields[4], "size"), pax, names)
            elif kind in _IGNORED:
                size = _number(fields[4], "size")
                self._left = size + padding(size)
                self._skip(self._left)
            else:
                return self._entry_from(block, fields, {**self._global, **pax}, names)
        raise Corrupt("the archive has too many extension headers in a row")

    def _header_block(self) -> bytes | None:
        block = self._exactly(BLOCK, at_end=True)
        if block is None or block != _ZERO:
            return block
        second = self._exactly(BLOCK, at_end=True)
        if second is not None and second != _ZERO:
            raise Corrupt("the archive goes on after its end mark")
        return None

    def _extension(
        self, kind: bytes, size: int, pax: dict[str, bytes], names: dict[str, bytes]
    ) -> None:
        if size > _MAX_EXTENSION:
            raise LimitExceeded(f"an extension header of {size} bytes")
        data = self._whole(size)
        self._whole(padding(size))
        if kind == b"L":
            names["path"] = data.split(b"\0", 1)[0]
        elif kind == b"K":
            names["linkpath"] = data.split(b"\0", 1)[0]
        elif kind == b"g":
            self._global.update(_pax_records(data))
            if sum(map(len, self._global.values())) > _MAX_EXTENSION:
                raise LimitExceeded("the global headers of the archive are too large")
        else:
            pax.update(_pax_records(data))

    def _entry_from(
        self,
        block: bytes,
        fields: tuple[bytes, ...],
        pax: dict[str, bytes],
        names: dict[str, bytes],
    ) -> TarEntry:
        pax = {key: value for key, value in pax.items() if value}
        name = _name(fields, pax, names)
        kind = _KINDS.get(fields[7])
        if kind is None:
            raise Corrupt(f"{name!r} has the unknown type {fields[7]!r}")
        if kind == "file" and name.endswith("/") and fields[7] != b"S":
            kind = "dir"
        stored = 0
        if fields[7] in b"0\x007S":
            stored = _pax_number(pax, "size", fields[4])
        self._left = stored + padding(stored)
        size, sparse, name = self._content(block, fields[7], pax, stored, name)
        return TarEntry(
            name=name,
            kind=kind,
            mode=_number(fields[1], "mode") & 0o7777,
            uid=_identity(_pax_number(pax, "uid", fields[2])),
            gid=_identity(_pax_number(pax, "gid", fields[3])),
            size=size if kind == "file" else 0,
            mtime_ns=_mtime(pax.get("mtime"), fields[5]),
            target=_link_target(kind, fields[8], pax, names),
            major=_number(fields[12], "major") if kind in ("char", "block") else 0,
            minor=_number(fields[13], "minor") if kind in ("char", "block") else 0,
            xattrs=_xattrs(pax),
            sparse=sparse,
        )

    def _content(
        self, block: bytes, kind: bytes, pax: dict[str, bytes], stored: int, name: str
    ) -> tuple[int, tuple[tuple[int, int], ...] | None, str]:
        """Size, map of a sparse file, and name; for a sparse file all three hide elsewhere."""
        if kind == b"S":
            size, extents = tar_sparse.old_gnu(block, lambda: self._whole(BLOCK), _number)
        elif any(key.startswith("GNU.sparse.") for key in pax):
            name = _text(pax["GNU.sparse.name"]) if "GNU.sparse.name" in pax else name
            size, extents, used = tar_sparse.pax(pax, stored, self._whole)
            self._left -= used
            stored -= used
        else:
            return stored, None, name
        return size, tar_sparse.checked(extents, size, stored), name

    # -- bytes

    def _some(self, limit: int) -> bytes:
        """At least one and at most ``limit`` bytes of the current content."""
        if self._at >= len(self._buffer):
            self._fill()
        piece = self._buffer[self._at : self._at + min(limit, self._left)]
        if not piece:
            raise Corrupt("the archive is cut off inside a file")
        self._at += len(piece)
        self._left -= len(piece)
        return piece

    def _skip(self, count: int) -> None:
        while count > 0:
            if self._at >= len(self._buffer):
                self._fill()
            step = min(count, len(self._buffer) - self._at)
            if not step:
                raise Corrupt("the archive is cut off inside a file")
            self._at += step
            count -= step
        self._left = 0

    def _whole(self, size: int) -> bytes:
        data = self._exactly(size)
        assert data is not None
        return data

    def _exactly(self, size: int, *, at_end: bool = False) -> bytes | None:
        end = self._at + size
        while end > len(self._buffer):
            rest = self._buffer[self._at :]
            more = self._source.read(_CHUNK)
            if not more:
                if at_end and not rest:
                    return None
                raise Corrupt("the archive is cut off")
            self._buffer, self._at, end = rest + more, 0, size
        data = self._buffer[self._at : end]
        self._at = end
        return data

    def _fill(self) -> None:
        self._buffer, self._at = self._source.read(_CHUNK), 0


def _check_sum(block: bytes, field: bytes) -> None:
    wanted = _number(field, "checksum")
    # The field itself counts as eight spaces.
    plain = sum(block) - sum(field) + 256
    if plain == wanted:
        return
    signed = sum(struct.unpack("512b", block)) - sum(struct.unpack("8b", field)) + 256
    if signed != wanted:
        raise Corrupt("this is no tar archive: a header's checksum is wrong")


def _number(field: bytes, what: str) -> int:
    """Octal text, or GNU's base 256 for what does not fit."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
    else:
        text = field.split(b"\0", 1)[0].strip(b" ")
        try:
            value = int(text, 8) if text else 0
        except ValueError:
            raise Corrupt(f"a header's {what} is no number: {field!r}") from None
    if what != "mtime" and not 0 <= value < _MAX_SIZE:
        raise Corrupt(f"a header's {what} of {value} is out of range")
    return value


def _pax_number(pax: dict[str, bytes], key: str, field: bytes) -> int:
    if key not in pax:
        return _number(field, key)
    text = pax[key]
    if not text.isdigit() or len(text) > 20 or int(text) >= _MAX_SIZE:
        raise Corrupt(f"a header's {key} is no number: {text[:32]!r}")
    return int(text)


def _identity(value: int) -> int:
    if value > 0xFFFFFFFE:
        raise Corrupt(f"an owner's id of {value} is out of range")
    return value


def _mtime(pax: bytes | None, field: bytes) -> int:
    if pax is None:
        seconds = _number(field, "mtime")
        return seconds * NANO if abs(seconds) < 1 << 33 else 0
    whole, _, fraction = pax.strip().partition(b".")
    digits = whole.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 18 or (fraction and not fraction.isdigit()):
        raise Corrupt(f"a header's mtime is no number: {pax[:32]!r}")
    nano = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    value = int(digits) * NANO + nano
    value = -value if whole.startswith(b"-") else value
    return value if abs(value) < (1 << 33) * NANO else 0


def _name(fields: tuple[bytes, ...], pax: dict[str, bytes], names: dict[str, bytes]) -> str:
    if "path" in pax:
        return _text(pax["path"])
    if "path" in names:
        return _text(names["path"])
    name = fields[0].split(b"\0", 1)[0]
    # Only POSIX's own magic says that the last field is a prefix; GNU keeps times there.
    if fields[9][:6] == b"ustar\0" and fields[7] != b"S":
        prefix = fields[14].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return _text(name)


def _link_target(kind: Kind, field: bytes, pax: dict[str, bytes], names: dict[str, bytes]) -> str:
    if kind not in ("symlink", "hardlink"):
        return ""
    return _text(pax.get("linkpath") or names.get("linkpath") or field.split(b"\0", 1)[0])


def _text(raw: bytes) -> str:
    if b"\0" in raw:
        raise Corrupt(f"a name with a zero byte: {raw[:64]!r}")
    return raw.decode("utf-8", "surrogateescape")


def _xattrs(pax: dict[str, bytes]) -> dict[str, bytes]:
    return {
        key.removeprefix(XATTR_PREFIX): value
        for key, value in pax.items()
        if key.startswith(XATTR_PREFIX)
    }


def _pax_records(data: bytes) -> dict[str, bytes]:
    """``length key=value\\n`` records; the length counts itself."""
    records: dict[str, bytes] = {}
    sparse: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 10)
        length = data[at:space] if space > at else b""
        if not length.isdigit():
            raise Corrupt("a pax header is malformed")
        end = at + int(length)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 2 or data[end - 1 : end] != b"\n" or not equals:
            raise Corrupt("a pax header is malformed")
        name = key.decode("utf-8", "surrogateescape")
        if name in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            sparse.append(value)
        else:
            records[name] = value
        at = end
    if sparse:
        records["GNU.sparse.map"] = b",".join(sparse)
    return records
