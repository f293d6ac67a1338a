"""File trees in stacks: what a snapshotter does, whatever it is made of.

A committed snapshot is a finished tree, named for good; it may be the parent of others. An active
one is being written, through the mounts that ``prepare`` gives or directly in ``changes``; a view
is read only. An image of two layers and a container come about like this::

    prepare("a", None)      unpack layer 1 into changes("a")     commit("a", chain_1)
    prepare("b", chain_1)   unpack layer 2 into changes("b")     commit("b", chain_2)
    prepare("container", chain_2) -> mounts, for the container's root

Mounts are values; nothing here mounts anything. All calls are safe among threads and processes on
one directory, and a process that dies leaves at worst an unnamed tree, which ``sweep`` removes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from workbench.linux.mount import Mount
from workbench.store.capture import Member, Notice
from workbench.store.options import Whiteouts, ignore


class Kind(Enum):
    """The state of a snapshot."""

    ACTIVE = "active"
    VIEW = "view"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """``parent`` is the name of a committed snapshot; ``used`` when it was made or last asked for
    (epoch seconds)."""

    key: str
    parent: str | None
    kind: Kind
    used: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a snapshot's own tree holds: bytes of file content, and number of inodes."""

    bytes: int
    inodes: int


class Snapshotter(Protocol):
    """Keys and names are any text of up to 200 bytes, and unique over all kinds."""

    @property
    def whiteouts(self) -> Whiteouts:
        """What ``layer.apply`` must do into ``changes``."""

    @property
    def user_attributes(self) -> bool:
        """Whether overlayfs's marks are ``user.overlay.*``."""

    def prepare(self, key: str, parent: str | None) -> list[Mount]:
        """A new active snapshot. Raises NotFound (parent), Conflict (key)."""

    def view(self, key: str, parent: str | None) -> list[Mount]:
        """A new read-only snapshot. Raises NotFound (parent), Conflict (key)."""

    def commit(self, key: str, name: str) -> None:
        """Make an active snapshot a committed one, in one step. Raises NotFound, Conflict."""

    def mounts(self, key: str) -> list[Mount]:
        """The mounts of an active snapshot or a view once more. Raises NotFound, Conflict."""

    def changes(self, key: str) -> Path:
        """The directory that holds a snapshot's own files. Raises NotFound."""

    def lowers(self, key: str) -> tuple[Path, ...]:
        """Directories of the layers below, top first; none where ``changes`` is complete."""

    def members(self, key: str, *, notice: Notice = ignore) -> Iterator[Member]:
        """What a snapshot changes against its parent, for a tar. Raises NotFound."""

    def usage(self, key: str) -> Usage:
        """Raises NotFound."""

    def info(self, key: str) -> SnapshotInfo:
        """Raises NotFound."""

    def exists(self, key: str) -> bool:
        """Whether there is a snapshot of that key. A yes for a committed one counts as a use."""

    def remove(self, key: str, *, wait: bool = True, unused_since: float | None = None) -> bool:
        """Remove a snapshot; without ``wait`` its files go with the next ``sweep``.

        False where it was used after ``unused_since``. Raises NotFound, Conflict (has children).
        """

    def walk(self) -> Iterator[SnapshotInfo]:
        """Every snapshot, in no order."""

    def exclusive(self, name: str) -> AbstractContextManager[object]:
        """Hold a lock on a name, whether or not a snapshot has it; ends with the process."""

    def try_exclusive(self, name: str) -> AbstractContextManager[int | None]:
        """The same without waiting; gives None where somebody holds it."""

    def sweep(self) -> int:
        """Remove trees that no name leads to, and what ``remove`` left; their number."""

    def damaged(self) -> Iterator[tuple[str, str]]:
        """The key of every snapshot whose record or tree is broken, and what is wrong."""
