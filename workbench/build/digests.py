"""Digests of files, remembered by inode, size and times, so that an unchanged file is not read.

A file changed so lately that its times could not tell a further change apart is not remembered.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

Identity = tuple[int, int, int, int, int]

_RECORD: Final = struct.Struct("<QQQqq32s")
_MAGIC: Final = b"digests1"
_CHUNK: Final = 1 << 20
_SMALL: Final = 1 << 16
_RACY_NS: Final = 100_000_000
_MOST: Final = 2_000_000


def identity(status: os.stat_result) -> Identity:
    """What a file's content is remembered under."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def hash_file(fd: int, size: int) -> bytes:
    """The sha256 of an open file from its start; ``size`` is what it is thought to have."""
    digest = hashlib.sha256()
    if size < _SMALL:
        while data := os.read(fd, _SMALL):
            digest.update(data)
        return digest.digest()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    while count := os.readv(fd, [buffer]):
        digest.update(view[:count])
    return digest.digest()


class DigestCache:
    """Safe for many threads. With ``path`` it is read when first needed and kept by ``save``."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[Identity, bytes] = {}
        self._used: dict[Identity, bytes] = {}
        self._loaded = path is None
        self._lock = threading.Lock()

    def get(self, status: os.stat_result) -> bytes | None:
        """The digest of a file with this status; None where it must be read."""
        if not self._loaded:
            self._load()
        key = identity(status)
        found = self._used.get(key) or self._known.get(key)
        if found is not None:
            self._used[key] = found
        return found

    def put(self, status: os.stat_result, digest: bytes) -> None:
        """Remember, unless the file changed a moment ago."""
        if time.time_ns() - status.st_ctime_ns > _RACY_NS:
            self._used[identity(status)] = digest

    def _load(self) -> None:
        with self._lock:
            if self._loaded or self._path is None:
                return
            with suppress(FileNotFoundError):
                self._known = _decode(self._path.read_bytes())
            self._loaded = True

    def save(self) -> None:
        """Write what is known to ``path``, replacing it whole. Does nothing where nothing is new.

        A cache: what another process wrote meanwhile may be lost, and a broken file is ignored.
        """
        with self._lock:
            fresh = {**self._known, **self._used}
            if self._path is None or len(fresh) == len(self._known) or len(fresh) > _MOST:
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
            temporary.write_bytes(_encode(fresh))
            temporary.replace(self._path)
            self._known = fresh


def _encode(entries: dict[Identity, bytes]) -> bytes:
    body = b"".join(_RECORD.pack(*key, digest) for key, digest in entries.items())
    return _MAGIC + hashlib.sha256(body).digest() + body


def _decode(data: bytes) -> dict[Identity, bytes]:
    head = len(_MAGIC) + 32
    body = data[head:]
    good = data[: len(_MAGIC)] == _MAGIC and len(body) % _RECORD.size == 0
    if not good or hashlib.sha256(body).digest() != data[len(_MAGIC) : head]:
        return {}
    return {(a, b, c, d, e): digest for a, b, c, d, e, digest in _RECORD.iter_unpack(body)}
