"""Uploads: whole, in chunks, broken, refused."""

from __future__ import annotations

import io
import os
from typing import IO

import pytest

from tests.fakes.faults import Answer, CutUpload, HangUp, refusal
from tests.fakes.registry import FakeRegistry
from tests.registry.conftest import Naps, repository_at
from workbench.errors import Corrupt, Denied, Unavailable
from workbench.oci.descriptor import OCI_LAYER, Descriptor
from workbench.registry.client import Repository
from workbench.registry.http import Broken
from workbench.registry.session import Session
from workbench.registry.settings import Settings

DATA = os.urandom(2_500_000)
BLOB = Descriptor.of(OCI_LAYER, DATA)


@pytest.fixture
def chunked(fake: FakeRegistry, naps: Naps) -> Repository:
    return repository_at(fake.host, Session(Settings(chunk=1_000_000), sleep=naps))


class Pipe(io.RawIOBase):
    """A stream that cannot go back."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(size)


def arrived(fake: FakeRegistry) -> bool:
    return fake.contents.blobs.get(BLOB.digest) == DATA


def test_small_blobs_go_in_one_request(fake: FakeRegistry, repository: Repository) -> None:
    seen: list[int] = []
    assert repository.push_blob(BLOB, io.BytesIO(DATA), sent=seen.append)
    assert arrived(fake)
    assert seen[-1] == len(DATA)
    assert seen == sorted(seen)
    assert [item.method for item in fake.requests] == ["POST", "PUT"]


def test_large_blobs_go_in_chunks(fake: FakeRegistry, chunked: Repository) -> None:
    assert chunked.push_blob(BLOB, Pipe(DATA))  # type: ignore[arg-type]
    assert arrived(fake)
    ranges = [item.headers["Content-Range"] for item in fake.asked("PATCH")]
    assert ranges == ["0-999999", "1000000-1999999", "2000000-2499999"]


def test_the_registry_may_ask_for_larger_chunks(naps: Naps) -> None:
    with FakeRegistry(least_chunk=2_000_000) as fake:
        session = Session(Settings(chunk=1_000_000), sleep=naps)
        repository_at(fake.host, session).put(BLOB, io.BytesIO(DATA))
        assert arrived(fake)
        assert [item.length for item in fake.asked("PATCH")] == [2_000_000, 500_000]


def test_a_broken_chunk_goes_on_where_the_registry_lost_it(
    fake: FakeRegistry, chunked: Repository, naps: Naps
) -> None:
    fake.fault("PATCH", "uploads", CutUpload(300_000))
    fake.fault("PATCH", "uploads", HangUp())
    chunked.put(BLOB, io.BytesIO(DATA))
    assert arrived(fake)
    assert fake.asked("PATCH")[-1].headers["Content-Range"].endswith("-2499999")
    assert any(item.headers["Content-Range"].startswith("300000-") for item in fake.asked("PATCH"))
    assert len(fake.asked("POST")) == 1
    assert len(naps) == 2


def test_a_broken_whole_upload_begins_anew(fake: FakeRegistry, repository: Repository) -> None:
    fake.fault("PUT", "uploads", CutUpload(300_000))
    stream = io.BytesIO(b"before" + DATA)
    stream.seek(6)
    repository.put(BLOB, stream)
    assert arrived(fake)
    assert len(fake.asked("POST")) == 2


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_what_cannot_go_back_is_not_sent_twice(fake: FakeRegistry, naps: Naps, method: str) -> None:
    chunk = 1_000_000 if method == "PATCH" else 10_000_000
    repository = repository_at(fake.host, Session(Settings(chunk=chunk), sleep=naps))
    fake.fault(method, "uploads", CutUpload(300_000))
    with pytest.raises(Broken):
        repository.push_blob(BLOB, Pipe(DATA))  # type: ignore[arg-type]
    assert not arrived(fake)
    assert len(fake.asked(method)) == 1


def test_giving_up(fake: FakeRegistry, repository: Repository, chunked: Repository) -> None:
    fake.fault("PUT", "uploads", HangUp(), times=20)
    with pytest.raises(Broken):
        repository.put(BLOB, io.BytesIO(DATA))
    assert len(fake.asked("PUT")) == 5
    fake.fault("PATCH", "uploads", HangUp(), times=100)
    with pytest.raises(Broken):
        chunked.put(BLOB, io.BytesIO(DATA))


@pytest.mark.parametrize("chunk", [1_000_000, 10_000_000])
@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x"])
def test_streams_of_another_length(fake: FakeRegistry, naps: Naps, data: bytes, chunk: int) -> None:
    repository = repository_at(fake.host, Session(Settings(chunk=chunk), sleep=naps))
    with pytest.raises(Corrupt):
        repository.push_blob(BLOB, io.BytesIO(data))
    assert not fake.contents.blobs


def test_other_bytes_are_refused_by_the_registry(
    fake: FakeRegistry, repository: Repository
) -> None:
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    with pytest.raises(Corrupt, match="digest invalid"):
        repository.push_blob(BLOB, io.BytesIO(wrong))


def test_a_source_that_fails(repository: Repository) -> None:
    class Failing(Pipe):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(Unavailable, match=r"cannot read sha256:.*Input/output error"):
        repository.push_blob(BLOB, Failing(b""))  # type: ignore[arg-type]


def test_refused_before_anything_is_sent(fake: FakeRegistry, repository: Repository) -> None:
    fake.fault("POST", "uploads", refusal(403, "DENIED"))
    stream: IO[bytes] = io.BytesIO(DATA)
    with pytest.raises(Denied, match="push access denied"):
        repository.push_blob(BLOB, stream)  # type: ignore[arg-type]
    assert stream.tell() == 0


def test_a_full_registry_is_waited_for(
    fake: FakeRegistry, repository: Repository, naps: Naps
) -> None:
    fake.fault("POST", "uploads", refusal(429, "TOOMANYREQUESTS", Retry_After="3"))
    repository.put(BLOB, io.BytesIO(DATA))
    assert arrived(fake)
    assert naps == [3.0]


def test_an_opened_upload_is_not_opened_twice_after_an_error(
    fake: FakeRegistry, repository: Repository
) -> None:
    fake.fault("POST", "uploads", refusal(500, "UNKNOWN"))
    with pytest.raises(Unavailable):
        repository.put(BLOB, io.BytesIO(DATA))
    assert len(fake.asked("POST")) == 1


def test_upload_locations_elsewhere(fake: FakeRegistry, repository: Repository) -> None:
    with FakeRegistry() as other:
        other.contents.uploads["there"] = bytearray()
        location = f"{other.url}/v2/team/app/blobs/uploads/there?x=1"
        fake.fault("POST", "uploads", Answer(202, {"Location": location}))
        repository.put(BLOB, io.BytesIO(DATA))
        assert other.contents.blobs[BLOB.digest] == DATA
        assert "x=1&digest=" in other.asked("PUT")[0].path
    fake.fault("POST", "uploads", Answer(202))
    with pytest.raises(Unavailable, match="lacks a Location"):
        repository.put(BLOB, io.BytesIO(DATA))


@pytest.mark.parametrize("mount", [True, False])
def test_mounting(naps: Naps, mount: bool) -> None:
    with FakeRegistry(mount=mount) as fake:
        fake.contents.add_blob("team/base", DATA)
        repository = repository_at(fake.host, Session(Settings(), sleep=naps))
        assert repository.mount_blob(BLOB, "team/base") is mount
        assert repository.has(BLOB) is mount
        assert not fake.contents.uploads
        sent = repository.push_blob(BLOB, io.BytesIO(DATA), source="team/base")
        assert sent is not mount
        assert repository.has(BLOB)
