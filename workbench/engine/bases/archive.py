"""A plan's entries as the tar of a layer: the same entries give the same bytes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from workbench.engine.bases.tree import BasePlan, TreeEntry
from workbench.errors import Unavailable

EPOCH: Final = 1577836800
"""The time of every file, 2020-01-01: zip archives made of them cannot be older than 1980."""

_BLOCK: Final = 512
_CHUNK: Final = 1 << 20
_KINDS: Final = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
}


def tar_stream(plan: BasePlan) -> BinaryIO:
    """The layer as a stream to read. Raises Unavailable when a file changes meanwhile."""
    return io.BufferedReader(_Pieces(tar_pieces(plan.entries)), _CHUNK)


def tar_pieces(entries: Iterable[TreeEntry]) -> Iterator[bytes]:
    """The layer piece by piece. Headers are USTAR; longer names have PAX ones before them."""
    for entry in entries:
        yield from _entry(entry)
    yield bytes(2 * _BLOCK)


def _entry(entry: TreeEntry) -> Iterator[bytes]:
    header = tarfile.TarInfo(entry.path)
    header.type = _KINDS[entry.kind]
    header.mode = entry.mode
    header.uid, header.gid = entry.uid, entry.gid
    header.mtime = EPOCH
    header.linkname = entry.link
    if entry.kind != "file":
        yield _encode(header)
    elif entry.source is None:
        header.size = len(entry.data)
        yield _encode(header) + entry.data + _padding(header.size)
    else:
        with entry.source.open("rb") as stream:
            header.size = stream.seek(0, io.SEEK_END)
            stream.seek(0)
            yield _encode(header)
            yield from _content(stream, header.size, entry)
            yield _padding(header.size)


def _encode(header: tarfile.TarInfo) -> bytes:
    return header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _content(stream: BinaryIO, size: int, entry: TreeEntry) -> Iterator[bytes]:
    left = size
    while left:
        piece = stream.read(min(_CHUNK, left))
        if not piece:
            raise Unavailable(f"{entry.source} became shorter while it was read")
        left -= len(piece)
        yield piece


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


class _Pieces(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
