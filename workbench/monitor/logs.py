"""Reading a container's log: from the start or the end, in a span of time, live, across rotation.

The writer is ``logwriter.py``. Times are nanoseconds since the epoch.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from workbench.errors import InvalidInput
from workbench.monitor.logwriter import numbered
from workbench.monitor.times import from_text

POLL: Final = 0.05
BLOCK: Final = 64 * 1024
LONGEST_LINE: Final = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry; ``data`` keeps its line end, and has none where a line goes on or never ended."""

    time_ns: int
    stream: str
    data: bytes


def never() -> bool:
    return False


def follow(
    path: Path,
    *,
    follow: bool = False,
    since: int | None = None,
    until: int | None = None,
    tail: int | None = None,
    finished: Callable[[], bool] = never,
) -> Iterator[LogEntry]:
    """The entries of the log at ``path``, oldest first.

    ``tail`` starts that many entries before the end, and ``since`` and ``until`` then filter, as
    Docker does. With ``follow`` it waits for more until ``finished()`` says that nobody writes
    any longer, or ``until`` has passed. Lines that a crash has damaged are left out.
    """
    for line in _lines(path, wait=follow, tail=tail, finished=_end(finished, until)):
        entry = parse(line)
        if entry is None or (since is not None and entry.time_ns < since):
            continue
        if until is not None and entry.time_ns > until:
            return
        yield entry


def parse(line: bytes) -> LogEntry | None:
    """One line of the file; None for one that is damaged."""
    try:
        tree = json.loads(line)
        data = tree["log"].encode("utf-8", "surrogateescape")
        return LogEntry(time_ns=from_text(tree["time"]), stream=str(tree["stream"]), data=data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidInput):
        return None


def _end(finished: Callable[[], bool], until: int | None) -> Callable[[], bool]:
    if until is None:
        return finished
    return lambda: finished() or time.time_ns() > until


def _lines(
    path: Path, *, wait: bool, tail: int | None, finished: Callable[[], bool]
) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        files = _open_all(path, stack)
        _skip_to_tail(files, tail)
        if not wait:
            for file in files:
                yield from _whole_lines(file)
            return
        yield from _live_lines(path, files, stack, finished)


def _open_all(path: Path, stack: contextlib.ExitStack) -> list[BinaryIO]:
    """Every file of the log, oldest first, opened before rotation can move it."""
    files: list[BinaryIO] = []
    seen: set[int] = set()
    number = 0
    while True:
        try:
            file = (numbered(path, number) if number else path).open("rb")
        except FileNotFoundError:
            # The current file is missing for a moment during a rotation.
            if number:
                break
        else:
            stack.enter_context(file)
            inode = os.fstat(file.fileno()).st_ino
            if inode not in seen:
                files.append(file)
                seen.add(inode)
        number += 1
    files.reverse()
    return files


def _skip_to_tail(files: list[BinaryIO], tail: int | None) -> None:
    """Seek so that ``tail`` lines are left in the files together."""
    if tail is None:
        return
    wanted = max(0, tail)
    for file in reversed(files):
        wanted -= _seek_lines_back(file, wanted)


def _seek_lines_back(file: BinaryIO, wanted: int) -> int:
    """Seek to at most ``wanted`` lines before the end; how many lines follow."""
    end = position = file.seek(0, os.SEEK_END)
    if wanted <= 0:
        return 0
    found = 0
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if position + at + 1 == end:
                continue
            found += 1
            if found == wanted:
                file.seek(position + at + 1)
                return found
    file.seek(0)
    return found + (1 if end else 0)


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines until the end of the file; the last may lack its end (parse() judges it)."""
    while line := file.readline(LONGEST_LINE):
        yield line


def _live_lines(
    path: Path, files: list[BinaryIO], stack: contextlib.ExitStack, finished: Callable[[], bool]
) -> Iterator[bytes]:
    queue = list(files)
    while True:
        last = finished()
        if not queue and (file := _open_current(path, stack)):
            queue.append(file)
        while queue:
            file = queue[0]
            yield from _unfinished_lines(file)
            if len(queue) == 1:
                newer = _newer_files(path, file, stack)
                if not newer:
                    break
                yield from _unfinished_lines(file)
                queue += newer
            queue.pop(0).close()
        if last:
            return
        time.sleep(POLL)


def _unfinished_lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines that are there now; the place of an unfinished one is kept for later."""
    while True:
        place = file.tell()
        line = file.readline(LONGEST_LINE)
        if line.endswith(b"\n") or len(line) == LONGEST_LINE:
            yield line
            continue
        file.seek(place)
        return


def _open_current(path: Path, stack: contextlib.ExitStack) -> BinaryIO | None:
    try:
        return stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        return None


def _newer_files(path: Path, file: BinaryIO, stack: contextlib.ExitStack) -> list[BinaryIO]:
    """The files that rotation has put after ``file``, oldest first; none while it is current."""
    inode = os.fstat(file.fileno()).st_ino
    try:
        if path.stat().st_ino == inode:
            return []
    except FileNotFoundError:
        return []
    files = _open_all(path, stack)
    inodes = [os.fstat(item.fileno()).st_ino for item in files]
    return files[inodes.index(inode) + 1 :] if inode in inodes else files
