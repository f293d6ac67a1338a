"""One blob on its way into the store: written beside it, verified, then renamed into place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from workbench.errors import Corrupt, InvalidInput, Unavailable
from workbench.oci.descriptor import Descriptor
from workbench.oci.digest import Digest

Publish = Callable[[Path, int, Digest], None]
_CHUNK = 1 << 20


class Writer:
    """Takes the bytes of one blob; ``commit`` makes it visible, nothing else does.

    ``offset`` is the number of bytes that are there already: more than 0 where an earlier ingest
    under the same key was cut off. A writer belongs to one thread at a time.
    """

    def __init__(
        self, path: Path, fd: int, expected: Descriptor | None, publish: Publish, *, durable: bool
    ) -> None:
        self._path = path
        self._fd = fd
        self._expected = expected
        self._publish = publish
        self._durable = durable
        self._algorithm = expected.digest.algorithm if expected else "sha256"
        self._hash = hashlib.new(self._algorithm)
        self.offset = 0
        self.committed: Descriptor | None = None
        self._resume()

    @property
    def digest(self) -> Digest:
        """The digest of what was written so far."""
        return Digest(f"{self._algorithm}:{self._hash.hexdigest()}")

    def write(self, data: bytes) -> int:
        """Append. Raises Corrupt as soon as more comes than was announced, Unavailable on a full
        disk."""
        size = self.offset + len(data)
        if self._expected is not None and size > self._expected.size:
            self.restart()
            raise Corrupt(
                f"{self._expected.digest} is longer than the {self._expected.size} bytes announced"
            )
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise Unavailable(f"cannot write to the store: {error}") from error
        self.offset = size
        return len(data)

    def restart(self) -> None:
        """Forget what was written, such as when a server cannot continue at ``offset``."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.new(self._algorithm)
        self.offset = 0

    def commit(self, media_type: str | None = None) -> Descriptor:
        """Verify and publish. Idempotent where the blob is there already.

        ``media_type`` may be left out where a descriptor was expected. Raises Corrupt, and drops
        the bytes, when they are not those that were promised.
        """
        digest = self.digest
        self._verify(digest)
        kind = media_type or (self._expected.media_type if self._expected else None)
        if kind is None:
            raise InvalidInput("a blob that nobody announced needs a media type")
        if self._durable:
            os.fdatasync(self._fd)
        self._publish(self._path, self._fd, digest)
        self.committed = Descriptor(media_type=kind, digest=digest, size=self.offset)
        return self.committed

    def _verify(self, digest: Digest) -> None:
        expected = self._expected
        if expected is None:
            return
        if self.offset != expected.size:
            raise Corrupt(f"{expected.digest} ended after {self.offset} of {expected.size} bytes")
        if digest != expected.digest:
            self.restart()
            raise Corrupt(f"expected {expected.digest}, but the bytes have {digest}")

    def _resume(self) -> None:
        size = os.fstat(self._fd).st_size
        if self._expected is not None and size > self._expected.size:
            self.restart()
            return
        os.lseek(self._fd, 0, os.SEEK_SET)
        while data := os.read(self._fd, _CHUNK):
            self._hash.update(data)
            self.offset += len(data)
