"""Containers as facts: rows from ``create`` to ``rm``."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from workbench.errors import Conflict, ContainerNotFound, InvalidInput
from workbench.state.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """One row; see ``schema.sql`` for the columns. Times are nanoseconds since the epoch."""

    id: str
    name: str
    image: str
    image_id: str
    manifest: str
    options: str
    settled: str
    created_ns: int
    started_ns: int | None = None
    finished_ns: int | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    stopped: bool = False
    removing: bool = False


class Containers:
    """The table of containers. Methods may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: ContainerRecord) -> None:
        """Raises Conflict with Docker's words where the name is taken."""
        with self._database.transaction() as connection:
            taken = connection.execute(
                "SELECT id FROM containers WHERE name = ?", (record.name,)
            ).fetchone()
            if taken:
                raise Conflict(
                    f'Conflict. The container name "/{record.name}" is already in use by container '
                    f'"{taken[0]}". You have to remove (or rename) that container to be able to '
                    "reuse that name."
                )
            connection.execute(
                "INSERT INTO containers (id, name, image, image_id, manifest, options, settled,"
                " created_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.id,
                    record.name,
                    record.image,
                    record.image_id,
                    record.manifest,
                    record.options,
                    record.settled,
                    record.created_ns,
                ),
            )

    def all(self) -> list[ContainerRecord]:
        """Newest first, as ``docker ps`` lists them."""
        rows = self._database.rows("SELECT * FROM containers ORDER BY created_ns DESC")
        return [_record(row) for row in rows]

    def get(self, id: str) -> ContainerRecord | None:
        """The row with exactly this id."""
        row = self._database.row("SELECT * FROM containers WHERE id = ?", id)
        return _record(row) if row else None

    def find(self, name: str) -> ContainerRecord:
        """By id, by name, or by a prefix of an id that only one has, in this order.

        Raises ContainerNotFound or, for an ambiguous prefix, InvalidInput.
        """
        plain = name.removeprefix("/")
        row = self._database.row(
            "SELECT * FROM containers WHERE id = ?1 OR name = ?1 ORDER BY id <> ?1 LIMIT 1", plain
        )
        if row:
            return _record(row)
        if plain and all(letter in "0123456789abcdef" for letter in plain):
            rows = self._database.rows(
                "SELECT * FROM containers WHERE id >= ? AND id < ? LIMIT 2", plain, plain + "g"
            )
            if len(rows) == 1:
                return _record(rows[0])
            if rows:
                raise InvalidInput(f"multiple IDs found with provided prefix: {plain}")
        raise ContainerNotFound(f"No such container: {name}")

    def using_image(self, image_id: str) -> list[ContainerRecord]:
        rows = self._database.rows("SELECT * FROM containers WHERE image_id = ?", image_id)
        return [_record(row) for row in rows]

    def started(self, id: str, time_ns: int) -> None:
        """It runs (again): what was known of its last end is void."""
        self._update(
            id,
            "started_ns = ?, finished_ns = NULL, exit_code = NULL, oom_killed = 0, error = '',"
            " stopped = 0",
            time_ns,
        )

    def finished(
        self, id: str, *, time_ns: int, exit_code: int, oom_killed: bool, error: str
    ) -> bool:
        """Record its end; False where that very end was recorded already."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE containers SET finished_ns = ?, exit_code = ?, oom_killed = ?, error = ?"
                " WHERE id = ? AND finished_ns IS NOT ?",
                (time_ns, exit_code, oom_killed, error, id, time_ns),
            )
            return changed.rowcount > 0

    def stopped(self, id: str, stopped: bool = True) -> None:
        """Whether the user ended it."""
        self._update(id, "stopped = ?", stopped)

    def removing(self, id: str) -> None:
        """Its removal has begun."""
        self._update(id, "removing = 1")

    def rename(self, id: str, name: str) -> None:
        """Raises Conflict where the name is taken."""
        try:
            self._update(id, "name = ?", name)
        except Conflict as error:
            raise Conflict(
                f'Error when allocating new name: Conflict. The container name "/{name}" is already'
                " in use. You have to remove (or rename) that container to be able to reuse that"
                " name."
            ) from error

    def remove(self, id: str) -> None:
        """Forget it, with its endpoints, ports and uses of volumes."""
        with self._database.transaction() as connection:
            for table in ("endpoints", "ports", "volume_uses"):
                connection.execute(f"DELETE FROM {table} WHERE container_id = ?", (id,))  # noqa: S608
            connection.execute("DELETE FROM containers WHERE id = ?", (id,))

    def _update(self, id: str, assignments: str, *values: object) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE containers SET {assignments} WHERE id = ?",  # noqa: S608
                (*values, id),
            )


def _record(row: sqlite3.Row) -> ContainerRecord:
    values = dict(row)
    for name in ("oom_killed", "stopped", "removing"):
        values[name] = bool(values[name])
    return ContainerRecord(**values)
