"""Several blobs at once: order, progress, failure, giving up."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterable
from typing import BinaryIO

import pytest

from tests.fakes.faults import Answer, Slow
from tests.fakes.registry import FakeRegistry
from tests.registry.conftest import Naps, repository_at
from workbench.errors import BlobNotFound, Corrupt
from workbench.events import Event, LayerProgress
from workbench.oci.descriptor import OCI_LAYER, Descriptor
from workbench.registry.client import Repository
from workbench.registry.parallel import Watch, run_in_order
from workbench.registry.pull import download
from workbench.registry.push import upload
from workbench.registry.session import Session
from workbench.registry.settings import Settings

LAYERS = [os.urandom(200_000) for _ in range(6)]
BLOBS = [Descriptor.of(OCI_LAYER, data) for data in LAYERS]


class Shelf:
    """A sink in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def has(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self.kept

    def put(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        parts = list(iter(lambda: stream.read(65_536), b""))
        self.kept[descriptor.digest] = b"".join(parts)


class Told(list[Event]):
    """A report that remembers the thread too."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def __call__(self, event: Event) -> None:
        self.threads.add(threading.get_ident())
        self.append(event)

    def states(self, blob: Descriptor) -> list[str]:
        mine = [e.state for e in self if isinstance(e, LayerProgress) and e.id == blob.digest]
        return [state for index, state in enumerate(mine) if mine[index - 1 : index] != [state]]


def store(fake: FakeRegistry, layers: Iterable[bytes] = LAYERS, name: str = "team/app") -> None:
    for data in layers:
        fake.contents.add_blob(name, data)


def test_download_in_order(fake: FakeRegistry, repository: Repository) -> None:
    store(fake)
    fake.fault("GET", BLOBS[0].digest, Slow(0.3))
    shelf, told = Shelf(), Told()
    shelf.kept[BLOBS[2].digest] = LAYERS[2]
    assert list(download(BLOBS, repository.open_blob, shelf, told)) == BLOBS
    assert shelf.kept == {blob.digest: data for blob, data in zip(BLOBS, LAYERS, strict=True)}
    assert told.threads == {threading.get_ident()}
    assert told.states(BLOBS[0]) == ["Waiting", "Downloading", "Download complete"]
    assert told.states(BLOBS[2]) == ["Waiting", "Already exists"]
    assert len(fake.asked("GET", "blobs")) == 5


def test_each_blob_is_fetched_once(fake: FakeRegistry, repository: Repository) -> None:
    store(fake)
    twice = [BLOBS[0], BLOBS[1], BLOBS[0]]
    assert list(download(twice, repository.open_blob, Shelf())) == BLOBS[:2]
    assert len(fake.asked("GET", "blobs")) == 2


def test_nothing_to_do(repository: Repository) -> None:
    assert list(download([], repository.open_blob, Shelf())) == []


def test_no_more_than_asked_run_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def job(_descriptor: Descriptor, _watch: Watch) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    list(run_in_order(BLOBS, job, Told(), parallel=2))
    assert most == 2


def test_progress_is_told_ten_times_a_second_at_most() -> None:
    told = Told()

    def job(descriptor: Descriptor, watch: Watch) -> None:
        stream = watch.reading(io.BytesIO(bytes(300)), "Downloading")
        while stream.read(1):
            time.sleep(0.001)

    list(run_in_order(BLOBS[:1], job, told, parallel=1))
    counts = [event.current for event in told if isinstance(event, LayerProgress)]
    assert 3 <= len(counts) <= 12
    assert counts == sorted(counts)


def test_the_first_failure_is_raised_and_the_rest_given_up(
    fake: FakeRegistry, repository: Repository
) -> None:
    store(fake)
    fake.fault("GET", BLOBS[1].digest, Answer(200, {}, bytes(200_000)))
    shelf = Shelf()
    with pytest.raises(Corrupt):
        list(download(BLOBS, repository.open_blob, shelf, parallel=1))
    assert set(shelf.kept) == {BLOBS[0].digest}


def test_a_later_failure_does_not_wait_for_an_earlier_blob(
    fake: FakeRegistry, repository: Repository
) -> None:
    store(fake, LAYERS[:1])
    fake.fault("GET", BLOBS[0].digest, Slow(1.5))
    started = time.monotonic()
    with pytest.raises(BlobNotFound):
        list(download(BLOBS[:2], repository.open_blob, Shelf()))
    assert time.monotonic() - started < 3.0


def test_a_failing_report_gives_up(fake: FakeRegistry, repository: Repository) -> None:
    store(fake)

    def report(event: Event) -> None:
        if isinstance(event, LayerProgress) and event.state == "Download complete":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(download(BLOBS, repository.open_blob, Shelf(), report))
    names = [item.name for item in threading.enumerate() if item.name.startswith("blob-")]
    assert not names


def test_closing_the_iterator_gives_up(fake: FakeRegistry, repository: Repository) -> None:
    store(fake)
    shelf = Shelf()
    work = download(BLOBS, repository.open_blob, shelf, parallel=1)
    assert next(work) == BLOBS[0]
    work.close()  # type: ignore[attr-defined]
    assert len(shelf.kept) < len(BLOBS)
    assert not [item for item in threading.enumerate() if item.name.startswith("blob-")]


def test_upload_sends_only_what_is_missing(fake: FakeRegistry, repository: Repository) -> None:
    store(fake, LAYERS[:2])
    store(fake, LAYERS[2:3], "team/base")
    told = Told()
    sources = {BLOBS[2].digest: "team/base", BLOBS[3].digest: "team/nowhere"}

    def opened(descriptor: Descriptor) -> BinaryIO:
        return io.BytesIO(LAYERS[BLOBS.index(descriptor)])

    assert list(upload(BLOBS, opened, repository, told, sources=sources)) == BLOBS
    assert told.states(BLOBS[0]) == ["Waiting", "Layer already exists"]
    assert told.states(BLOBS[2]) == ["Waiting", "Pushing", "Mounted from"]
    assert told.states(BLOBS[3]) == ["Waiting", "Pushing", "Pushed"]
    assert len(fake.asked("PUT")) == 3
    assert all(("team/app", blob.digest) in fake.contents.names for blob in BLOBS)
    list(upload(BLOBS, opened, repository))
    assert len(fake.asked("PUT")) == 3


def test_a_failing_upload(fake: FakeRegistry, naps: Naps) -> None:
    repository = repository_at(fake.host, Session(Settings(), sleep=naps))
    with pytest.raises(Corrupt):
        list(upload(BLOBS, lambda _blob: io.BytesIO(b"short"), repository))
