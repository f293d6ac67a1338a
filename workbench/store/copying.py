"""Snapshots as full copies, for hosts without overlayfs: slow to make, usable anywhere.

    ROOT/<number>/fs      the whole tree

File systems that can (btrfs, xfs) share the blocks of a copied file. A view is its parent itself,
bound read only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workbench.linux.mount import Mount
from workbench.store.capture import Member, Notice
from workbench.store.clone import clone_tree
from workbench.store.compare import changed_members
from workbench.store.options import Whiteouts, ignore
from workbench.store.recorded import RecordedSnapshotter
from workbench.store.records import Record
from workbench.store.snapshots import Kind


class CopyingSnapshotter(RecordedSnapshotter):
    """A ``Snapshotter`` of plain directories. ``usage`` counts the whole tree."""

    whiteouts = Whiteouts.DELETE
    user_attributes = False

    def prepare(self, key: str, parent: str | None) -> list[Mount]:
        return self._mounts(self._records.create(key, parent, Kind.ACTIVE, _copy))

    def view(self, key: str, parent: str | None) -> list[Mount]:
        return self._mounts(self._records.create(key, parent, Kind.VIEW, _empty))

    def commit(self, key: str, name: str) -> None:
        self._records.commit(key, name)

    def mounts(self, key: str) -> list[Mount]:
        return self._mounts(self._records.find(key, Kind.ACTIVE, Kind.VIEW))

    def _mounts(self, record: Record) -> list[Mount]:
        access = "rw" if record.kind is Kind.ACTIVE else "ro"
        return [Mount(type="bind", source=str(self._tree(record)), options=("rbind", access))]

    def _tree(self, record: Record) -> Path:
        parent = self._parent(record)
        if record.kind is Kind.VIEW and parent is not None:
            return parent
        return record.path / "fs"

    def _parent(self, record: Record) -> Path | None:
        chain = self._records.chain(record.number)
        return self._records.root / chain[1] / "fs" if len(chain) > 1 else None

    def changes(self, key: str) -> Path:
        return self._tree(self._records.find(key))

    def lowers(self, key: str) -> tuple[Path, ...]:
        self._records.find(key)
        return ()

    def members(self, key: str, *, notice: Notice = ignore) -> Iterator[Member]:
        record = self._records.find(key)
        return changed_members(self._parent(record), self._tree(record), notice=notice)


def _copy(path: Path, parent: Path | None) -> None:
    if parent is None:
        _empty(path, None)
    else:
        clone_tree(parent / "fs", path / "fs")


def _empty(path: Path, _parent: Path | None) -> None:
    (path / "fs").mkdir()
    (path / "fs").chmod(0o755)
