"""Being told when a group runs out of memory."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import Final, Self

from workbench.linux import cgroup_files as files
from workbench.linux import libc

_IN_MODIFY: Final = 0x2
_IN_NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | os.O_CLOEXEC
_BATCH: Final = 4096


class _Watch:
    """A descriptor that becomes readable, and a count of processes killed so far."""

    def __init__(self, descriptor: int, file: str) -> None:
        self._descriptor = descriptor
        self._file = file
        self._seen = self._count()

    def _count(self) -> int:
        return files.keyed(files.read_or(self._file)).get("oom_kill", 0)

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> int:
        """Processes killed since the last call (or the start). Does not block."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, _BATCH)
        before, self._seen = self._seen, self._count()
        return max(0, self._seen - before)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class EventWatch(_Watch):
    """cgroup v1: an eventfd(2) registered in ``cgroup.event_control``.

    It also becomes readable when the group is removed.
    """

    def __init__(self, directory: str) -> None:
        control = f"{directory}/memory.oom_control"
        descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            source = os.open(control, os.O_RDONLY | os.O_CLOEXEC)
            try:
                files.write(f"{directory}/cgroup.event_control", f"{descriptor} {source}")
            finally:
                os.close(source)
        except OSError:
            os.close(descriptor)
            raise
        super().__init__(descriptor, control)


class InotifyWatch(_Watch):
    """cgroup v2: inotify(7) on ``memory.events``, which the kernel touches when it counts."""

    def __init__(self, directory: str) -> None:
        events = f"{directory}/memory.events"
        descriptor = libc.call("inotify_init1", _IN_NONBLOCK_CLOEXEC)
        try:
            libc.call("inotify_add_watch", descriptor, os.fsencode(events), _IN_MODIFY)
        except OSError:
            os.close(descriptor)
            raise
        super().__init__(descriptor, events)
