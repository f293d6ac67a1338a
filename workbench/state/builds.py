"""What builds made: the step cache, and a record of each build."""

from __future__ import annotations

import time
from dataclasses import dataclass

from workbench.state.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRow:
    """One build; ``document`` is its record as JSON."""

    id: str
    started_ns: int
    document: str


class Builds:
    """Step cache and build records. Methods may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def cached(self, key: str) -> str | None:
        """The document kept under a cache key."""
        row = self._database.row("SELECT document FROM build_cache WHERE key = ?", key)
        return str(row["document"]) if row else None

    def remember(self, key: str, document: str) -> None:
        now = time.time_ns()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO build_cache VALUES (?, ?, ?, ?)", (key, document, now, now)
            )

    def entries(self) -> list[tuple[str, str, int]]:
        """Every cache entry: key, document, time of last use."""
        rows = self._database.rows("SELECT key, document, used_ns FROM build_cache")
        return [(row["key"], row["document"], row["used_ns"]) for row in rows]

    def forget(self, keys: list[str]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM build_cache WHERE key = ?", [(key,) for key in keys]
            )

    def add(self, row: BuildRow) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO builds VALUES (?, ?, ?)",
                (row.id, row.started_ns, row.document),
            )

    def all(self) -> list[BuildRow]:
        """Newest first."""
        rows = self._database.rows("SELECT * FROM builds ORDER BY started_ns DESC")
        return [BuildRow(**dict(row)) for row in rows]
