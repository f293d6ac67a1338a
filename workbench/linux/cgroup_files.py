"""Reading, writing and removing what lies in a cgroup file system."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_DELETE_PATIENCE: Final = 5.0  # seconds; processes that were killed take a moment to be gone
_FIRST_WAIT: Final = 0.0005
_LONGEST_WAIT: Final = 0.05


def read(path: str) -> str:
    """The text of a file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode("ascii", "replace")


def read_or(path: str, default: str = "") -> str:
    """The text of a file, or ``default`` where it is missing or cannot be read."""
    try:
        return read(path)
    except OSError:
        return default


def number(path: str) -> int | None:
    """The number in a file; None where there is no file, or it says ``max``."""
    text = read_or(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def keyed(text: str) -> dict[str, int]:
    """Lines of ``key number``, as in memory.stat."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def write(path: str, value: str) -> None:
    """Write in one call, as control files want it. Raises OSError with the path and value."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode("ascii"))
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = f"{error.strerror} (writing {value!r})"
        raise OSError(error.errno, reason, path) from error


def below(directory: str) -> Iterator[str]:
    """The groups below ``directory``, then itself: children before parents."""
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.is_dir()]
    except FileNotFoundError:
        return
    for name in names:
        yield from below(f"{directory}/{name}")
    yield directory


def members(directory: str) -> tuple[int, ...]:
    """Processes of the group and those below it, each once.

    0 stands for those of other pid namespaces and is left out. Raises OSError unless the group
    went away.
    """
    found: dict[int, None] = {}
    for group in below(directory):
        try:
            text = read(f"{group}/cgroup.procs")
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP}:
                continue
            raise
        found.update(dict.fromkeys(int(line) for line in text.split()))
    return tuple(pid for pid in found if pid > 0)


def signal_all(directory: str, number: int = signal.SIGKILL) -> int:
    """Send a signal to every process of the group; how many there were."""
    pids = members(directory)
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    return len(pids)


def waits(patience: float) -> Iterator[float]:
    """Longer and longer waits in seconds, each slept already, until ``patience`` is over."""
    end = time.monotonic() + patience
    wait = _FIRST_WAIT
    while time.monotonic() < end:
        time.sleep(wait)
        yield wait
        wait = min(wait * 2, _LONGEST_WAIT)


def delete(directory: str) -> None:
    """Remove the group and those below it; waits while processes are ending. Raises OSError."""
    for group in below(directory):
        _remove(group)


def _remove(group: str) -> None:
    pauses = waits(_DELETE_PATIENCE)
    while True:
        try:
            Path(group).rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or next(pauses, None) is None:
                raise
        else:
            return
