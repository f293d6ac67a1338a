"""Reading `docker save` archives and OCI layouts in a tar: one pass, blobs straight to the store.

Three forms are understood: Docker before 25 (``manifest.json``, ``<id>/layer.tar``), Docker since
25 (an OCI layout that has ``manifest.json`` too) and plain OCI layouts; each also packed with
gzip or zstd. Memory is bounded: only small documents are held.
Source: image-spec ``image-layout.md``; moby ``image/spec/v1.2.md`` for ``manifest.json``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.errors import BlobNotFound, Corrupt, InvalidInput, LimitExceeded
from workbench.oci.codec import key, loads
from workbench.oci.descriptor import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    DOCKER_MANIFEST,
    INDEXES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
)
from workbench.oci.digest import Digest, Readable
from workbench.oci.image import ImageConfig
from workbench.oci.manifest import Index, Manifest
from workbench.oci.reference import Reference
from workbench.store.compression import ReadAhead, detect, unpacked
from workbench.store.content import ContentStore
from workbench.store.names import reference_of, unnamed
from workbench.store.tar_entry import TarEntry
from workbench.store.tar_read import TarReader
from workbench.store.tree import split

DOCUMENT_LIMIT: Final = 4 << 20
_DOCUMENTS: Final = ("manifest.json", "index.json", "repositories", "oci-layout")
# Each layer's own configuration in the first form; nobody reads it since manifest.json.
_LEGACY: Final = (("json",), ("VERSION",))
_LAYERS: Final = {"": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP, "zstd": DOCKER_LAYER_ZSTD}
_BLOB: Final = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)")
_CONFIG: Final = re.compile(r"([0-9a-f]{64})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedImage:
    """An image that was read: its manifest or index in the store, and its names."""

    descriptor: Descriptor
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerEntry:
    """One image of ``manifest.json``: paths inside the archive."""

    config: str = key("Config")
    repo_tags: tuple[str, ...] = key("RepoTags", default=())
    layers: tuple[str, ...] = key("Layers", default=())
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A file of the archive that is now a blob; ``media_type`` as its first bytes say."""

    digest: Digest
    size: int
    media_type: str


def read_archive(
    stream: Readable,
    content: ContentStore,
    *,
    max_entries: int = 1_000_000,
    max_bytes: int = 256 * 1024**3,
) -> tuple[ArchivedImage, ...]:
    """Take every image of an archive into the store; names are returned, not set.

    Raises InvalidInput for a tar that holds no image, Corrupt for damage, LimitExceeded.
    """
    head = _Head(stream)
    with ReadAhead(unpacked(head, detect(head.peek()))) as ahead:
        reader = TarReader(ahead, max_entries=max_entries, max_bytes=max_bytes)
        archive = _Archive(content)
        for entry in reader:
            archive.member(entry, reader)
        reader.drain()
    return archive.images()


