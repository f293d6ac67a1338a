"""Moving images between media: one walk for pull, push, save and load.

A medium is a ``BlobSource``, a ``BlobSink`` or both; nothing in between needs to know which. The
graph below a descriptor is copied children first, so that a sink never holds a manifest whose
layers are missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from workbench.errors import Corrupt, InvalidInput, LimitExceeded
from workbench.events import Event, LayerProgress, Report, silent
from workbench.oci.descriptor import CONFIGS, INDEXES, MANIFESTS, Descriptor
from workbench.oci.digest import Digest, VerifyingReader
from workbench.oci.manifest import Index, Manifest
from workbench.oci.reference import Reference

MANIFEST_LIMIT: Final = 4 << 20
_MAX_DEPTH: Final = 8
_STEP: Final = 512 << 10


class BlobSource(Protocol):
    """Where blobs and manifests come from."""

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """The bytes as a stream; the caller closes it. Raises BlobNotFound.

        A source that can start in the middle gives a stream that is ``seekable()``; a sink that
        kept a part of an earlier try calls ``seek(offset)`` once, before it reads.
        """


class BlobSink(Protocol):
    """Where blobs and manifests go. Calls come from several threads at once."""

    def has(self, descriptor: Descriptor) -> bool:
        """Whether it is there already, and will stay for as long as this copy takes."""

    def put(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        """Take the bytes; nothing is visible unless they were those promised. Raises Corrupt."""

    def tag(self, reference: Reference, descriptor: Descriptor) -> None:
        """Name what was put."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What ``LayerProgress.state`` says while a blob moves, when it has, and when it was there."""

    moving: str
    done: str
    there: str


PULL: Final = Words(moving="Downloading", done="Download complete", there="Already exists")
PUSH: Final = Words(moving="Pushing", done="Pushed", there="Layer already exists")


def copy(
    descriptor: Descriptor,
    source: BlobSource,
    sink: BlobSink,
    *,
    report: Report = silent,
    words: Words = PULL,
    select: Callable[[Index], Sequence[Descriptor]] | None = None,
    workers: int = 3,
) -> None:
    """Copy a manifest, index or blob with all below it, but for what the sink has.

    ``select`` chooses the entries of an index that are copied; None takes all. Layers of one image
    move in up to ``workers`` threads; ``report`` is called by one at a time. Raises what source
    and sink raise; what arrived before stays there.
    """
    _Copy(source, sink, _one_at_a_time(report), words, select, workers).graph(descriptor, 0)


def children(descriptor: Descriptor, raw: bytes) -> tuple[Descriptor, ...]:
    """What a manifest or index points to; nothing for other media types. Raises InvalidInput."""
    if descriptor.media_type in INDEXES:
        return Index.parse(raw).manifests
    if descriptor.media_type in MANIFESTS:
        manifest = Manifest.parse(raw)
        return (manifest.config, *manifest.layers)
    return ()


def read_manifest(source: BlobSource, descriptor: Descriptor) -> bytes:
    """A manifest or index whole and verified. Raises LimitExceeded, Corrupt."""
    if descriptor.size > MANIFEST_LIMIT:
        raise LimitExceeded(f"manifest {descriptor.digest} has {descriptor.size} bytes")
    with source.open(descriptor) as stream:
        reader = VerifyingReader(stream, descriptor.digest, descriptor.size)
        pieces = []
        while piece := reader.read(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


class _Copy:
    """One call of ``copy``."""

    def __init__(
        self,
        source: BlobSource,
        sink: BlobSink,
        report: Report,
        words: Words,
        select: Callable[[Index], Sequence[Descriptor]] | None,
        workers: int,
    ) -> None:
        self._source = source
        self._sink = sink
        self._report = report
        self._words = words
        self._select = select
        self._workers = workers
        self._done: set[Digest] = set()
        self._cancelled = threading.Event()

    def graph(self, descriptor: Descriptor, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise InvalidInput(f"{descriptor.digest}: indexes are nested too deeply")
        if descriptor.digest in self._done:
            return
        if descriptor.media_type not in MANIFESTS | INDEXES:
            self._blobs([descriptor])
            return
        raw = read_manifest(self._source, descriptor)
        if descriptor.media_type in INDEXES:
            index = Index.parse(raw)
            for child in self._select(index) if self._select else index.manifests:
                self.graph(child, depth + 1)
        else:
            self._blobs(children(descriptor, raw))
        if not self._sink.has(descriptor):
            with self._source.open(descriptor) as stream:
                self._sink.put(descriptor, stream)
        self._done.add(descriptor.digest)

    def _blobs(self, blobs: Iterable[Descriptor]) -> None:
        wanted = {item.digest: item for item in blobs if item.digest not in self._done}
        missing = []
        for blob in wanted.values():
            if self._sink.has(blob):
                self._tell(blob, self._words.there, blob.size)
            else:
                missing.append(blob)
        if len(missing) == 1 or self._workers < 2:
            for blob in missing:
                self._blob(blob)
        elif missing:
            self._side_by_side(missing)
        self._done.update(wanted)

    def _side_by_side(self, blobs: list[Descriptor]) -> None:
        with ThreadPoolExecutor(self._workers, thread_name_prefix="transfer") as pool:
            tasks = [pool.submit(self._blob, blob) for blob in blobs]
            try:
                wait(tasks, return_when=FIRST_EXCEPTION)
            finally:
                self._cancelled.set()
                for task in tasks:
                    task.cancel()
        self._cancelled.clear()
        # The first failure is the cause; the others only heard that the copy is over.
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
        for error in errors:
            if not isinstance(error, _Cancelled):
                raise error

    def _blob(self, blob: Descriptor) -> None:
        with self._source.open(blob) as stream:
            moving = _Moving(stream, blob, self._progress)
            self._sink.put(blob, moving)  # type: ignore[arg-type]
        self._tell(blob, self._words.done, blob.size)

    def _progress(self, blob: Descriptor, current: int) -> None:
        if self._cancelled.is_set() and current < blob.size:
            raise _Cancelled("the copy is over")
        self._tell(blob, self._words.moving, current)

    def _tell(self, blob: Descriptor, state: str, current: int) -> None:
        # Docker shows layers only; a configuration moves in silence.
        if blob.media_type not in CONFIGS:
            self._report(
                LayerProgress(id=blob.digest, state=state, current=current, total=blob.size)
            )


class _Cancelled(Exception):
    """Stops the other threads of a copy that has failed; never leaves this module."""


class _Moving:
    """A stream that tells how far it has been read."""

    def __init__(
        self,
        stream: BinaryIO,
        blob: Descriptor,
        progress: Callable[[Descriptor, int], None],
    ) -> None:
        self._stream = stream
        self._blob = blob
        self._progress = progress
        self._count = 0
        self._next = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._count += len(data)
        if self._count > self._blob.size:
            raise Corrupt(
                f"{self._blob.digest} is longer than the {self._blob.size} bytes promised"
            )
        if self._count >= self._next:
            self._next = self._count + _STEP
            self._progress(self._blob, self._count)
        return data

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._count = self._stream.seek(offset, whence)
        return self._count

    def close(self) -> None:
        self._stream.close()


def _one_at_a_time(report: Report) -> Report:
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            report(event)

    return tell
