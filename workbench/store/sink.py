"""The content store as an end of a transfer: blobs arrive verified, cut-off ones go on later."""

from __future__ import annotations

from typing import BinaryIO

from workbench.oci.descriptor import Descriptor
from workbench.oci.reference import Reference
from workbench.store.content import ContentStore

_PIECE = 1 << 20


class ContentSink:
    """A ``BlobSink`` (see ``transfer.py``) that puts into a content store.

    A blob whose stream fails is kept as a part; the next ``put`` of it seeks to where that ended
    if the stream can.
    """

    def __init__(self, store: ContentStore) -> None:
        self._store = store

    def has(self, descriptor: Descriptor) -> bool:
        return self._store.has(descriptor)

    def put(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        with self._store.ingest(descriptor, key=descriptor.digest) as writer:
            if self._store.has(descriptor):
                # Another copy brought it while we waited for our turn.
                writer.restart()
                return
            if writer.offset and writer.offset < descriptor.size and stream.seekable():
                stream.seek(writer.offset)
            elif writer.offset and writer.offset < descriptor.size:
                writer.restart()
            while writer.offset < descriptor.size or not descriptor.size:
                data = stream.read(_PIECE)
                if not data:
                    break
                writer.write(data)
            else:
                # Read past the last byte: sources that verify do so at their end.
                writer.write(stream.read(1))
            writer.commit()

    def tag(self, reference: Reference, descriptor: Descriptor) -> None:
        self._store.tag(reference, descriptor)
