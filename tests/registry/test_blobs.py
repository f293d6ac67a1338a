"""Downloads: broken, resumed, wrong, endless."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time

import pytest

from tests.fakes.faults import Answer, Cut, Endless, HangUp, Slow, refusal
from tests.fakes.registry import FakeRegistry
from tests.registry.conftest import Naps, repository_at
from workbench.errors import BlobNotFound, Corrupt, InvalidInput, Unavailable
from workbench.oci.descriptor import OCI_LAYER, Descriptor
from workbench.oci.digest import Digest
from workbench.registry.client import Repository
from workbench.registry.http import Broken
from workbench.registry.session import Session
from workbench.registry.settings import Settings

DATA = os.urandom(3_000_000)
BLOB = Descriptor.of(OCI_LAYER, DATA)


def store(fake: FakeRegistry, data: bytes = DATA) -> None:
    fake.contents.add_blob("team/app", data)


@pytest.mark.parametrize("size", [-1, 1000_000, 65_537])
def test_whole_blobs(fake: FakeRegistry, repository: Repository, size: int) -> None:
    store(fake)
    with repository.open_blob(BLOB) as stream:
        parts = list(iter(lambda: stream.read(size), b""))
    assert b"".join(parts) == DATA
    assert len(fake.asked("GET", "blobs")) == 1


def test_reading_through_a_buffer(fake: FakeRegistry, repository: Repository) -> None:
    store(fake, b"one\ntwo\n")
    blob = Descriptor.of(OCI_LAYER, b"one\ntwo\n")
    with io.BufferedReader(repository.open_blob(blob)) as stream:  # type: ignore[arg-type]
        assert stream.readlines() == [b"one\n", b"two\n"]


def test_empty_blobs(fake: FakeRegistry, repository: Repository) -> None:
    store(fake, b"")
    with repository.open_blob(Descriptor.of(OCI_LAYER, b"")) as stream:
        assert stream.read() == b""
    wrong = Descriptor(media_type=OCI_LAYER, digest=BLOB.digest, size=0)
    fake.fault("GET", "blobs", Answer(200))
    with repository.open_blob(wrong) as stream, pytest.raises(Corrupt):
        stream.read()


def test_broken_downloads_go_on_where_they_were(
    fake: FakeRegistry, repository: Repository, naps: Naps
) -> None:
    store(fake)
    for _ in range(2):
        fake.fault("GET", "blobs", Cut(1_100_000))
    with repository.open_blob(BLOB) as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == BLOB.digest.hex
    ranges = [item.headers.get("Range") for item in fake.asked("GET", "blobs")]
    assert ranges[0] is None
    assert [int(text[6:-1]) >= 1_000_000 for text in ranges[1:] if text] == [True, True]
    assert len(naps) == 2


def test_broken_downloads_go_on_without_ranges(naps: Naps) -> None:
    with FakeRegistry(ranges=False) as fake:
        store(fake)
        fake.fault("GET", "blobs", Cut(2_000_000))
        repository = repository_at(fake.host, Session(Settings(), sleep=naps))
        with repository.open_blob(BLOB) as stream:
            assert stream.read() == DATA
        with repository.open_blob(BLOB, 1_000_000) as stream:
            assert stream.read() == DATA[1_000_000:]


def test_a_line_that_breaks_again_and_again_is_given_up(
    fake: FakeRegistry, repository: Repository
) -> None:
    store(fake)
    fake.fault("GET", "blobs", Cut(1000), times=50)
    with repository.open_blob(BLOB) as stream, pytest.raises(Broken):
        stream.read()
    assert len(fake.asked("GET", "blobs")) == 5


def test_a_slow_but_steady_line_may_break_often(fake: FakeRegistry, repository: Repository) -> None:
    data = os.urandom(12_000_000)
    store(fake, data)
    fake.fault("GET", "blobs", Cut(1_200_000), times=9)
    with repository.open_blob(Descriptor.of(OCI_LAYER, data)) as stream:
        assert stream.read() == data


def test_silence_counts_as_broken(naps: Naps, fake: FakeRegistry) -> None:
    store(fake)
    fake.fault("GET", "blobs", Slow(1.0))
    repository = repository_at(fake.host, Session(Settings(read_timeout=0.2), sleep=naps))
    with repository.open_blob(BLOB) as stream:
        assert stream.read() == DATA
    assert len(naps) == 1


@pytest.mark.parametrize("size", [len(DATA), -1, 100_000])
def test_wrong_bytes_are_never_handed_out_whole(
    fake: FakeRegistry, repository: Repository, size: int
) -> None:
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    fake.fault("GET", "blobs", Answer(200, {}, wrong))
    got = 0
    with repository.open_blob(BLOB) as stream, pytest.raises(Corrupt, match=BLOB.digest):
        while data := stream.read(size):
            got += len(data)
    assert got < len(DATA)


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x"])
def test_another_length_is_refused_at_once(
    fake: FakeRegistry, repository: Repository, data: bytes
) -> None:
    fake.fault("GET", "blobs", Answer(200, {}, data))
    with pytest.raises(Corrupt, match=f"has {len(data)} bytes"):
        repository.open_blob(BLOB)


def test_endless_bodies_end(fake: FakeRegistry, repository: Repository) -> None:
    zeros = Descriptor.of(OCI_LAYER, bytes(1_000_000))
    fake.fault("GET", "blobs", Endless())
    with repository.open_blob(zeros) as stream, pytest.raises(Corrupt, match="longer than"):
        stream.read()


def test_another_range_is_refused(fake: FakeRegistry, repository: Repository) -> None:
    for text in ("bytes 5-9/3000000", "nonsense"):
        fake.fault("GET", "blobs", Answer(206, {"Content-Range": text}, b"12345"))
        with pytest.raises(Unavailable, match="another range"):
            repository.open_blob(BLOB, 10)


def test_seeking_asks_for_the_rest_only(fake: FakeRegistry, repository: Repository) -> None:
    store(fake)
    with repository.open_blob(BLOB) as stream:
        assert stream.seekable()
        assert stream.seek(2_900_000) == stream.tell() == 2_900_000
        assert stream.read() == DATA[2_900_000:]
        assert stream.seek(0, io.SEEK_END) == len(DATA)
        assert stream.read() == b""
        stream.seek(0)
        assert stream.read() == DATA
        with pytest.raises(InvalidInput):
            stream.seek(len(DATA) + 1)
    assert [item.headers.get("Range") for item in fake.asked("GET", "blobs")] == [
        None,
        "bytes=2900000-",
        None,
    ]


def test_wrong_bytes_after_going_back_are_found(fake: FakeRegistry, repository: Repository) -> None:
    store(fake)
    with repository.open_blob(BLOB) as stream:
        stream.read(10)
        fake.fault("GET", "blobs", Answer(200, {}, bytes(len(DATA))))
        stream.seek(0)
        with pytest.raises(Corrupt):
            stream.read()


def test_missing_blobs(fake: FakeRegistry, repository: Repository) -> None:
    with pytest.raises(BlobNotFound, match=BLOB.digest):
        repository.open_blob(BLOB)
    store(fake)
    fake.fault("GET", "blobs", Cut(2_000_000))
    with repository.open_blob(BLOB) as stream:
        stream.read(1_000_000)
        fake.contents.names.clear()
        with pytest.raises(BlobNotFound):
            stream.read()


def test_sha512(fake: FakeRegistry, repository: Repository) -> None:
    digest = Digest(f"sha512:{hashlib.sha512(b'data').hexdigest()}")
    fake.fault("GET", "blobs", Answer(200, {}, b"data"))
    with repository.open_blob(Descriptor(media_type=OCI_LAYER, digest=digest, size=4)) as stream:
        assert stream.read() == b"data"


def test_errors_on_the_way_are_waited_out(
    fake: FakeRegistry, repository: Repository, naps: Naps
) -> None:
    store(fake)
    fake.fault("GET", "blobs", refusal(503, "UNAVAILABLE", Retry_After="7"))
    fake.fault("GET", "blobs", HangUp())
    with repository.open_blob(BLOB) as stream:
        assert stream.read() == DATA
    assert naps[0] == 7.0


def test_another_thread_can_end_a_wait(fake: FakeRegistry, repository: Repository) -> None:
    store(fake)
    fake.fault("GET", "blobs", _Stall())
    stream = repository.open_blob(BLOB)
    timer = threading.Timer(0.2, stream.abort)  # type: ignore[attr-defined]
    timer.start()
    started = time.monotonic()
    with pytest.raises(Broken):
        stream.read()
    assert time.monotonic() - started < 3
    timer.join()


class _Stall:
    """Half an answer, then silence."""

    def apply(self, handler: object) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.send_header("Content-Length", str(len(DATA)))  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        time.sleep(4)
