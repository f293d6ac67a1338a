"""What snapshotters share: all that concerns names and records, whatever the trees are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from workbench.store.access import TreeAccess
from workbench.store.records import Records, remembered_usage
from workbench.store.snapshots import SnapshotInfo, Usage


class RecordedSnapshotter:
    """The half of ``Snapshotter`` that is answered by ``Records`` alone."""

    def __init__(self, root: Path, access: TreeAccess | None = None) -> None:
        self._records = Records(root, access)

    def usage(self, key: str) -> Usage:
        return remembered_usage(self._records.find(key), self._records.access)

    def info(self, key: str) -> SnapshotInfo:
        return self._records.info(key)

    def exists(self, key: str) -> bool:
        record = self._records.get(key)
        return record is not None and self._records.refresh(record)

    def remove(self, key: str, *, wait: bool = True, unused_since: float | None = None) -> bool:
        return self._records.remove(key, wait=wait, unused_since=unused_since)

    def walk(self) -> Iterator[SnapshotInfo]:
        return self._records.walk()

    def exclusive(self, name: str) -> AbstractContextManager[object]:
        return self._records.exclusive(name)

    def try_exclusive(self, name: str) -> AbstractContextManager[int | None]:
        return self._records.try_exclusive(name)

    def sweep(self) -> int:
        return self._records.sweep()

    def damaged(self) -> Iterator[tuple[str, str]]:
        return self._records.damaged()
