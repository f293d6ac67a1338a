"""What both snapshotters write down: names, parents and trees, as directories and links.

    ROOT/active/<key>  view/<key>  committed/<name>     symbolic links whose text is a number
    ROOT/<number>/fs  ...                               the tree, and what its snapshotter adds
    ROOT/<number>/parent                                a link whose text is the parent's number
    ROOT/trash/<number>.<random>                        removed, not yet deleted
    ROOT/locks/<name>   lock                            who works on a name; who changes the records

Every change is a rename or one new link, made last, under one lock. A crash leaves at worst a
numbered tree without a name. The lock file's text is the next number to try.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from workbench.errors import Conflict, Corrupt, InvalidInput, NotFound
from workbench.store.access import TreeAccess
from workbench.store.locks import file_lock, still_there, try_file_lock
from workbench.store.snapshots import Kind, SnapshotInfo, Usage

_SAFE: Final = ":@+=,~ "
_KINDS: Final = tuple(Kind)
_MAX_CHAIN: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A named tree: its number and its directory."""

    key: str
    kind: Kind
    number: str
    path: Path


class Records:
    """The table of the snapshots below one directory. Holds no state but the disk's."""

    def __init__(self, root: Path, access: TreeAccess | None = None) -> None:
        self.root = root
        self.access = access or TreeAccess()
        for name in (*(kind.value for kind in _KINDS), "trash", "locks"):
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o711)

    # -- looking

    def find(self, key: str, *kinds: Kind) -> Record:
        """The snapshot of that key. Raises NotFound, Conflict where it is of another kind."""
        record = self.get(key)
        if record is None:
            raise NotFound(f"no snapshot {key!r}")
        if kinds and record.kind not in kinds:
            raise Conflict(f"snapshot {key!r} is {record.kind.value}")
        return record

    def get(self, key: str) -> Record | None:
        """The snapshot of that key, or None."""
        name = _file_name(key)
        for kind in _KINDS:
            with suppress(FileNotFoundError):
                number = str((self.root / kind.value / name).readlink())
                return Record(key=key, kind=kind, number=number, path=self.root / number)
        return None

    def chain(self, number: str) -> list[str]:
        """The numbers from a tree down to the bottom of its stack."""
        numbers = [number]
        while len(numbers) < _MAX_CHAIN:
            try:
                parent = str((self.root / numbers[-1] / "parent").readlink())
            except FileNotFoundError:
                return numbers
            numbers.append(parent)
        raise Corrupt(f"snapshot {number} has more than {_MAX_CHAIN} parents")

    def walk(self) -> Iterator[SnapshotInfo]:
        """Every snapshot with its parent's name."""
        names = self._names()
        for number, (key, kind, used) in names.items():
            chain = self.chain(number)
            parent = names.get(chain[1]) if len(chain) > 1 else None
            yield SnapshotInfo(key=key, parent=parent[0] if parent else None, kind=kind, used=used)

    def info(self, key: str) -> SnapshotInfo:
        record = self.find(key)
        for info in self.walk():
            if info.key == record.key:
                return info
        raise NotFound(f"no snapshot {key!r}")

    def _names(self) -> dict[str, tuple[str, Kind, float]]:
        found: dict[str, tuple[str, Kind, float]] = {}
        for kind in _KINDS:
            with os.scandir(self.root / kind.value) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        used = entry.stat(follow_symlinks=False).st_mtime
                        found[str(Path(entry.path).readlink())] = (unquote(entry.name), kind, used)
        return found

    def refresh(self, record: Record) -> bool:
        """Note a use; False where the record is gone."""
        try:
            os.utime(self._link(record.key, record.kind), follow_symlinks=False)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True
        return True

    # -- changing

    def create(
        self,
        key: str,
        parent: str | None,
        kind: Kind,
        fill: Callable[[Path, Path | None], None],
    ) -> Record:
        """A new tree under a new key. ``fill`` makes its directories, given the parent's path.

        Raises NotFound for a parent that is not committed, Conflict for a key that is taken.
        """
        with file_lock(self.root / "lock") as lock:
            if self.get(key) is not None:
                raise Conflict(f"snapshot {key!r} exists already")
            below = self.find(parent, Kind.COMMITTED) if parent is not None else None
            path = self._new_tree(lock)
            try:
                fill(path, below.path if below else None)
                if below is not None:
                    (path / "parent").symlink_to(below.number)
                self._link(key, kind).symlink_to(path.name)
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise
        return Record(key=key, kind=kind, number=path.name, path=path)

    def _new_tree(self, lock: int) -> Path:
        text = os.pread(lock, 32, 0)
        number = int(text) if text.isdigit() else 1
        while True:
            path = self.root / str(number)
            try:
                path.mkdir(mode=0o711)
                break
            except FileExistsError:
                number += 1
        # Always wider than before, so that no old digit is left behind.
        os.pwrite(lock, str(number + 1).encode(), 0)
        return path

    def commit(self, key: str, name: str) -> Record:
        """Rename an active snapshot to a committed one. Raises NotFound, Conflict."""
        with file_lock(self.root / "lock"):
            record = self.find(key, Kind.ACTIVE)
            if self.get(name) is not None:
                raise Conflict(f"snapshot {name!r} exists already")
            link = self._link(key, Kind.ACTIVE)
            os.utime(link, follow_symlinks=False)
            link.rename(self._link(name, Kind.COMMITTED))
        return Record(key=name, kind=Kind.COMMITTED, number=record.number, path=record.path)

    def remove(self, key: str, *, wait: bool, unused_since: float | None) -> bool:
        """Take the name away and the tree out of the way, then delete it if told to wait."""
        with file_lock(self.root / "lock"):
            record = self.find(key)
            link = self._link(key, record.kind)
            if unused_since is not None and os.lstat(link).st_mtime > unused_since:
                return False
            if record.kind is Kind.COMMITTED and self._has_children(record.number):
                raise Conflict(f"snapshot {key!r} is the parent of others")
            link.unlink()
            gone = self._throw_away(record.path)
        if wait and gone is not None:
            self._delete(gone)
        return True

    def _has_children(self, number: str) -> bool:
        for other in self._numbers():
            with suppress(FileNotFoundError):
                if str((self.root / other / "parent").readlink()) == number:
                    return True
        return False

    def _throw_away(self, path: Path) -> Path | None:
        target = self.root / "trash" / f"{path.name}.{secrets.token_hex(4)}"
        try:
            path.rename(target)
        except FileNotFoundError:
            return None
        return target

    def _numbers(self) -> list[str]:
        return [path.name for path in self.root.iterdir() if path.name.isdigit()]

    def sweep(self) -> int:
        """Delete trees without a name and what lies in the trash; their number."""
        with file_lock(self.root / "lock"):
            named = set(self._names())
            for number in self._numbers():
                if number not in named:
                    self._throw_away(self.root / number)
        deleted = sum(self._delete(path) for path in list((self.root / "trash").iterdir()))
        for path in (self.root / "locks").iterdir():
            with try_file_lock(path) as held:
                if held is not None:
                    path.unlink(missing_ok=True)
        return deleted

    def _delete(self, path: Path) -> bool:
        """Delete a tree in the trash unless somebody else is at it; whoever locks it deletes it."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not still_there(fd, path):
                return False
            self.access.remove(path)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def damaged(self) -> Iterator[tuple[str, str]]:
        """Keys whose tree, or a tree below it, is missing or without a name."""
        names = self._names()
        for number, (key, _kind, _used) in names.items():
            for below in self.chain(number):
                if not (self.root / below / "fs").is_dir():
                    yield key, f"its tree {below} is missing"
                    break
                if below != number and (
                    below not in names or names[below][1] is not Kind.COMMITTED
                ):
                    yield key, f"its parent {below} is not committed"
                    break

    # -- locks of names

    def exclusive(self, name: str) -> AbstractContextManager[int]:
        return file_lock(self.root / "locks" / _file_name(name))

    def try_exclusive(self, name: str) -> AbstractContextManager[int | None]:
        return try_file_lock(self.root / "locks" / _file_name(name))

    def _link(self, key: str, kind: Kind) -> Path:
        return self.root / kind.value / _file_name(key)


def _file_name(key: str) -> str:
    name = quote(key, safe=_SAFE).replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not key or len(name) > 255:
        raise InvalidInput(f"a snapshot cannot be called {key[:64]!r}")
    return name


def remembered_usage(record: Record, access: TreeAccess) -> Usage:
    """``measure`` of a record's tree; kept beside it once it is committed and cannot change."""
    note = record.path / "usage"
    if record.kind is Kind.COMMITTED:
        with suppress(FileNotFoundError, ValueError):
            size, inodes = note.read_text("ascii").split()
            return Usage(bytes=int(size), inodes=int(inodes))
    usage = access.measure(record.path / "fs")
    if record.kind is Kind.COMMITTED:
        note.write_text(f"{usage.bytes} {usage.inodes}\n", "ascii")
    return usage
