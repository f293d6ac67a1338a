"""One event loop over epoll(7): descriptors, timers and ended children. No threads."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
GONE: Final = select.EPOLLHUP | select.EPOLLERR


class Timer:
    """A call in the future; ``cancel`` may be called at any time."""

    __slots__ = ("callback", "due")

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Calls handlers when something happens. Every handler runs to its end before the next."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._sequence = itertools.count()
        self._children: dict[int, Callable[[int], None]] = {}
        self._wake: tuple[int, int] | None = None
        self.stopped = False

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call ``handler(events)`` when the descriptor is ready, or its peer is gone."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        """Wait for other events of a watched descriptor; 0 leaves only the loss of the peer."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, (timer.due, next(self._sequence), timer))
        return timer

    def child(self, pid: int, callback: Callable[[int], None]) -> None:
        """Call ``callback(status)`` with the status of wait(2) when the process has ended."""
        self._children[pid] = callback

    def forget_child(self, pid: int) -> None:
        """Let it be reaped without a word."""
        self._children.pop(pid, None)

    def catch_children(self) -> None:
        """Take over SIGCHLD: every child that ends is reaped, known or adopted."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = reader, writer
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.watch(reader, READ, self._woken)

    def _woken(self, _events: int) -> None:
        assert self._wake is not None
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake[0], 4096)
        self.reap()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if callback := self._children.pop(pid, None):
                callback(status)

    def run(self) -> None:
        """Work until somebody sets ``stopped``."""
        while not self.stopped:
            self.turn()

    def turn(self) -> None:
        """Wait once, for as long as the next timer allows, and call what is due."""
        for fd, events in self._epoll.poll(self._patience()):
            if handler := self._handlers.get(fd):
                handler(events)
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
            timer = heapq.heappop(self._timers)[2]
            if callback := timer.callback:
                callback()

    def close(self) -> None:
        if self._wake is not None:
            signal.set_wakeup_fd(-1)
            for fd in self._wake:
                os.close(fd)
        self._epoll.close()


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler, unlike SIG_IGN, does not outlive exec(2) in a child."""
