"""An OCI image layout as a directory, such as other tools write: an end of a transfer.

The layout is not ours and may be hostile: names are not followed out of it, sizes are bounded,
and every byte is verified. Layouts in a tar are read by ``archive.py``.
Source: image-spec ``image-layout.md``.
"""

from __future__ import annotations

import dataclasses
import io
import os
import secrets
import threading
from pathlib import Path
from typing import BinaryIO, Final, cast

from workbench.errors import BlobNotFound, Corrupt, InvalidInput
from workbench.oci.descriptor import Descriptor
from workbench.oci.digest import Digest, VerifyingReader
from workbench.oci.manifest import Index
from workbench.oci.reference import Reference
from workbench.store.content import BlobReader
from workbench.store.durable import replace_file
from workbench.store.names import LAYOUT, named, reference_of, unnamed

_LIMIT: Final = 16 << 20


class LayoutDirectory:
    """A source and a sink. ``create`` makes the layout where there is none."""

    def __init__(self, root: Path, *, create: bool = False) -> None:
        self._root = root
        self._lock = threading.Lock()
        if create and not (root / "oci-layout").exists():
            (root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            (root / "oci-layout").write_bytes(LAYOUT)
            self._write_index(Index())
        if not (root / "oci-layout").is_file():
            raise InvalidInput(f"{root} is no OCI image layout: it has no file oci-layout")

    def index(self) -> Index:
        """The table of contents. Raises Corrupt."""
        try:
            return Index.parse(_read_bounded(self._root / "index.json"))
        except (InvalidInput, OSError) as error:
            raise Corrupt(f"{self._root}/index.json cannot be read: {error}") from error

    def images(self) -> tuple[tuple[Descriptor, Reference | None], ...]:
        """Every entry of the index, and its name if it has one."""
        return tuple((unnamed(item), reference_of(item)) for item in self.index().manifests)

    def open(self, descriptor: Descriptor) -> BinaryIO:
        path = self._path(descriptor.digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise BlobNotFound(f"no blob {descriptor.digest} in {self._root}") from error
        size = os.fstat(fd).st_size
        if size != descriptor.size:
            os.close(fd)
            raise Corrupt(f"blob {descriptor.digest} has {size} bytes, not {descriptor.size}")
        return cast(BinaryIO, io.BufferedReader(BlobReader(fd, descriptor), 1 << 20))

    def has(self, descriptor: Descriptor) -> bool:
        return self._path(descriptor.digest).is_file()

    def put(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        target = self._path(descriptor.digest)
        target.parent.mkdir(exist_ok=True)
        temporary = target.with_name(f".{secrets.token_hex(8)}")
        reader = VerifyingReader(stream, descriptor.digest, descriptor.size)
        try:
            with temporary.open("xb") as file:
                while data := reader.read(1 << 20):
                    file.write(data)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def tag(self, reference: Reference, descriptor: Descriptor) -> None:
        if not self.has(descriptor):
            raise BlobNotFound(f"no blob {descriptor.digest} to be named {reference}")
        with self._lock:
            index = self.index()
            others = [item for item in index.manifests if reference_of(item) != reference]
            entries = (*others, named(unnamed(descriptor), reference))
            self._write_index(dataclasses.replace(index, manifests=entries))

    def _write_index(self, index: Index) -> None:
        replace_file(self._root / "index.json", index.to_bytes(), durable=False)

    def _path(self, digest: Digest) -> Path:
        return self._root / "blobs" / digest.algorithm / digest.hex


def _read_bounded(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        raw = file.read(_LIMIT + 1)
    if len(raw) > _LIMIT:
        raise Corrupt(f"{path} has more than {_LIMIT} bytes")
    return raw
