"""The maps of sparse files in tar archives: GNU's old form and the three pax forms.

A map is a list of (offset, length) of the parts that are stored; between them are holes.
Source: GNU tar manual, "Storing Sparse Files".
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from workbench.errors import Corrupt
from workbench.store.tar_entry import BLOCK

Extents = tuple[tuple[int, int], ...]
_MAX_EXTENTS: Final = 1 << 18
_MAX_DIGITS: Final = 19


def old_gnu(
    block: bytes, more: Callable[[], bytes], number: Callable[[bytes, str], int]
) -> tuple[int, Extents]:
    """Real size and map of a member of type S; ``more`` reads an extension block."""
    extents: list[tuple[int, int]] = []
    _old_pairs(block[386 : 386 + 96], extents, number)
    extended = block[482]
    while extended:
        block_more = more()
        _old_pairs(block_more[:504], extents, number)
        extended = block_more[504]
        if len(extents) > _MAX_EXTENTS:
            raise Corrupt("a sparse file has too many parts")
    return number(block[483:495], "size"), tuple(extents)


def _old_pairs(
    area: bytes, extents: list[tuple[int, int]], number: Callable[[bytes, str], int]
) -> None:
    for at in range(0, len(area), 24):
        offset, length = area[at : at + 12], area[at + 12 : at + 24]
        if not offset[0] or not length[0]:
            return
        extents.append((number(offset, "offset"), number(length, "length")))


def pax(
    records: dict[str, bytes], stored: int, read: Callable[[int], bytes]
) -> tuple[int, Extents, int]:
    """Real size, map, and the bytes that the map took of the content (form 1.0 only)."""
    if records.get("GNU.sparse.major") == b"1":
        size = _decimal(records.get("GNU.sparse.realsize", b""))
        extents, used = _map_in_content(stored, read)
        return size, extents, used
    size = _decimal(records.get("GNU.sparse.size") or records.get("GNU.sparse.realsize", b""))
    numbers = [_decimal(item) for item in records.get("GNU.sparse.map", b"").split(b",") if item]
    return size, _pairs(numbers), 0


def _map_in_content(stored: int, read: Callable[[int], bytes]) -> tuple[Extents, int]:
    text, used, wanted = b"", 0, 1
    lines: list[bytes] = []
    while len(lines) < wanted:
        if used + BLOCK > stored:
            raise Corrupt("the map of a sparse file is cut off")
        text += read(BLOCK)
        used += BLOCK
        *complete, text = text.split(b"\n")
        lines += complete
        if len(text) > _MAX_DIGITS + BLOCK:
            raise Corrupt("the map of a sparse file is malformed")
        if lines:
            wanted = 1 + 2 * _decimal(lines[0])
            if wanted > 2 * _MAX_EXTENTS:
                raise Corrupt("a sparse file has too many parts")
    return _pairs([_decimal(line) for line in lines[1:wanted]]), used


def _pairs(numbers: list[int]) -> Extents:
    if len(numbers) % 2 or len(numbers) > 2 * _MAX_EXTENTS:
        raise Corrupt("the map of a sparse file is malformed")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > _MAX_DIGITS:
        raise Corrupt("the map of a sparse file is malformed")
    return int(text)


def checked(extents: Extents, size: int, stored: int) -> Extents:
    """The map, once it is known to be in order, within the file, and as long as the content."""
    kept = tuple(item for item in extents if item[1])
    for (offset, length), (following, _) in pairwise(kept):
        if offset + length > following:
            raise Corrupt("the map of a sparse file overlaps itself")
    if kept and sum(kept[-1]) > size:
        raise Corrupt("the map of a sparse file exceeds its size")
    if sum(length for _, length in kept) != stored:
        raise Corrupt("the map of a sparse file does not match its content")
    return kept
