"""Packing and unpacking streams: right, bounded, and loud about damage."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import threading
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import Corrupt, InvalidInput
from workbench.oci.digest import Digest, Readable
from workbench.store.compression import PIECE, PackingSink, ReadAhead, detect, unpacked

NOISE = random.Random(3).randbytes(3 * PIECE + 17)


def drain(stream: Readable, size: int = 1 << 16) -> bytes:
    pieces = []
    while piece := stream.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    return b"".join(pieces)


class Dripping:
    """Gives a few bytes at a time, as sockets do."""

    def __init__(self, data: bytes, step: int) -> None:
        self._stream = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(self._step if size < 0 else min(size, self._step))


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("kind", ["gzip", "zstd", ""])
def test_what_was_packed_comes_out(kind: str, step: int) -> None:
    data = NOISE[:5000] + b"a" * 50_000
    packed = {"gzip": gzip.compress, "zstd": zstandard.compress, "": bytes}[kind](data)
    assert detect(packed[:4]) == kind
    assert drain(unpacked(Dripping(packed, step), kind), 999) == data


def test_several_members_follow_each_other() -> None:
    two = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two") + b"\0" * 100
    assert drain(unpacked(Dripping(two, 5), "gzip")) == b"onetwo"
    frames = zstandard.compress(b"one") + zstandard.compress(b"two")
    assert drain(unpacked(Dripping(frames, 5), "zstd")) == b"onetwo"


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_cut_off_stream_is_corrupt(kind: str) -> None:
    packed = {"gzip": gzip.compress, "zstd": zstandard.compress}[kind](NOISE[:10_000])
    for length in (1, 5, 20, len(packed) // 2, len(packed) - 1):
        with pytest.raises(Corrupt):
            drain(unpacked(io.BytesIO(packed[:length]), kind))


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_garbage_is_corrupt(kind: str) -> None:
    with pytest.raises(Corrupt):
        drain(unpacked(io.BytesIO(b"this is no packed stream at all"), kind))


def test_damage_and_garbage_after_gzip_is_corrupt() -> None:
    packed = bytearray(gzip.compress(NOISE[:10_000]))
    packed[-5] ^= 1
    with pytest.raises(Corrupt):
        drain(unpacked(io.BytesIO(bytes(packed)), "gzip"))
    with pytest.raises(Corrupt, match="garbage"):
        drain(unpacked(io.BytesIO(gzip.compress(b"x") + b"rest"), "gzip"))


def test_nothing_is_no_gzip() -> None:
    with pytest.raises(Corrupt):
        drain(unpacked(io.BytesIO(b""), "gzip"))


def test_an_unknown_packing_is_refused() -> None:
    with pytest.raises(InvalidInput):
        unpacked(io.BytesIO(b""), "xz")


def test_a_bomb_unpacks_piece_by_piece() -> None:
    packed = gzip.compress(bytes(64 << 20))
    stream = unpacked(io.BytesIO(packed), "gzip")
    assert len(stream.read(1 << 30)) <= PIECE


@given(st.lists(st.binary(max_size=3000), max_size=40))
def test_packing_depends_on_the_bytes_alone(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    results = []
    for cut in (pieces, [whole]):
        out = io.BytesIO()
        with PackingSink(out) as sink:
            for piece in cut:
                sink.write(piece)
            sink.finish()
        assert sink.diff_id == Digest.of(whole)
        assert sink.size == len(whole)
        results.append(out.getvalue())
    assert results[0] == results[1]
    assert gzip.decompress(results[0]) == whole


def test_large_pieces_pack_the_same() -> None:
    results = set()
    for step in (1000, PIECE, PIECE + 1, len(NOISE)):
        out = io.BytesIO()
        with PackingSink(out) as sink:
            for at in range(0, len(NOISE), step):
                sink.write(NOISE[at : at + step])
            sink.finish()
        results.add(hashlib.sha256(out.getvalue()).hexdigest())
        assert zlib.decompress(out.getvalue(), 31) == NOISE
    assert len(results) == 1


def test_an_error_of_the_sink_reaches_the_writer() -> None:
    class Full:
        def write(self, data: bytes, /) -> int:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), PackingSink(Full()) as sink:
        for _ in range(20):
            sink.write(NOISE)
        sink.finish()
    assert not [item for item in threading.enumerate() if item.name == "pack-layer"]


def test_read_ahead_passes_bytes_and_errors_on() -> None:
    with ReadAhead(io.BytesIO(NOISE)) as ahead:
        assert drain(ahead, 12_345) == NOISE

    class Broken:
        def read(self, size: int = -1, /) -> bytes:
            raise Corrupt("broken")

    with ReadAhead(Broken()) as ahead, pytest.raises(Corrupt, match="broken"):
        ahead.read(1)
    assert not [item for item in threading.enumerate() if item.name == "read-ahead"]


def test_read_ahead_ends_with_its_block() -> None:
    with ReadAhead(io.BytesIO(bytes(100 * PIECE))) as ahead:
        ahead.read(1)
    assert not [item for item in threading.enumerate() if item.name == "read-ahead"]
