"""How a process gets into a cgroup without the wait that moving one costs.

Moving another process takes a lock whose writer waits for all processors to pass through the
scheduler (5 to 20 ms). Two ways avoid it: a thread that moves *itself* through ``tasks`` of v1
(Linux 5.18), and a process that begins in its group (CLONE_INTO_CGROUP of clone3(2), v2).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from workbench.linux import process
from workbench.linux.cgroup import Cgroup
from workbench.runtime.channel import Channel


def fork_into(group: Cgroup | None, flags: int) -> tuple[int, bool]:
    """Fork; the pid, and whether the child begins in the group. Raises OSError.

    Where the kernel or the group does not have it, the child begins where we are.
    """
    place = group.paths.get("") if group is not None else None
    if place is not None:
        with contextlib.suppress(OSError):
            descriptor = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return process.fork(flags, cgroup=descriptor), True
            finally:
                os.close(descriptor)
    return process.fork(flags), False


def admit(group: Cgroup, pid: int, channel: Channel, *, inside: bool) -> None:
    """Tell the child to proceed: with the files through which it moves itself, or once moved.

    The files are opened by us, and so is the permission: the child may have none. Raises OSError.
    """
    with _doors(group) as doors:
        if not doors and not inside:
            group.add(pid)
        channel.send_descriptors("proceed", doors)


@contextlib.contextmanager
def _doors(group: Cgroup) -> Iterator[list[int]]:
    """``tasks`` of every directory of v1, each once; nothing for v2."""
    places = {place for name, place in group.paths.items() if name}
    opened: list[int] = []
    try:
        for place in sorted(places):
            opened.append(os.open(f"{place}/tasks", os.O_WRONLY | os.O_CLOEXEC))
        yield opened
    finally:
        for descriptor in opened:
            os.close(descriptor)


def move_in(doors: list[int]) -> None:
    """The child's part: 0 is the caller. Raises OSError."""
    try:
        for descriptor in doors:
            os.write(descriptor, b"0")
    finally:
        for descriptor in doors:
            os.close(descriptor)
