"""The database of a state directory: SQLite in WAL mode, short transactions, many processes.

Source: https://www.sqlite.org/wal.html. ``synchronous=NORMAL`` loses nothing to a kill -9; only a
power cut may lose the last transactions, and never the database.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

from workbench.errors import Conflict, Corrupt, Unavailable

SCHEMA_VERSION: Final = 1
_BUSY_SECONDS: Final = 30.0


class Database:
    """One connection per thread to ``path``; made, with its tables, on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode."""
        existing: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if existing is None:
            existing = self._open()
            self._local.connection = existing
        return existing

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a SELECT."""
        return self.connection.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a SELECT, or None."""
        found: sqlite3.Row | None = self.connection.execute(query, values).fetchone()
        return found

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside happens, or nothing. Nested use joins the outer transaction.

        Raises Unavailable where the disk is full or another process keeps the database too long,
        Conflict where a UNIQUE or a reference forbids it.
        """
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _translate(error, self.path) from error
            raise

    def close(self) -> None:
        """Close every thread's connection; the database may be used again afterwards."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        self._local = threading.local()

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            with self._first():
                connection.execute("PRAGMA journal_mode = WAL")
                _migrate(connection, self.path)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as error:
            raise _translate(error, self.path) from error
        with self._lock:
            self._connections.append(connection)
        return connection

    @contextmanager
    def _first(self) -> Iterator[None]:
        """One at a time: SQLite does not wait for others while it changes the journal mode."""
        fd = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    found = _version(connection)
    if found == 0:
        schema = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
        for statement in _statements(schema):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
    if found > SCHEMA_VERSION:
        raise Corrupt(
            f"{path} was written by a newer version (schema {found}, ours is {SCHEMA_VERSION})",
            hint="upgrade container-workbench, or name another state directory in WORKBENCH_ROOT",
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(schema: str) -> Iterator[str]:
    text = ""
    for line in schema.splitlines():
        text += line + "\n"
        if sqlite3.complete_statement(text):
            yield text
            text = ""


def _translate(error: sqlite3.Error, path: Path) -> Exception:
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(f"{error}")
    if isinstance(error, sqlite3.OperationalError):
        return Unavailable(
            f"{path}: {error}", hint="is the disk full, or the directory not writable?"
        )
    return Corrupt(f"{path}: {error}", hint="the facts cannot be read; restore or move the file")
