"""A loop over epoll(7) for the small processes of this package: descriptors and timers."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT


class Timer:
    """A call in the future; ``cancel`` may be called at any time."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Calls one handler after another; each runs to its end. Single-threaded."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._sequence = itertools.count()
        self.stopped = False

    def watch(self, descriptor: int, handler: Callable[[], None], events: int = READ) -> None:
        """Call the handler when the descriptor is ready or its peer is gone."""
        if descriptor in self._handlers:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """Must come before the descriptor is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        due = time.monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._sequence), timer))
        return timer

    def run(self) -> None:
        """Until somebody sets ``stopped``."""
        while not self.stopped:
            for descriptor, _ in self._epoll.poll(self._patience()):
                if handler := self._handlers.get(descriptor):
                    handler()
            self._run_timers()

    def _patience(self) -> float:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return -1
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            if callback := heapq.heappop(self._timers)[2].callback:
                callback()
