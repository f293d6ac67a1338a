"""gzip and zstd as streams with bounded memory; hashing and packing on the second processor.

The gzip level and the size of the pieces are fixed: the digests of our layers depend on them.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, cast

import zstandard
from isal import isal_zlib

from workbench.errors import Corrupt, InvalidInput
from workbench.oci.digest import Digest, Readable

GZIP_LEVEL: Final = 2
PIECE: Final = 1 << 20
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW: Final = 1 << 27
_AHEAD: Final = 4
# The package's type stub calls this a value; it is a class.
_GzipError: type[Exception] = cast(Any, isal_zlib).error


class ByteSink(Protocol):
    """What packed bytes are written to."""

    def write(self, data: bytes, /) -> int: ...


def unpacked(source: Readable, compression: str) -> Readable:
    """``source`` without its packing, which is "gzip", "zstd" or "". Raises InvalidInput."""
    if compression == "gzip":
        return GzipReader(source)
    if compression == "zstd":
        return ZstdReader(source)
    if compression:
        raise InvalidInput(f"unknown compression {compression!r}")
    return source


def detect(head: bytes) -> str:
    """The packing of a stream by its first four bytes: "gzip", "zstd" or ""."""
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    return "zstd" if head.startswith(_ZSTD_MAGIC) else ""


class GzipReader:
    """Reads gzip, several members in a row too. Raises Corrupt for damage and a missing end."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._engine: Any = isal_zlib.decompressobj(wbits=31)
        self._input = b""
        self._started = False

    def read(self, size: int = -1, /) -> bytes:
        """At least one byte unless at the end; at most ``size`` or one piece."""
        limit = PIECE if size < 0 else min(size, PIECE)
        while True:
            if self._engine.eof and not self._next_member():
                return b""
            data = self._input or self._source.read(PIECE)
            if not data and not self._engine.eof:
                if not self._started:
                    raise Corrupt("expected gzip, but there is nothing")
                data = b""
            try:
                output: bytes = self._engine.decompress(data, limit)
            except _GzipError as error:
                raise Corrupt(f"damaged gzip data: {error}") from error
            self._started = True
            self._input = self._engine.unconsumed_tail
            if output:
                return output
            if not data and not self._engine.eof:
                raise Corrupt("the gzip data is cut off")

    def _next_member(self) -> bool:
        rest: bytes = self._engine.unused_data
        while True:
            rest = rest.lstrip(b"\0")
            if len(rest) >= 2:
                break
            more = self._source.read(PIECE)
            if not more:
                break
            rest += more
        if not rest:
            # Stay at the end, also when asked again.
            return False
        if not rest.startswith(_GZIP_MAGIC):
            raise Corrupt("there is garbage after the gzip data")
        self._engine = isal_zlib.decompressobj(wbits=31)
        self._input = rest
        return True


class ZstdReader:
    """Reads zstd, several frames in a row too. Raises Corrupt for damage and a missing end."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._tail = b""
        self._engine = _zstd_engine()
        self._fed = False
        self._input = b""

    def read(self, size: int = -1, /) -> bytes:
        limit = PIECE if size < 0 else size
        while not self._tail:
            data = self._input or self._source.read(1 << 16)
            self._input = b""
            if not data:
                if self._fed and not self._engine.eof:
                    raise Corrupt("the zstd data is cut off")
                return b""
            if self._engine.eof:
                self._engine = _zstd_engine()
            try:
                self._tail = self._engine.decompress(data)
            except zstandard.ZstdError as error:
                raise Corrupt(f"damaged zstd data: {error}") from error
            self._fed = True
            self._input = self._engine.unused_data
        data, self._tail = self._tail[:limit], self._tail[limit:]
        return data


def _zstd_engine() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()


class ReadAhead:
    """Reads ``source`` in a thread, a few pieces ahead, so that two processors share the work.

    A context manager; the thread ends with it. Errors of the source come out of ``read``.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._rest = b""
        self._ended = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        while self._thread.is_alive():
            while not self._pieces.empty():
                self._pieces.get_nowait()
            self._thread.join(0.001)

    def read(self, size: int = -1, /) -> bytes:
        if not self._rest and not self._ended:
            piece = self._pieces.get()
            if isinstance(piece, BaseException):
                self._ended = True
                raise piece
            self._rest, self._ended = piece, not piece
        if size < 0 or len(self._rest) <= size:
            data, self._rest = self._rest, b""
        else:
            data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _run(self) -> None:
        piece: bytes | BaseException
        while not self._stop.is_set():
            try:
                piece = self._source.read(PIECE)
            except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
                piece = error
            self._pieces.put(piece)
            if not piece or isinstance(piece, BaseException):
                return


class PackingSink:
    """Takes tar bytes, hashes them, and writes them packed to ``sink`` from a second thread.

    ``finish`` must be called; afterwards ``diff_id`` and ``size`` (bytes before packing) hold.
    A context manager that ends the thread when an error leaves the block.
    """

    def __init__(self, sink: ByteSink, *, compression: str = "gzip") -> None:
        self._engine: Any = _packer(compression)
        self._sink = sink
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pack-layer", daemon=True)
        self.size = 0

    def __enter__(self) -> PackingSink:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()

    @property
    def diff_id(self) -> Digest:
        return Digest.from_hex(self._hash.hexdigest())

    def write(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if len(buffer) < PIECE:
            return
        end = len(buffer) - len(buffer) % PIECE
        for at in range(0, end, PIECE):
            self._hand_over(bytes(memoryview(buffer)[at : at + PIECE]))
        self._buffer = buffer[end:]

    def finish(self) -> None:
        """Pack what is left. Raises what went wrong in the other thread."""
        if self._buffer:
            self._hand_over(bytes(self._buffer))
            self._buffer = bytearray()
        self._pieces.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._sink.write(self._engine.flush())

    def _hand_over(self, piece: bytes) -> None:
        if self._error is not None:
            raise self._error
        self._pieces.put(piece)
        self._hash.update(piece)
        self.size += len(piece)

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._error is not None:
                continue
            try:
                packed = self._engine.compress(piece)
                if packed:
                    self._sink.write(packed)
            except BaseException as error:  # noqa: BLE001 - raised by the thread that writes
                self._error = error


class _Plain:
    """The packer that leaves bytes alone."""

    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _packer(compression: str) -> Any:
    makers: dict[str, Callable[[], Any]] = {
        # wbits 31 asks for gzip's own frame; its time stamp is 0 and it carries no name.
        "gzip": lambda: isal_zlib.compressobj(level=GZIP_LEVEL, wbits=31),
        "": _Plain,
    }
    if compression not in makers:
        raise InvalidInput(f"layers are not written as {compression!r}")
    return makers[compression]()
