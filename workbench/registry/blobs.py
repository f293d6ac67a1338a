"""A download that goes on where a broken connection left it, and that is what was asked for.

Source: distribution-spec 1.1, "Pulling blobs"; RFC 9110 section 14 (ranges).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from typing import Any, Final

from workbench.errors import Corrupt, InvalidInput, Unavailable
from workbench.oci.descriptor import Descriptor
from workbench.registry.hosts import redact
from workbench.registry.http import Broken, Response

_CHUNK: Final = 1024 * 1024
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")

Fetch = Callable[[int], Response]
Pause = Callable[[int], None]


class BlobReader(io.BufferedIOBase):
    """The bytes of one blob, from ``offset`` on.

    The last bytes are handed out only after size and, where ``offset`` is 0, digest were found
    right; else Corrupt is raised. A connection that breaks is replaced, from the byte that was
    reached, up to ``tries`` times in a row without a whole chunk in between; then Broken is raised.

    ``seek`` starts anew from another byte: a sink that kept a part of an earlier try needs only
    the rest, and answers for the digest of the whole.
    """

    def __init__(
        self, descriptor: Descriptor, fetch: Fetch, pause: Pause, *, offset: int = 0, tries: int = 5
    ) -> None:
        super().__init__()
        self.descriptor = descriptor
        self._fetch = fetch
        self._pause = pause
        self._tries = tries
        self._position = offset
        self._hash = self._new_hash()
        self._broken = 0
        self._since_break = 0
        self._aborted = False
        self._response: Response | None = fetch(offset)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a byte; the registry is asked for it by the next ``read``."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.descriptor.size}
        target = base[whence] + offset
        if not 0 <= target <= self.descriptor.size:
            raise InvalidInput(f"{self.descriptor.digest} has no byte {target}")
        if target != self._position:
            self._drop()
            self._position = target
            self._hash = self._new_hash()
        return target

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes; everything that is left without one."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_CHUNK), b""))
        left = self.descriptor.size - self._position
        if size == 0 or left <= 0:
            return self._end()
        data = self._next(min(size, left))
        if self._hash is not None:
            self._hash.update(data)
        self._position += len(data)
        if self._position == self.descriptor.size:
            self._verify()
        return data

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(size if size >= 0 else _CHUNK)

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._drop()
        super().close()

    def abort(self) -> None:
        """Make a ``read`` that waits in another thread fail with Broken, soon."""
        self._aborted = True
        response = self._response
        if response is not None:
            response.abort()

    def _next(self, size: int) -> bytes:
        while True:
            try:
                data = self._current().read(size)
                if not data:
                    raise Broken(f"{self.descriptor.digest} ended after {self._position} bytes")
            except Broken as error:
                self._resume(error)
                continue
            self._since_break += len(data)
            if self._since_break >= _CHUNK:
                self._broken = 0
            return data

    def _resume(self, error: Broken) -> None:
        self._drop()
        self._broken += 1
        self._since_break = 0
        if self._aborted or self._broken >= self._tries:
            raise error
        self._pause(self._broken - 1)

    def _current(self) -> Response:
        if self._response is None:
            self._response = self._fetch(self._position)
        return self._response

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response = None

    def _new_hash(self) -> Any:
        return None if self._position else hashlib.new(self.descriptor.digest.algorithm)

    def _verify(self) -> None:
        expected, response = self.descriptor, self._current()
        if response.length is None and response.read(1):
            self._drop()
            raise Corrupt(f"{expected.digest} is longer than the {expected.size} bytes announced")
        if self._hash is None:
            return
        found = f"{expected.digest.algorithm}:{self._hash.hexdigest()}"
        if found != expected.digest:
            raise Corrupt(f"expected {expected.digest}, but the registry's bytes have {found}")

    def _end(self) -> bytes:
        if self._position == 0 and self.descriptor.size == 0:
            self._verify()
        return b""


def from_offset(response: Response, descriptor: Descriptor, offset: int) -> Response:
    """The answer, its next byte being the one at ``offset``; skips where a range was ignored.

    Raises Corrupt when the registry has another length than the descriptor, or another range.
    """
    start = _start(response)
    if start not in (0, offset):
        response.close()
        raise Unavailable(f"{redact(response.url)} sent another range than was asked for")
    length = response.length
    if length is not None and start + length != descriptor.size:
        response.close()
        raise Corrupt(
            f"{descriptor.digest} has {start + length} bytes at the registry,"
            f" but {descriptor.size} were announced"
        )
    skip = offset - start
    while skip > 0:
        data = response.read(min(skip, _CHUNK))
        if not data:
            raise Broken(f"{descriptor.digest} ended before byte {offset}")
        skip -= len(data)
    return response


def _start(response: Response) -> int:
    if response.status != 206:
        return 0
    match = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return int(match[1]) if match else -1
