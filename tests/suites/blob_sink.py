"""What every end of a transfer does: a suite for sinks, and for those that are sources too."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest

from workbench.errors import BlobNotFound, Corrupt
from workbench.oci.descriptor import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from workbench.oci.manifest import Manifest
from workbench.oci.reference import Reference
from workbench.transfer import BlobSink, BlobSource

NAME = Reference.parse("team/tool:1.2")
LAYER = Descriptor.of(OCI_LAYER, b"layer" * 1000)
CONFIG = Descriptor.of(
    OCI_CONFIG, b'{"architecture":"amd64","os":"linux","rootfs":{"diff_ids":[]}}'
)
MANIFEST = Manifest(config=CONFIG, layers=(LAYER,))
BYTES = {
    LAYER.digest: b"layer" * 1000,
    CONFIG.digest: b'{"architecture":"amd64","os":"linux","rootfs":{"diff_ids":[]}}',
    MANIFEST.descriptor.digest: MANIFEST.to_bytes(),
}
ROOT = MANIFEST.descriptor


def stream(descriptor: Descriptor) -> io.BytesIO:
    return io.BytesIO(BYTES[descriptor.digest])


class BlobSinkSuite:
    """Subclass it beside fixtures ``sink`` and ``reread``: what was put, read back as a source."""

    @pytest.fixture
    def reread(self, sink: BlobSink) -> Callable[[], BlobSource]:
        raise AssertionError("a subclass gives this fixture")

    def fill(self, sink: BlobSink) -> None:
        for item in (LAYER, CONFIG, ROOT):
            sink.put(item, stream(item))  # type: ignore[arg-type]

    def test_what_was_put_is_there(self, sink: BlobSink, reread: Callable[[], BlobSource]) -> None:
        assert not sink.has(LAYER)
        self.fill(sink)
        assert sink.has(LAYER)
        sink.tag(NAME, ROOT)
        source = reread()
        for item in (LAYER, CONFIG, ROOT):
            with source.open(item) as opened:
                assert opened.read() == BYTES[item.digest]

    def test_a_blob_may_come_twice(self, sink: BlobSink, reread: Callable[[], BlobSource]) -> None:
        self.fill(sink)
        self.fill(sink)
        sink.tag(NAME, ROOT)
        sink.tag(NAME, ROOT)
        with reread().open(LAYER) as opened:
            assert opened.read() == BYTES[LAYER.digest]

    @pytest.mark.parametrize("data", [b"", b"layer", b"LAYER" * 1000, b"layer" * 1000 + b"x"])
    def test_other_bytes_are_refused(self, sink: BlobSink, data: bytes) -> None:
        with pytest.raises(Corrupt):
            sink.put(LAYER, io.BytesIO(data))
        assert not sink.has(LAYER)

    def test_only_what_is_there_is_named(self, sink: BlobSink) -> None:
        with pytest.raises(BlobNotFound):
            sink.tag(NAME, ROOT)

    def test_several_threads_put_at_once(
        self, sink: BlobSink, reread: Callable[[], BlobSource]
    ) -> None:
        blobs = {number: (b"%d " % number) * 50_000 for number in range(6)}
        threads = [
            threading.Thread(
                target=sink.put, args=(Descriptor.of(OCI_LAYER, data), io.BytesIO(data))
            )
            for data in [*blobs.values(), *blobs.values()]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.fill(sink)
        sink.tag(NAME, ROOT)
        source = reread()
        for data in blobs.values():
            with source.open(Descriptor.of(OCI_LAYER, data)) as opened:
                assert opened.read() == data

    def test_what_is_missing_cannot_be_opened(
        self, sink: BlobSink, reread: Callable[[], BlobSource]
    ) -> None:
        self.fill(sink)
        sink.tag(NAME, ROOT)
        source = reread()
        with pytest.raises(BlobNotFound):
            source.open(Descriptor.of(OCI_MANIFEST, b"never"))
