"""Copying graphs between sources and sinks: order, what is skipped, and what happens on failure."""

from __future__ import annotations

import io
import threading
import time
from typing import BinaryIO, cast

import pytest

from workbench.errors import BlobNotFound, Corrupt, InvalidInput, LimitExceeded, Unavailable
from workbench.events import Event, LayerProgress
from workbench.oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from workbench.oci.digest import Digest
from workbench.oci.manifest import Index, Manifest
from workbench.oci.reference import Reference
from workbench.transfer import PUSH, children, copy, read_manifest


class Memory:
    """A source and sink in memory that keeps the order of what happened."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.order: list[Digest] = []
        self.opened: list[Digest] = []
        self.broken: set[Digest] = set()
        self.lock = threading.Lock()

    def add(self, media_type: str, data: bytes) -> Descriptor:
        blob = Descriptor.of(media_type, data)
        self.blobs[blob.digest] = data
        return blob

    def open(self, descriptor: Descriptor) -> BinaryIO:
        with self.lock:
            self.opened.append(descriptor.digest)
        if descriptor.digest in self.broken:
            raise Unavailable("the source broke")
        try:
            return io.BytesIO(self.blobs[descriptor.digest])
        except KeyError:
            raise BlobNotFound(descriptor.digest) from None

    def has(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self.blobs

    def put(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        pieces = []
        while piece := stream.read(1 << 16):
            pieces.append(piece)
        data = b"".join(pieces)
        if Digest.of(data) != descriptor.digest:
            raise Corrupt("other bytes")
        with self.lock:
            self.blobs[descriptor.digest] = data
            self.order.append(descriptor.digest)

    def tag(self, reference: Reference, descriptor: Descriptor) -> None:
        raise AssertionError("a copy names nothing")


def image(source: Memory, *layers: bytes, config: bytes = b"{}") -> Descriptor:
    manifest = Manifest(
        config=source.add(OCI_CONFIG, config),
        layers=tuple(source.add(OCI_LAYER, data) for data in layers),
    )
    return source.add(OCI_MANIFEST, manifest.to_bytes())


@pytest.mark.parametrize("workers", [1, 3])
def test_children_come_before_parents(workers: int) -> None:
    source, sink = Memory(), Memory()
    one, two = image(source, b"a", b"b"), image(source, b"b", b"c")
    root = source.add(OCI_INDEX, Index(manifests=(one, two)).to_bytes())
    copy(root, source, sink, workers=workers)
    assert sink.blobs == source.blobs
    assert len(sink.order) == len(set(sink.order))
    for parent in (one, two, root):
        place = sink.order.index(parent.digest)
        for child in children(parent, source.blobs[parent.digest]):
            assert sink.order.index(child.digest) < place


def test_what_is_there_is_not_moved() -> None:
    source, sink = Memory(), Memory()
    root = image(source, b"a", b"b")
    sink.add(OCI_LAYER, b"a")
    events: list[Event] = []
    copy(root, source, sink, report=events.append)
    assert Digest.of(b"a") not in source.opened
    states = {(event.id, event.state) for event in events if isinstance(event, LayerProgress)}
    assert states == {
        (Digest.of(b"a"), "Already exists"),
        (Digest.of(b"b"), "Downloading"),
        (Digest.of(b"b"), "Download complete"),
    }


def test_a_hole_below_a_manifest_is_filled() -> None:
    source, sink = Memory(), Memory()
    root = image(source, b"a", b"b")
    copy(root, source, sink)
    del sink.blobs[Digest.of(b"b")]
    copy(root, source, sink)
    assert sink.blobs == source.blobs


def test_pushes_have_words_of_their_own() -> None:
    source, sink = Memory(), Memory()
    events: list[LayerProgress] = []
    copy(image(source, b"a"), source, sink, report=events.append, words=PUSH)  # type: ignore[arg-type]
    assert [event.state for event in events] == ["Pushing", "Pushed"]
    copy(image(source, b"a"), source, sink, report=events.append, words=PUSH)  # type: ignore[arg-type]
    assert events[-1].state == "Layer already exists"


def test_one_platform_of_many() -> None:
    source, sink = Memory(), Memory()
    one, two = image(source, b"a"), image(source, b"b", config=b"{ }")
    root = source.add(OCI_INDEX, Index(manifests=(one, two)).to_bytes())
    copy(root, source, sink, select=lambda index: index.manifests[1:])
    assert set(sink.blobs) == {root.digest, two.digest, Digest.of(b"b"), Digest.of(b"{ }")}


def test_a_failure_stops_the_copy_before_the_parent() -> None:
    source, sink = Memory(), Memory()
    root = image(source, *(b"%d" % number for number in range(20)))
    source.broken.add(Digest.of(b"7"))
    with pytest.raises(Unavailable, match="the source broke"):
        copy(root, source, sink)
    assert root.digest not in sink.blobs
    assert not [item for item in threading.enumerate() if item.name.startswith("transfer")]


def test_raising_from_the_callback_cancels() -> None:
    source, sink = Memory(), Memory()
    root = image(source, b"x" * 5_000_000, b"y" * 5_000_000)

    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(root, source, sink, report=stop)
    assert root.digest not in sink.blobs


def test_the_callback_is_called_by_one_thread_at_a_time() -> None:
    source, sink = Memory(), Memory()
    root = image(source, *(bytes([number]) * 700_000 for number in range(12)))
    inside: list[int] = []
    worst = [0]

    def report(_event: Event) -> None:
        inside.append(1)
        worst[0] = max(worst[0], len(inside))
        time.sleep(0.001)
        inside.pop()

    copy(root, source, sink, report=report, workers=4)
    assert worst[0] == 1


@pytest.mark.parametrize("data", [b"other", b"far too many bytes", b""])
def test_a_source_that_lies_is_found_out(data: bytes) -> None:
    source, sink = Memory(), Memory()
    root = image(source, b"honest")
    source.blobs[Digest.of(b"honest")] = data
    with pytest.raises(Corrupt):
        copy(root, source, sink)
    root = image(source, b"fine")
    source.blobs[root.digest] = data
    with pytest.raises(Corrupt):
        copy(root, source, sink)


def test_bounds() -> None:
    source, sink = Memory(), Memory()
    huge = Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(b"x"), size=1 << 30)
    with pytest.raises(LimitExceeded):
        read_manifest(source, huge)
    nested = image(source, b"a")
    for _ in range(12):
        nested = source.add(OCI_INDEX, Index(manifests=(nested,)).to_bytes())
    with pytest.raises(InvalidInput, match="nested"):
        copy(nested, source, sink)


def test_a_lone_blob() -> None:
    source, sink = Memory(), Memory()
    copy(source.add("application/x", b"data"), source, sink)
    assert list(sink.blobs.values()) == [b"data"]


def test_streams_keep_their_seek() -> None:
    class Seeking(Memory):
        def put(self, descriptor: Descriptor, stream: BinaryIO) -> None:
            assert stream.seekable()
            assert stream.seek(3) == 3
            self.blobs[descriptor.digest] = b"abc" + cast(bytes, stream.read(100))

    source, sink = Memory(), Seeking()
    events: list[LayerProgress] = []
    copy(source.add(OCI_LAYER, b"abcdef"), source, sink, report=events.append)  # type: ignore[arg-type]
    assert list(sink.blobs.values()) == [b"abcdef"]
    assert events[0].current == 6
