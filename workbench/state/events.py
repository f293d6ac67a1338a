"""The durable, ordered stream of what happened."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workbench.state.database import Database

KEPT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event; ``sequence`` orders them, ``time_ns`` is nanoseconds since the epoch."""

    sequence: int
    time_ns: int
    type: str
    action: str
    actor: str
    attributes: Mapping[str, str]


class Events:
    """The stream of events; the newest ``KEPT`` stay."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, type: str, action: str, actor: str, attributes: Mapping[str, str]) -> None:
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO events (time_ns, type, action, actor, attributes)"
                " VALUES (?, ?, ?, ?, ?)",
                (time.time_ns(), type, action, actor, json.dumps(dict(attributes))),
            )
            if (cursor.lastrowid or 0) % 256 == 0:
                connection.execute(
                    "DELETE FROM events WHERE sequence <= ?", ((cursor.lastrowid or 0) - KEPT,)
                )

    def after(self, sequence: int, *, since_ns: int = 0) -> list[EventRow]:
        """Those after ``sequence`` that happened at ``since_ns`` or later, in order."""
        rows = self._database.rows(
            "SELECT * FROM events WHERE sequence > ? AND time_ns >= ? ORDER BY sequence",
            sequence,
            since_ns,
        )
        return [
            EventRow(**{**dict(row), "attributes": json.loads(row["attributes"])}) for row in rows
        ]

    def last(self) -> int:
        """The sequence number of the newest event, 0 where there is none."""
        row = self._database.row("SELECT max(sequence) AS newest FROM events")
        return int(row["newest"] or 0) if row else 0
