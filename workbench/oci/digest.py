"""Digests, chain ids, and readers that hash or verify what flows through them.

Source: image-spec ``descriptor.md`` (digests) and ``config.md`` (layer chain id).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Protocol

from workbench.errors import Corrupt, InvalidInput

_FORMS = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}


class Digest(str):
    """``algorithm:hex``, validated on construction. Raises InvalidInput."""

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        algorithm, _, value = text.partition(":")
        form = _FORMS.get(algorithm)
        if form is None or not form.fullmatch(value):
            raise InvalidInput(
                f"invalid digest {text!r}", hint="a digest is sha256: and 64 hex digits"
            )
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The sha256 digest of ``data``."""
        return cls.from_hex(hashlib.sha256(data).hexdigest())

    @classmethod
    def from_hex(cls, value: str) -> Digest:
        """A sha256 digest out of its 64 hex digits."""
        return cls(f"sha256:{value}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first twelve hex digits, as Docker prints ids."""
        return self.hex[:12]


def chain_id(diff_ids: Iterable[Digest]) -> Digest:
    """The id of a stack of layers, bottom first. Raises InvalidInput where there are none."""
    chain: Digest | None = None
    for diff_id in diff_ids:
        chain = diff_id if chain is None else Digest.of(f"{chain} {diff_id}".encode())
    if chain is None:
        raise InvalidInput("an empty stack of layers has no chain id")
    return chain


class Readable(Protocol):
    """What the readers below wrap: anything with ``read``."""

    def read(self, size: int = -1, /) -> bytes: ...


class HashingReader:
    """Passes bytes through and knows their digest and count."""

    def __init__(self, source: Readable, algorithm: str = "sha256") -> None:
        self._source = source
        self._hash = hashlib.new(algorithm)
        self._algorithm = algorithm
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        self.count += len(data)
        return data

    @property
    def digest(self) -> Digest:
        """The digest of what has been read so far."""
        return Digest(f"{self._algorithm}:{self._hash.hexdigest()}")


class VerifyingReader:
    """Passes bytes through and raises Corrupt when they are not those that were promised.

    Too many bytes are refused as soon as they come; too few, or others, at the end. ``size`` is
    bytes; None leaves it open. The caller must read to the end for the promise to hold.
    """

    def __init__(self, source: Readable, expected: Digest, size: int | None = None) -> None:
        self._reader = HashingReader(source, expected.algorithm)
        self._expected = expected
        self._size = size

    def read(self, size: int = -1, /) -> bytes:
        data = self._reader.read(size)
        if self._size is not None and self._reader.count > self._size:
            raise Corrupt(f"{self._expected} is longer than the {self._size} bytes announced")
        if (not data and size != 0) or size < 0:
            self._check()
        return data

    def _check(self) -> None:
        if self._size is not None and self._reader.count != self._size:
            raise Corrupt(
                f"{self._expected} ended after {self._reader.count} of {self._size} bytes"
            )
        if self._reader.digest != self._expected:
            raise Corrupt(f"expected {self._expected}, but the bytes have {self._reader.digest}")