class _Archive:
    """What one pass over a tar has found."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._files: dict[str, _Member] = {}
        self._links: dict[str, str] = {}
        self._documents: dict[str, bytes] = {}

    def member(self, entry: TarEntry, reader: TarReader) -> None:
        parts = split(entry.name)
        name = "/".join(parts)
        if entry.kind in ("symlink", "hardlink"):
            base = "/".join(parts[:-1]) if entry.kind == "symlink" else ""
            self._links[name] = "/".join(split(f"{base}/{entry.target}"))
        elif entry.kind == "file":
            pieces = (data for _, data in _without_holes(entry, reader))
            if name in _DOCUMENTS:
                self._documents[name] = _small(pieces, entry.size, name)
            elif parts[-1:] not in _LEGACY:
                self._files[name] = self._blob(pieces, name)

    def _blob(self, pieces: Iterator[bytes], name: str) -> _Member:
        with self._content.ingest() as writer:
            head = b""
            for piece in pieces:
                if len(head) < 4:
                    head += piece[:4]
                writer.write(piece)
            digest = writer.digest
            promised = _promised(name)
            if promised is not None and promised != digest:
                raise Corrupt(f"{name} in the archive has the digest {digest}")
            media_type = _LAYERS[detect(head)]
            writer.commit(media_type)
            return _Member(digest=digest, size=writer.offset, media_type=media_type)

    def images(self) -> tuple[ArchivedImage, ...]:
        if "index.json" in self._documents:
            return self._from_index()
        if "manifest.json" in self._documents:
            return tuple(self._from_docker(entry) for entry in self._docker_entries())
        raise InvalidInput(
            "the archive holds no image",
            hint="it has neither manifest.json nor index.json; a bare file tree is for import",
        )

    # -- an OCI layout, with Docker's names where there are any

    def _from_index(self) -> tuple[ArchivedImage, ...]:
        index = Index.parse(self._documents["index.json"])
        names: dict[Digest, list[Reference]] = {}
        entries: dict[Digest, Descriptor] = {}
        for item in index.manifests:
            if not self._content.has(item):
                raise Corrupt(f"the archive lists {item.digest}, but does not hold it")
            entries.setdefault(item.digest, unnamed(item))
            if (reference := reference_of(item)) is not None:
                names.setdefault(item.digest, []).append(reference)
        self._add_docker_names(entries, names)
        return tuple(
            ArchivedImage(descriptor=item, references=tuple(dict.fromkeys(names.get(digest, ()))))
            for digest, item in entries.items()
        )

    def _add_docker_names(
        self, entries: dict[Digest, Descriptor], names: dict[Digest, list[Reference]]
    ) -> None:
        if "manifest.json" not in self._documents:
            return
        configs = {
            config: digest for digest, item in entries.items() for config in self._configs(item)
        }
        for entry in self._docker_entries():
            file = self._file(entry.config)
            digest = configs.get(file.digest)
            if digest is not None:
                names.setdefault(digest, []).extend(_references(entry))

    def _configs(self, item: Descriptor, depth: int = 0) -> Iterator[Digest]:
        """The configurations below a manifest or index, as far as the archive has them."""
        if depth > 4 or not self._content.has(item):
            return
        raw = self._content.read(item, DOCUMENT_LIMIT)
        if item.media_type in INDEXES:
            for child in Index.parse(raw).manifests:
                yield from self._configs(child, depth + 1)
        else:
            yield Manifest.parse(raw).config.digest

    # -- manifest.json alone

    def _docker_entries(self) -> tuple[DockerEntry, ...]:
        return loads(
            tuple[DockerEntry, ...], self._documents["manifest.json"], what="manifest.json"
        )

    def _from_docker(self, entry: DockerEntry) -> ArchivedImage:
        file = self._file(entry.config)
        config = Descriptor(media_type=DOCKER_CONFIG, digest=file.digest, size=file.size)
        parsed = ImageConfig.parse(self._content.read(config, DOCUMENT_LIMIT))
        layers = [self._file(name) for name in entry.layers]
        if len(layers) != len(parsed.rootfs.diff_ids):
            raise Corrupt(
                f"{entry.config} lists {len(parsed.rootfs.diff_ids)} layers, "
                f"manifest.json {len(layers)}"
            )
        manifest = Manifest(
            media_type=DOCKER_MANIFEST,
            config=config,
            layers=tuple(
                Descriptor(media_type=item.media_type, digest=item.digest, size=item.size)
                for item in layers
            ),
        )
        descriptor = self._content.put(DOCKER_MANIFEST, manifest.to_bytes())
        return ArchivedImage(descriptor=descriptor, references=_references(entry))

    def _file(self, name: str) -> _Member:
        name = "/".join(split(name))
        for _ in range(8):
            if name in self._files:
                return self._files[name]
            if name not in self._links:
                break
            name = self._links[name]
        raise Corrupt(f"the archive names {name!r}, but does not hold it")


def _references(entry: DockerEntry) -> tuple[Reference, ...]:
    return tuple(Reference.parse(text) for text in entry.repo_tags)


def _promised(name: str) -> Digest | None:
    """The digest that a member's own name promises."""
    if match := _BLOB.fullmatch(name):
        algorithm, value = match.groups()
        if algorithm != "sha256":
            raise InvalidInput(f"blobs in archives must be sha256: {name}")
        return Digest(f"{algorithm}:{value}")
    if match := _CONFIG.fullmatch(name):
        return Digest.from_hex(match[1])
    return None


def _without_holes(entry: TarEntry, reader: TarReader) -> Iterator[tuple[int, bytes]]:
    if entry.sparse is not None:
        raise InvalidInput(f"{entry.name} is a sparse file; archives of images hold none")
    yield from reader.data()


def _small(pieces: Iterator[bytes], size: int, name: str) -> bytes:
    if size > DOCUMENT_LIMIT:
        raise LimitExceeded(f"{name} in the archive has {size} bytes")
    return b"".join(pieces)


class _Head:
    """A stream whose first bytes can be looked at before they are read."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._kept = b""

    def peek(self) -> bytes:
        while len(self._kept) < 4:
            more = self._source.read(1 << 16)
            if not more:
                break
            self._kept += more
        return self._kept[:4]

    def read(self, size: int = -1, /) -> bytes:
        if self._kept:
            kept = self._kept if size < 0 else self._kept[:size]
            self._kept = self._kept[len(kept) :]
            return kept
        return self._source.read(size)


def platforms_present(content: ContentStore, descriptor: Descriptor) -> tuple[Descriptor, ...]:
    """The manifests below an archived image that are whole in the store.

    Docker saves an index with all its entries, but only the blobs of some platforms.
    """
    if descriptor.media_type in (OCI_MANIFEST, DOCKER_MANIFEST):
        return (descriptor,) if _whole(content, descriptor) else ()
    if descriptor.media_type not in INDEXES:
        raise InvalidInput(f"{descriptor.media_type!r} is no image")
    index = Index.parse(content.read(descriptor, DOCUMENT_LIMIT))
    found: list[Descriptor] = []
    for item in index.manifests:
        if item.media_type == OCI_INDEX or not content.has(item):
            continue
        if _whole(content, item):
            found.append(item)
    return tuple(found)


def _whole(content: ContentStore, descriptor: Descriptor) -> bool:
    try:
        manifest = Manifest.parse(content.read(descriptor, DOCUMENT_LIMIT))
    except BlobNotFound:
        return False
    return all(content.has(item) for item in (manifest.config, *manifest.layers))
