"""The content store: blobs by digest in an OCI image layout, and names in its index.

    ROOT/oci-layout   index.json   blobs/sha256/<hex>     the layout that other tools read
    ROOT/ingest/<key>.part                                blobs on their way in, locked meanwhile
    ROOT/index.lock   sweep.lock                          who changes names; who deletes

A blob appears under its digest by one rename, after its bytes were verified; it is never changed.
Source: image-spec ``image-layout.md``.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from workbench.errors import BlobNotFound, Corrupt, InvalidInput, LimitExceeded
from workbench.oci.descriptor import Descriptor
from workbench.oci.digest import Digest
from workbench.oci.reference import Reference
from workbench.store.durable import sync_directory
from workbench.store.ingest import Writer
from workbench.store.locks import file_lock, still_there, try_file_lock
from workbench.store.names import LAYOUT, Names

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """``size`` is bytes; ``used`` when the blob was last written or asked for (epoch seconds)."""

    digest: Digest
    size: int
    used: float


class BlobReader(io.RawIOBase):
    """A blob as a stream that raises Corrupt at its end if the bytes do not have its digest."""

    def __init__(self, fd: int, descriptor: Descriptor) -> None:
        self._fd = fd
        self._descriptor = descriptor
        self._hash = hashlib.new(descriptor.digest.algorithm)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        count = os.readv(self._fd, [buffer])
        if count:
            self._hash.update(memoryview(buffer)[:count])
        elif len(buffer) and self._hash.hexdigest() != self._descriptor.digest.hex:
            raise Corrupt(f"blob {self._descriptor.digest} is damaged on disk")
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


class ContentStore:
    """Blobs and their names. Safe for many threads and processes on the same directory.

    ``durable`` makes every commit survive a power loss (fsync of file and directory).
    """

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.root = root
        self._durable = durable
        self._blobs = root / "blobs"
        self._ingest = root / "ingest"
        self._prepare()
        self._names = Names(root, durable=durable)

    def _prepare(self) -> None:
        for path in (self._blobs / "sha256", self._ingest):
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
        marker = self.root / "oci-layout"
        if not marker.exists():
            with file_lock(self.root / "index.lock"):
                marker.write_bytes(LAYOUT)

    # -- writing

    @contextmanager
    def ingest(
        self, expected: Descriptor | None = None, *, key: str | None = None
    ) -> Iterator[Writer]:
        """A writer for one blob; what was not committed when the block ends is dropped.

        With ``key``, bytes of a block that ended early are kept and the next ingest under the same
        key goes on at ``Writer.offset``; two ingests under one key take turns.
        """
        path, fd = self._open_partial(key)
        try:
            writer = Writer(path, fd, expected, self._publish, durable=self._durable)
            yield writer
            if key is not None and writer.committed is None and writer.offset == 0:
                path.unlink(missing_ok=True)
        finally:
            if key is None and still_there(fd, path):
                path.unlink(missing_ok=True)
            os.close(fd)

    def _open_partial(self, key: str | None) -> tuple[Path, int]:
        name = secrets.token_hex(16) if key is None else hashlib.sha256(key.encode()).hexdigest()
        path = self._ingest / f"{name}.part"
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if still_there(fd, path):
                return path, fd
            os.close(fd)

    def _publish(self, partial: Path, fd: int, digest: Digest) -> None:
        target = self.path(digest)
        # Shared with other commits, exclusive of the sweep's last look before it deletes.
        with file_lock(self.root / "sweep.lock", shared=True):
            if self._refresh(target):
                partial.unlink(missing_ok=True)
                return
            target.parent.mkdir(exist_ok=True)
            os.fchmod(fd, 0o644)
            os.utime(fd)
            partial.rename(target)
        if self._durable:
            sync_directory(target.parent)

    @staticmethod
    def _refresh(path: Path) -> bool:
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except PermissionError:
            return path.exists()
        return True

    def put(self, media_type: str, data: bytes) -> Descriptor:
        """Store a small blob, such as a manifest. Idempotent."""
        descriptor = Descriptor.of(media_type, data)
        if self.has(descriptor):
            return descriptor
        with self.ingest(descriptor) as writer:
            writer.write(data)
            return writer.commit()

    # -- reading

    def path(self, digest: Digest) -> Path:
        """Where the blob lies, or would lie."""
        return self._blobs / digest.algorithm / digest.hex

    def has(self, blob: Descriptor | Digest) -> bool:
        """Whether the blob is there. A yes counts as a use: a sweep spares it for a while."""
        digest = blob.digest if isinstance(blob, Descriptor) else blob
        with file_lock(self.root / "sweep.lock", shared=True):
            return self._refresh(self.path(digest))

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """The blob as a stream, verified when it ends. Raises BlobNotFound, Corrupt."""
        try:
            fd = os.open(self.path(descriptor.digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BlobNotFound(f"no blob {descriptor.digest} in {self.root}") from None
        size = os.fstat(fd).st_size
        if size != descriptor.size:
            os.close(fd)
            raise Corrupt(f"blob {descriptor.digest} has {size} bytes, not {descriptor.size}")
        return cast(BinaryIO, io.BufferedReader(BlobReader(fd, descriptor), _CHUNK))

    def read(self, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob whole, verified. Raises LimitExceeded above ``limit`` bytes."""
        if descriptor.size > limit:
            raise LimitExceeded(
                f"{descriptor.digest} has {descriptor.size} bytes; at most {limit} are allowed"
            )
        with self.open(descriptor) as stream:
            return stream.read()

    def info(self, digest: Digest) -> BlobInfo:
        """Raises BlobNotFound."""
        try:
            found = self.path(digest).stat()
        except FileNotFoundError:
            raise BlobNotFound(f"no blob {digest} in {self.root}") from None
        return BlobInfo(digest=digest, size=found.st_size, used=found.st_mtime)

    def walk(self) -> Iterator[BlobInfo]:
        """Every blob, in no order."""
        for folder in list(self._blobs.iterdir()):
            with os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(InvalidInput, FileNotFoundError):
                        digest = Digest(f"{folder.name}:{entry.name}")
                        found = entry.stat(follow_symlinks=False)
                        yield BlobInfo(digest=digest, size=found.st_size, used=found.st_mtime)

    # -- removing

    def delete(self, digest: Digest, *, unused_since: float | None = None) -> bool:
        """Remove a blob; False where it is not there, or was used after ``unused_since``."""
        path = self.path(digest)
        with file_lock(self.root / "sweep.lock"):
            try:
                if unused_since is not None and path.stat().st_mtime > unused_since:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def drop_partials(self, older_than: float) -> int:
        """Remove partial blobs untouched for ``older_than`` seconds and held by nobody; their
        number."""
        dropped = 0
        for path in self._ingest.glob("*.part"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime < older_than:
                    continue
                with try_file_lock(path) as held:
                    if held is not None:
                        path.unlink()
                        dropped += 1
        return dropped

    # -- names

    def tag(self, reference: Reference | str, descriptor: Descriptor) -> None:
        """Let ``reference`` name the descriptor's blob; a name that exists moves."""
        if not self.has(descriptor):
            raise BlobNotFound(f"no blob {descriptor.digest} to be named {reference}")
        self._names.set(reference, descriptor)

    def untag(self, reference: Reference | str) -> Descriptor | None:
        """Remove a name; what it named, or None where it named nothing."""
        return self._names.remove(reference)

    def resolve(self, reference: Reference | str) -> Descriptor:
        """What a name names. Raises ImageNotFound."""
        return self._names.get(reference)

    def references(self) -> dict[Reference, Descriptor]:
        """Every name and what it names."""
        return self._names.all()

    def keep(self, descriptor: Descriptor) -> None:
        """List a blob without a name, such as the image of a build without ``-t``."""
        self._names.keep(descriptor)

    def forget(self, descriptor: Descriptor) -> None:
        """Take a blob out of the list with all its names; its bytes go with the next sweep."""
        self._names.forget(descriptor)

    def images(self) -> tuple[tuple[Descriptor, tuple[Reference, ...]], ...]:
        """What is listed, named or not, each with its names."""
        return self._names.entries()
