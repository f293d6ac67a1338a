"""Writing `docker save` archives: an OCI layout with Docker's ``manifest.json``, as a stream.

Blobs go out as they come; only manifests and names are held until the end.
Source: image-spec ``image-layout.md``; moby ``image/spec/v1.2.md``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import BinaryIO, Final

from workbench.errors import BlobNotFound, LimitExceeded
from workbench.oci.codec import dumps
from workbench.oci.descriptor import INDEXES, MANIFESTS, Descriptor
from workbench.oci.digest import Digest, VerifyingReader
from workbench.oci.manifest import Index, Manifest
from workbench.oci.reference import Reference
from workbench.store.archive import DOCUMENT_LIMIT
from workbench.store.names import LAYOUT, named
from workbench.store.tar_entry import TarEntry
from workbench.store.tar_write import TarWriter

_PIECE: Final = 1 << 20


class ArchiveSink:
    """A ``BlobSink`` (see ``transfer.py``). ``close`` writes the tables; without it the archive
    is no archive. Blobs of several threads take turns."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._tar = TarWriter(write)
        self._turn = threading.Lock()
        self._seen: set[Digest] = set()
        self._manifests: dict[Digest, bytes] = {}
        self._roots: dict[Digest, Descriptor] = {}
        self._names: dict[Digest, list[Reference]] = {}
        for name in ("blobs/", "blobs/sha256/"):
            self._tar.add(TarEntry(name=name, kind="dir", mode=0o755))

    def has(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self._seen

    def put(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        with self._turn:
            if descriptor.digest in self._seen:
                return
            reader = VerifyingReader(stream, descriptor.digest, descriptor.size)
            if descriptor.media_type in MANIFESTS | INDEXES:
                raw = _whole(reader, descriptor)
                self._manifests[descriptor.digest] = raw
                self._file(_path(descriptor), raw)
            else:
                self._tar.add(_entry(_path(descriptor), descriptor.size))
                while data := reader.read(_PIECE):
                    self._tar.write(data)
            self._seen.add(descriptor.digest)

    def tag(self, reference: Reference, descriptor: Descriptor) -> None:
        self.add(descriptor)
        names = self._names[descriptor.digest]
        if reference not in names:
            names.append(reference)

    def add(self, descriptor: Descriptor) -> None:
        """List an image that was put and may have no name."""
        if descriptor.digest not in self._seen:
            raise BlobNotFound(f"no blob {descriptor.digest} in the archive")
        self._roots[descriptor.digest] = descriptor
        self._names.setdefault(descriptor.digest, [])

    def close(self) -> None:
        """Write the tables and the end mark. Does not close what is written to."""
        entries = []
        for digest, descriptor in self._roots.items():
            references = self._names[digest]
            entries += [named(descriptor, item) for item in references] or [descriptor]
        self._file("index.json", Index(manifests=tuple(entries)).to_bytes())
        tables = [self._docker_entry(digest) for digest in self._roots]
        self._file("manifest.json", dumps([item for item in tables if item is not None]))
        self._file("oci-layout", LAYOUT)
        if repositories := self._repositories():
            self._file("repositories", dumps(repositories))
        self._tar.close()

    def _docker_entry(self, digest: Digest) -> dict[str, object] | None:
        manifest = self._manifest(digest)
        if manifest is None:
            return None
        return {
            "Config": _path(manifest.config),
            "RepoTags": [item.familiar for item in self._names[digest] if item.tag],
            "Layers": [_path(item) for item in manifest.layers],
        }

    def _repositories(self) -> dict[str, dict[str, str]]:
        table: dict[str, dict[str, str]] = {}
        for digest, references in self._names.items():
            manifest = self._manifest(digest)
            if manifest is None or not manifest.layers:
                continue
            for item in references:
                if item.tag:
                    top = manifest.layers[-1].digest.hex
                    table.setdefault(item.familiar_name, {})[item.tag] = top
        return table

    def _manifest(self, digest: Digest) -> Manifest | None:
        """The manifest of a root; of an index the first that was put."""
        root = self._roots[digest]
        raw = self._manifests[digest]
        if root.media_type in MANIFESTS:
            return Manifest.parse(raw)
        for item in Index.parse(raw).manifests:
            if item.media_type in MANIFESTS and item.digest in self._manifests:
                return Manifest.parse(self._manifests[item.digest])
        return None

    def _file(self, name: str, data: bytes) -> None:
        self._tar.add(_entry(name, len(data)))
        self._tar.write(data)


def _entry(name: str, size: int) -> TarEntry:
    return TarEntry(name=name, kind="file", mode=0o644, size=size)


def _path(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"


def _whole(reader: VerifyingReader, descriptor: Descriptor) -> bytes:
    if descriptor.size > DOCUMENT_LIMIT:
        raise LimitExceeded(f"manifest {descriptor.digest} has {descriptor.size} bytes")
    pieces = []
    while piece := reader.read(_PIECE):
        pieces.append(piece)
    return b"".join(pieces)
