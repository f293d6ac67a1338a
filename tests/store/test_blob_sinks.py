"""The suite of sinks over the store, a layout in a folder, and an archive."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.suites.blob_sink import NAME, ROOT, BlobSinkSuite
from workbench.errors import BlobNotFound, Corrupt, InvalidInput, Unavailable
from workbench.oci.descriptor import OCI_LAYER, Descriptor
from workbench.store.archive import read_archive
from workbench.store.archive_write import ArchiveSink
from workbench.store.content import ContentStore
from workbench.store.layout import LayoutDirectory
from workbench.store.sink import ContentSink
from workbench.transfer import BlobSource


class TestContent(BlobSinkSuite):
    """The suite over the content store."""

    @pytest.fixture
    def sink(self, content: ContentStore) -> ContentSink:
        return ContentSink(content)

    @pytest.fixture
    def reread(self, content: ContentStore) -> Callable[[], BlobSource]:
        return lambda: content


class TestLayout(BlobSinkSuite):
    """The suite over a layout in a folder."""

    @pytest.fixture
    def sink(self, tmp_path: Path) -> LayoutDirectory:
        return LayoutDirectory(tmp_path / "layout", create=True)

    @pytest.fixture
    def reread(self, tmp_path: Path) -> Callable[[], BlobSource]:
        return lambda: LayoutDirectory(tmp_path / "layout")


class TestArchive(BlobSinkSuite):
    """The suite over an archive, which is read back into a store."""

    @pytest.fixture
    def out(self) -> io.BytesIO:
        return io.BytesIO()

    @pytest.fixture
    def sink(self, out: io.BytesIO) -> ArchiveSink:
        return ArchiveSink(out.write)

    @pytest.fixture
    def reread(
        self, out: io.BytesIO, sink: ArchiveSink, content: ContentStore
    ) -> Callable[[], BlobSource]:
        def read() -> BlobSource:
            sink.close()
            out.seek(0)
            (image,) = read_archive(out, content)
            assert (image.descriptor, image.references) == (ROOT, (NAME,))
            return content

        return read


class Breaking(io.BytesIO):
    """Fails after some bytes, as connections do; ``seekable`` as asked."""

    def __init__(self, data: bytes, limit: int, *, seekable: bool) -> None:
        super().__init__(data)
        self._limit = limit
        self._seekable = seekable
        self.sought: list[int] = []

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._limit:
            raise Unavailable("the connection broke")
        return super().read(min(size or 0, self._limit - self.tell()))

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.sought.append(offset)
        return super().seek(offset, whence)


@pytest.mark.parametrize("seekable", [True, False])
def test_a_broken_transfer_goes_on_where_it_can(content: ContentStore, seekable: bool) -> None:
    data = bytes(range(256)) * 100
    blob = Descriptor.of(OCI_LAYER, data)
    sink = ContentSink(content)
    with pytest.raises(Unavailable):
        sink.put(blob, Breaking(data, 9000, seekable=True))
    assert not sink.has(blob)
    second = Breaking(data, 1 << 30, seekable=seekable)
    sink.put(blob, second)
    assert second.sought == ([9000] if seekable else [])
    assert content.read(blob, 1 << 20) == data


def test_a_layout_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="oci-layout"):
        LayoutDirectory(tmp_path)


def test_a_hostile_layout_is_not_followed(tmp_path: Path) -> None:
    layout = LayoutDirectory(tmp_path / "layout", create=True)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    blob = Descriptor.of(OCI_LAYER, b"secret")
    (tmp_path / "layout/blobs/sha256" / blob.digest.hex).symlink_to(secret)
    with pytest.raises(BlobNotFound):
        layout.open(blob)
    (tmp_path / "layout/index.json").unlink()
    (tmp_path / "layout/index.json").symlink_to(secret)
    with pytest.raises(Corrupt):
        layout.index()


def test_a_layouts_names(tmp_path: Path) -> None:
    layout = LayoutDirectory(tmp_path / "layout", create=True)
    suite = BlobSinkSuite()
    suite.fill(layout)
    layout.tag(NAME, ROOT)
    layout.tag(NAME.with_tag("2"), ROOT)
    layout.tag(NAME, ROOT)
    assert layout.images() == ((ROOT, NAME.with_tag("2")), (ROOT, NAME))
