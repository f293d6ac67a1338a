"""Layers on disk seen as one tree, without mounting anything.

``layers`` are directories, top first: a whiteout hides a name, an opaque directory all below it.
A build context is the case of one plain directory. Symbolic links are followed by us, inside the
root, whatever they say; a directory is only ever entered by ``O_NOFOLLOW``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.build.ignore import Parents, Patterns
from workbench.errors import InvalidInput, LimitExceeded
from workbench.store.whiteouts import attributes_of, is_opaque, is_whiteout

Parts = tuple[str, ...]
_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_LINKS: Final = 40
_DEEPEST: Final = 256
_SKIPPED: Final = (stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One entry. ``dir_fd`` and ``name`` reach it, only until the walk goes on."""

    path: Parts
    status: os.stat_result
    dir_fd: int
    name: str

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    def open(self) -> int:
        """An open file descriptor; of a directory too."""
        return os.open(self.name, _DIR if self.is_dir else _FILE, dir_fd=self.dir_fd)

    def readlink(self) -> str:
        return os.readlink(self.name, dir_fd=self.dir_fd)


def split_path(path: str) -> Parts:
    """The components of a path; ``..`` stops at the root."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


class MergedTree:
    """``overlay`` is False for a plain directory, such as a build context; then sockets, pipes and
    devices are not seen. ``ignore`` hides entries. Safe for many threads."""

    def __init__(
        self, layers: Sequence[Path], *, overlay: bool = True, ignore: Patterns | None = None
    ) -> None:
        self.layers = tuple(layers)
        self._overlay = overlay
        self._ignore = ignore if ignore else None

    @property
    def is_context(self) -> bool:
        """Whether this is a plain directory, not a stack of layers."""
        return not self._overlay

    @property
    def hides_something(self) -> bool:
        """Whether patterns hide entries."""
        return self._ignore is not None

    # -- one entry

    @contextmanager
    def find(self, parts: Parts) -> Iterator[Found | None]:
        """The entry at ``parts``, of which no component is followed; None where there is none."""
        with ExitStack() as stack:
            found = self._find(parts, stack)
            if found is not None and self._hidden(found):
                found = None
            yield found

    def _find(self, parts: Parts, stack: ExitStack) -> Found | None:
        fds = self._roots(stack)
        if not parts:
            if not fds:
                return None
            return Found(path=(), status=os.fstat(fds[0]), dir_fd=fds[0], name=".")
        for part in parts[:-1]:
            fds = self._enter(fds, part, stack)
        for fd in fds:
            status = _status(parts[-1], fd)
            if status is not None:
                if self._gone(status):
                    return None
                return Found(path=parts, status=status, dir_fd=fd, name=parts[-1])
        return None

    def _roots(self, stack: ExitStack) -> list[int]:
        fds = []
        for layer in self.layers:
            fd = os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            fds.append(fd)
        return fds

    def _enter(self, fds: list[int], part: str, stack: ExitStack) -> list[int]:
        """The open directories that make up ``part``, top first."""
        inner: list[int] = []
        for fd in fds:
            status = _status(part, fd)
            if status is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break
            found = os.open(part, _DIR, dir_fd=fd)
            stack.callback(os.close, found)
            inner.append(found)
            if self._overlay and len(self.layers) > 1 and is_opaque(attributes_of(found), found):
                break
        return inner

    def _gone(self, status: os.stat_result) -> bool:
        if self._overlay:
            return is_whiteout(status)
        return stat.S_IFMT(status.st_mode) in _SKIPPED

    def _hidden(self, found: Found) -> bool:
        if self._ignore is None or not found.path:
            return False
        path = "/".join(found.path)
        if not self._ignore.hides(path):
            return False
        # An ignored directory is there after all where something in it is not ignored.
        return not (found.is_dir and next(iter(self._walk_kept(found.path)), None))

    def _walk_kept(self, parts: Parts) -> Iterator[Found]:
        return (item for item in self.walk(parts) if not item.is_dir)

    def status(self, parts: Parts) -> os.stat_result | None:
        """lstat(2) in the tree; None where there is nothing."""
        with self.find(parts) as found:
            return found.status if found else None

    def readlink(self, parts: Parts) -> str | None:
        """The text of a symbolic link; None for anything else."""
        with self.find(parts) as found:
            return found.readlink() if found and found.is_link else None

    def read(self, path: str, limit: int) -> bytes | None:
        """A regular file's content, links followed; None where there is none.

        Raises LimitExceeded for more than ``limit`` bytes.
        """
        with self.find(self.resolve(split_path(path))) as found:
            if found is None or not found.is_file:
                return None
            with os.fdopen(found.open(), "rb") as file:
                data = file.read(limit + 1)
        if len(data) > limit:
            raise LimitExceeded(f"{path} has more than {limit} bytes")
        return data

    # -- paths

    def resolve(self, parts: Parts, *, last: bool = True) -> Parts:
        """Where ``parts`` really lies, links followed inside the root; what is missing is kept.

        ``last`` follows the last component too. Raises InvalidInput for a loop of links.
        """
        pending = list(reversed(parts))
        here: Parts = ()
        links = 0
        while pending:
            part = pending.pop()
            if part == "..":
                here = here[:-1]
                continue
            target = self.readlink((*here, part)) if pending or last else None
            if target is None:
                here = (*here, part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise InvalidInput(f"too many symbolic links on the way to /{'/'.join(parts)}")
            if target.startswith("/"):
                here = ()
            pending += [item for item in reversed(target.split("/")) if item not in ("", ".")]
        return here

    # -- everything below

    def walk(self, parts: Parts) -> Iterator[Found]:
        """Every entry below the directory ``parts``, sorted, a directory before its content."""
        with ExitStack() as stack:
            fds = self._roots(stack)
            for part in parts:
                fds = self._enter(fds, part, stack)
            parents: Parents | None = None
            if self._ignore is not None and parts:
                parents = self._ignore.match("/".join(parts))[1]
            yield from self._walk(fds, parts, parents)

    def children(self, parts: Parts) -> Iterator[Found]:
        """The entries of one directory, sorted."""
        with ExitStack() as stack:
            fds = self._roots(stack)
            for part in parts:
                fds = self._enter(fds, part, stack)
            entries = self._entries(fds)
            for name in sorted(entries, key=os.fsencode):
                index, status = entries[name]
                found = Found(path=(*parts, name), status=status, dir_fd=fds[index], name=name)
                if not self._gone(status) and not self._hidden(found):
                    yield found

    def ignored(self, parts: Parts) -> bool:
        """Whether an entry is there, but hidden by the patterns."""
        with ExitStack() as stack:
            found = self._find(parts, stack)
            return found is not None and self._hidden(found)

    def directories(self, parts: Parts) -> tuple[Path, ...]:
        """The directories on disk that together make up the directory ``parts``, top first.

        Empty where it is none. No component may be a symbolic link.
        """
        with ExitStack() as stack:
            fds = self._roots(stack)
            for part in parts:
                fds = self._enter(fds, part, stack)
            return tuple(Path(f"/proc/self/fd/{fd}").readlink() for fd in fds)

    def _walk(self, fds: list[int], here: Parts, parents: Parents | None) -> Iterator[Found]:
        if len(here) > _DEEPEST:
            raise LimitExceeded(f"more than {_DEEPEST} directories in each other: /{here[0]}/...")
        entries = self._entries(fds)
        for name in sorted(entries, key=os.fsencode):
            index, status = entries[name]
            if self._gone(status):
                continue
            found = Found(path=(*here, name), status=status, dir_fd=fds[index], name=name)
            yield from self._entry(found, fds[index:], parents)

    @staticmethod
    def _entries(fds: list[int]) -> dict[str, tuple[int, os.stat_result]]:
        entries: dict[str, tuple[int, os.stat_result]] = {}
        for index, fd in enumerate(fds):
            with os.scandir(fd) as found:
                for entry in found:
                    if entry.name not in entries:
                        entries[entry.name] = (index, entry.stat(follow_symlinks=False))
        return entries

    def _entry(self, found: Found, fds: list[int], parents: Parents | None) -> Iterator[Found]:
        mine: Parents | None = None
        hidden = False
        if self._ignore is not None:
            path = "/".join(found.path)
            hidden, mine = self._ignore.match(path, parents)
            if hidden and not (found.is_dir and self._ignore.may_take_back(path)):
                return
        if not hidden:
            yield found
        if not found.is_dir:
            return
        with ExitStack() as stack:
            inner = self._enter(fds, found.name, stack)
            below = self._walk(inner, found.path, mine)
            if hidden:
                first = next(below, None)
                if first is None:
                    return
                yield found
                yield first
            yield from below


def _status(name: str, dir_fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
