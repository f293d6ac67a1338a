"""Looking a path up in the layers below, as overlayfs would, without mounting anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from workbench.store.whiteouts import attributes_of, is_opaque, is_whiteout

Parts = tuple[str, ...]
_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LowerLayers:
    """``lowers`` are directories, top first. Paths are real ones: no component is a link."""

    def __init__(self, lowers: Sequence[Path]) -> None:
        self._lowers = tuple(lowers)

    def __bool__(self) -> bool:
        return bool(self._lowers)

    def stat(self, parts: Parts) -> os.stat_result | None:
        """What the layers below have at ``parts``; None where there is nothing to be seen."""
        with self._find(parts) as found:
            return found[2] if found else None

    def readlink(self, parts: Parts) -> str:
        """The text of a symbolic link that ``stat`` has seen."""
        with self._find(parts) as found:
            if found is None:
                raise FileNotFoundError("/".join(parts))
            return os.readlink(found[1], dir_fd=found[0])

    @contextmanager
    def open(self, parts: Parts) -> Iterator[tuple[int, os.stat_result] | None]:
        """An open regular file of the layers below and its status; None where there is none."""
        with self._find(parts) as found:
            if found is None or not stat.S_ISREG(found[2].st_mode):
                yield None
                return
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(found[1], flags, dir_fd=found[0])
            try:
                yield fd, found[2]
            finally:
                os.close(fd)

    def names(self) -> set[str]:
        """Every name that can be seen in the root of the layers below."""
        seen: dict[str, bool] = {}
        for lower in self._lowers:
            with os.scandir(lower) as entries:
                for entry in entries:
                    gone = is_whiteout(entry.stat(follow_symlinks=False))
                    seen.setdefault(entry.name, not gone)
        return {name for name, there in seen.items() if there}

    @contextmanager
    def _find(self, parts: Parts) -> Iterator[tuple[int, str, os.stat_result] | None]:
        with ExitStack() as stack:
            for lower in self._lowers:
                top = os.open(lower, _DIR)
                stack.callback(os.close, top)
                fd: int | None = top
                last = False
                for part in parts[:-1]:
                    assert fd is not None
                    fd, ends = _enter(fd, part, stack)
                    last = last or ends
                    if fd is None:
                        break
                if fd is not None:
                    found = status(parts[-1], fd)
                    if found is not None:
                        yield None if is_whiteout(found) else (fd, parts[-1], found)
                        return
                if last:
                    break
            yield None


def _enter(fd: int, part: str, stack: ExitStack) -> tuple[int | None, bool]:
    """The directory ``part``, and whether layers further down are hidden behind this one."""
    found = status(part, fd)
    if found is None:
        return None, False
    if not stat.S_ISDIR(found.st_mode):
        return None, True
    inner = os.open(part, _DIR, dir_fd=fd)
    stack.callback(os.close, inner)
    return inner, is_opaque(attributes_of(inner), inner)


def names_in(fd: int) -> list[str]:
    """The names in an open directory, in no order."""
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries]


def status(name: str, dir_fd: int) -> os.stat_result | None:
    """lstat(2) beneath an open directory; None where there is nothing."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
