"""The content digests of what a step reads: names, modes, owners and contents, never times.

Files are hashed in parallel, and only where the cache of digests does not know them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from workbench.build.definition import CopyDefinition
from workbench.build.digests import DigestCache, Identity, hash_file, identity
from workbench.build.ignore import Patterns
from workbench.build.merged import Found, MergedTree, Parts, split_path
from workbench.build.selection import SourceRoot, entries, source_roots

_SMALL: Final = 64 * 1024
_MOST_OPEN: Final = 64
_MOST_NAMED: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """``digest`` stands for everything read; ``files`` has the digest of each by path.

    Above 2,000 files only directories of the first level are named. ``seen`` is what each file was.
    """

    digest: str
    files: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[Parts, Identity] = field(default_factory=dict)


def fingerprint_copy(
    tree: MergedTree, definition: CopyDefinition, digests: DigestCache, *, owners: bool
) -> Fingerprint:
    """What a COPY reads. ``owners`` counts them too. Raises NotFound, InvalidInput."""
    exclude = Patterns.of(definition.exclude)
    roots = source_roots(tree, definition.sources, parents=definition.parents)
    return _fingerprint(tree, roots, exclude, digests, owners=owners)


def fingerprint_path(
    tree: MergedTree, path: str, digests: DigestCache, *, owners: bool
) -> Fingerprint:
    """Everything at and below a path, as a mount shows it. Raises NotFound."""
    written = "/" + "/".join(split_path(path))
    roots = source_roots(tree, (written,), parents=False)
    return _fingerprint(tree, roots, Patterns(), digests, owners=owners)


def _fingerprint(
    tree: MergedTree,
    roots: Iterator[SourceRoot],
    exclude: Patterns,
    digests: DigestCache,
    *,
    owners: bool,
) -> Fingerprint:
    whole = hashlib.sha256()
    files: dict[str, str] = {}
    seen: dict[Parts, Identity] = {}
    with _Hashing(digests) as hashing:
        pending = [
            (source, path, found.path, _facts(found, owners), hashing.start(found, seen))
            for source in roots
            for path, found in entries(tree, source, exclude)
        ]
    for source, path, place, facts, content in pending:
        text = content.result() if isinstance(content, Future) else content
        name = "/".join(path) or ("" if source.is_dir else source.name)
        line = f"{source.written}\0{name}\0{facts}\0".encode("utf-8", "surrogateescape")
        whole.update(line + text + b"\n")
        files["/".join(place)] = hashlib.sha256(facts.encode() + text).hexdigest()[:16]
    return Fingerprint(digest=whole.hexdigest(), files=_named(files), seen=seen)


def _facts(found: Found, owners: bool) -> str:
    status = found.status
    kind = stat.filemode(status.st_mode)[0]
    mode = "" if found.is_link else f"{stat.S_IMODE(status.st_mode):o}"
    owner = f" {status.st_uid}:{status.st_gid}" if owners else ""
    device = f" {status.st_rdev}" if kind in "cb" else ""
    return f"{kind}{mode}{owner}{device}"


def _named(files: Mapping[str, str]) -> Mapping[str, str]:
    if len(files) <= _MOST_NAMED:
        return files
    groups: dict[str, list[str]] = {}
    for name, digest in files.items():
        groups.setdefault(name.partition("/")[0], []).append(digest)
    if len(groups) > _MOST_NAMED:
        groups = {"*": [digest for items in groups.values() for digest in items]}
    return {
        name: hashlib.sha256("".join(items).encode()).hexdigest()[:16]
        for name, items in groups.items()
    }


class _Hashing:
    """Hashes files while a walk goes on: small ones at once, others in a few threads."""

    def __init__(self, digests: DigestCache) -> None:
        self._digests = digests
        self._pool: ThreadPoolExecutor | None = None
        self._open: list[Future[bytes]] = []

    def __enter__(self) -> _Hashing:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def start(self, found: Found, seen: dict[Parts, Identity]) -> bytes | Future[bytes]:
        """The content of an entry as a digest, now or soon; a link's is its text."""
        if found.is_link:
            return os.fsencode(found.readlink())
        if not found.is_file:
            return b""
        seen[found.path] = identity(found.status)
        known = self._digests.get(found.status)
        if known is not None:
            return known
        fd = found.open()
        if found.status.st_size <= _SMALL:
            return self._hash(fd, found.status)
        return self._later(fd, found.status)

    def _later(self, fd: int, status: os.stat_result) -> Future[bytes]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
        if len(self._open) >= _MOST_OPEN:
            self._open.pop(0).result()
        future = self._pool.submit(self._hash, fd, status)
        self._open.append(future)
        return future

    def _hash(self, fd: int, status: os.stat_result) -> bytes:
        try:
            digest = hash_file(fd, status.st_size)
        finally:
            os.close(fd)
        self._digests.put(status, digest)
        return digest
