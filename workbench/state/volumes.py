"""Volumes as facts, and who uses them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.errors import Conflict, VolumeNotFound
from workbench.state.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRecord:
    """One volume; ``populated`` says that an image's content has been copied into it."""

    name: str
    created_ns: int
    driver: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False
    populated: bool = False


class Volumes:
    """The table of volumes. Methods may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: VolumeRecord) -> bool:
        """False where a volume of that name is there already."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT OR IGNORE INTO volumes"
                " (name, driver, options, labels, anonymous, populated, created_ns)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    record.name,
                    record.driver,
                    json.dumps(dict(record.options)),
                    json.dumps(dict(record.labels)),
                    record.anonymous,
                    record.populated,
                    record.created_ns,
                ),
            )
            return cursor.rowcount > 0

    def all(self) -> list[VolumeRecord]:
        return [_record(row) for row in self._database.rows("SELECT * FROM volumes ORDER BY name")]

    def find(self, name: str) -> VolumeRecord:
        """Raises VolumeNotFound."""
        row = self._database.row("SELECT * FROM volumes WHERE name = ?", name)
        if row is None:
            raise VolumeNotFound(f"get {name}: no such volume")
        return _record(row)

    def populated(self, name: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("UPDATE volumes SET populated = 1 WHERE name = ?", (name,))

    def use(self, name: str, container_id: str) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO volume_uses VALUES (?, ?)", (name, container_id)
            )

    def users(self, name: str) -> list[str]:
        """The ids of the containers that use it."""
        rows = self._database.rows(
            "SELECT container_id FROM volume_uses WHERE volume = ? ORDER BY container_id", name
        )
        return [row["container_id"] for row in rows]

    def of_container(self, container_id: str) -> list[VolumeRecord]:
        rows = self._database.rows(
            "SELECT volumes.* FROM volumes JOIN volume_uses ON volume = name"
            " WHERE container_id = ?",
            container_id,
        )
        return [_record(row) for row in rows]

    def remove(self, name: str) -> None:
        """Raises VolumeNotFound, or Conflict while a container uses it."""
        with self._database.transaction() as connection:
            self.find(name)
            users = self.users(name)
            if users:
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
            connection.execute("DELETE FROM volumes WHERE name = ?", (name,))


def _record(row: sqlite3.Row) -> VolumeRecord:
    return VolumeRecord(
        name=row["name"],
        created_ns=row["created_ns"],
        driver=row["driver"],
        options=json.loads(row["options"]),
        labels=json.loads(row["labels"]),
        anonymous=bool(row["anonymous"]),
        populated=bool(row["populated"]),
    )
