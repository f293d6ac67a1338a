"""A few blobs at a time, started in order; events and results come to the caller's own thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final, Protocol, cast

from workbench.errors import Interrupted
from workbench.events import Event, LayerProgress, Report
from workbench.oci.descriptor import Descriptor

_INTERVAL: Final = 0.1
# Seconds that a worker gets to notice; one that waits for an answer to begin ends by itself.
_PATIENCE: Final = 2.0


class Watch:
    """What a job of one blob tells: its states, and its bytes at most ten times a second.

    Every call raises Interrupted when the whole is given up.
    """

    def __init__(self, descriptor: Descriptor, work: _Work) -> None:
        self.descriptor = descriptor
        self._work = work
        self._last = 0.0

    def state(self, state: str, current: int = 0) -> None:
        """Tell a new state, at once."""
        self._work.check()
        self._last = time.monotonic()
        total = self.descriptor.size
        event = LayerProgress(id=self.descriptor.digest, state=state, current=current, total=total)
        self._work.events.put(event)

    def bytes(self, state: str, current: int) -> None:
        """Tell how far it has come, if that was not told just now."""
        self._work.check()
        if time.monotonic() - self._last >= _INTERVAL:
            self.state(state, current)

    def reading(self, stream: BinaryIO, state: str) -> BinaryIO:
        """The stream, which tells ``state`` while it is read."""
        self._work.streams.add(stream)
        self._work.check()
        return cast(BinaryIO, _WatchedReader(stream, self, state))


class _WatchedReader:
    def __init__(self, stream: BinaryIO, watch: Watch, state: str) -> None:
        self._stream = stream
        self._watch = watch
        self._state = state
        self._count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._count += len(data)
        self._watch.bytes(self._state, self._count)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._count = self._stream.seek(offset, whence)
        return self._count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _WatchedReader:
        return self

    def __exit__(self, *_reason: object) -> None:
        self._stream.close()


class _Abortable(Protocol):
    def abort(self) -> None: ...


class _Work:
    """What the workers share with the caller."""

    def __init__(self, descriptors: Sequence[Descriptor]) -> None:
        self.events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.waiting: queue.SimpleQueue[Descriptor] = queue.SimpleQueue()
        self.finished: set[str] = set()
        self.failures: list[BaseException] = []
        self.streams: set[BinaryIO] = set()
        self.stop = threading.Event()
        for descriptor in descriptors:
            self.waiting.put(descriptor)

    def check(self) -> None:
        if self.stop.is_set():
            raise Interrupted("the transfer was given up")

    def give_up(self) -> None:
        self.stop.set()
        for stream in list(self.streams):
            abort = getattr(stream, "abort", None)
            if abort is not None:
                cast(_Abortable, stream).abort()


Job = Callable[[Descriptor, Watch], None]


def run_in_order(
    descriptors: Iterable[Descriptor], job: Job, report: Report, *, parallel: int
) -> Iterator[Descriptor]:
    """Do ``job`` for each blob, ``parallel`` at a time; yield each when it and all before are done.

    ``report`` is called in the caller's thread only. The first failure, a failing ``report``, or
    closing the iterator gives up the rest; the failure is raised.
    """
    ordered = list({item.digest: item for item in descriptors}.values())
    work = _Work(ordered)
    threads = [
        threading.Thread(target=_worker, args=(work, job), name=f"blob-{number}", daemon=True)
        for number in range(min(parallel, len(ordered)))
    ]
    try:
        for thread in threads:
            thread.start()
        for descriptor in ordered:
            while descriptor.digest not in work.finished:
                _tell(work.events.get(), work, report)
            yield descriptor
        while not work.events.empty():
            _tell(work.events.get(), work, report)
    finally:
        work.give_up()
        deadline = time.monotonic() + _PATIENCE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _tell(event: Event | None, work: _Work, report: Report) -> None:
    if work.failures:
        raise work.failures[0]
    if event is not None:
        report(event)


def _worker(work: _Work, job: Job) -> None:
    while not work.stop.is_set():
        try:
            descriptor = work.waiting.get_nowait()
        except queue.Empty:
            return
        try:
            job(descriptor, Watch(descriptor, work))
            work.finished.add(descriptor.digest)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            work.failures.append(error)
            return
        finally:
            work.events.put(None)
