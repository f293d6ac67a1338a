"""What changed between two full trees, as members of a layer; for snapshots that are copies."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workbench.store.capture import (
    Member,
    MemberReader,
    Notice,
    check_depth,
    check_name,
    kept_attributes,
    whiteout,
)
from workbench.store.lower import names_in, status
from workbench.store.options import ignore

_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_COMPARED: Final = ("st_mode", "st_uid", "st_gid", "st_rdev")


def changed_members(
    before: Path | None, after: Path, *, notice: Notice = ignore
) -> Iterator[Member]:
    """Members that turn the tree ``before`` into ``after``, in the order of a tar.

    A file is the same where owner, mode, size, time and kept attributes are; content is not read.
    """
    comparison = _Comparison(MemberReader(notice))
    new = os.open(after, _DIR)
    old = os.open(before, _DIR) if before is not None else None
    try:
        yield from comparison.directory(old, new, ())
    finally:
        os.close(new)
        if old is not None:
            os.close(old)


class _Comparison:
    def __init__(self, reader: MemberReader) -> None:
        self._reader = reader

    def directory(self, old: int | None, new: int, here: tuple[str, ...]) -> Iterator[Member]:
        check_depth(here)
        gone = set(names_in(old)) if old is not None else set()
        there = set(names_in(new))
        for name in sorted(gone | there, key=os.fsencode):
            place = (*here, name)
            if name not in there:
                yield whiteout(here, name), None
                continue
            check_name(name, "/".join(place))
            found = os.stat(name, dir_fd=new, follow_symlinks=False)
            was = status(name, old) if old is not None else None
            if stat.S_ISDIR(found.st_mode):
                yield from self._subdirectory(old, new, place, was)
            elif was is None or not _same(name, old, new, was, found):
                yield from self._reader.member(new, name, "/".join(place), found)

    def _subdirectory(
        self, old: int | None, new: int, place: tuple[str, ...], was: os.stat_result | None
    ) -> Iterator[Member]:
        inner = os.open(place[-1], _DIR, dir_fd=new)
        inner_old = None
        if old is not None and was is not None and stat.S_ISDIR(was.st_mode):
            inner_old = os.open(place[-1], _DIR, dir_fd=old)
        try:
            inside = self.directory(inner_old, inner, place)
            first = next(inside, None)
            if first is not None or inner_old is None or not _same_facts(inner_old, inner):
                yield self._reader.directory(inner, "/".join(place)), None
            if first is not None:
                yield first
            yield from inside
        finally:
            os.close(inner)
            if inner_old is not None:
                os.close(inner_old)


def _same(name: str, old: int | None, new: int, was: os.stat_result, found: os.stat_result) -> bool:
    if (was.st_dev, was.st_ino) == (found.st_dev, found.st_ino):
        return True
    if any(getattr(was, field) != getattr(found, field) for field in _COMPARED):
        return False
    if was.st_mtime_ns != found.st_mtime_ns:
        return False
    if stat.S_ISLNK(found.st_mode):
        return os.readlink(name, dir_fd=old) == os.readlink(name, dir_fd=new)
    if not stat.S_ISREG(found.st_mode):
        return True
    return was.st_size == found.st_size and _attributes(name, old) == _attributes(name, new)


def _same_facts(old: int, new: int) -> bool:
    was, found = os.fstat(old), os.fstat(new)
    return (
        all(getattr(was, field) == getattr(found, field) for field in _COMPARED)
        and was.st_mtime_ns == found.st_mtime_ns
        and kept_attributes(old, "") == kept_attributes(new, "")
    )


def _attributes(name: str, dir_fd: int | None) -> dict[str, bytes]:
    fd = os.open(name, _FILE, dir_fd=dir_fd)
    try:
        return kept_attributes(fd, name)
    finally:
        os.close(fd)
