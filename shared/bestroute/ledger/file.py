"""The ledger's file: its schema, and who may read it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from bestroute.errors import DataError
from bestroute.ledger.entry import Entry

VERSION = 1
_APPLICATION = 0x42655274  # tells a ledger from other SQLite files
_BUSY = 5.0  # seconds to wait for other processes

_TYPES = {
    "time": "REAL NOT NULL",
    "outcome": "TEXT NOT NULL",
    "arm": "TEXT NOT NULL",
    "policy": "TEXT NOT NULL",
    "models": "TEXT NOT NULL",
    **dict.fromkeys(("error", "model", "query", "answer"), "TEXT"),
    **dict.fromkeys(("samples", "prompt_tokens", "completion_tokens"), "INTEGER NOT NULL"),
    **dict.fromkeys(("cached_tokens", "estimated", "degraded"), "INTEGER NOT NULL"),
    "latency": "REAL NOT NULL",
}
_COLUMNS = ", ".join(f"{name} {_TYPES.get(name, 'REAL')}" for name in Entry._fields)
_SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS routed (id INTEGER PRIMARY KEY, {_COLUMNS})",
    "CREATE INDEX IF NOT EXISTS routed_time ON routed (time)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)
_INSERT = f"INSERT INTO routed ({', '.join(Entry._fields)}) VALUES "
_ROW = f"({', '.join('?' * len(Entry._fields))})"

BATCH = 500
"""Rows of one statement, of which SQLite allows 32,766 values."""


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a ledger, or begin one.

    Raises:
        DataError: It is no ledger, or one of a newer version.
        sqlite3.Error: It cannot be opened, or others hold it.
    """
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        is_new = _is_new(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if is_new:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a ledger that is there.

    Raises:
        DataError: It is absent, no ledger, or one of a newer version.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY)
    if _is_new(connection, path):
        connection.close()
        raise DataError(f"{path}: the file is empty, and no ledger")
    return connection


def insert(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Write at most `BATCH` rows, all or none.

    In one statement: each would have to wait for a busy event loop to let go of the interpreter.
    """
    rows = ", ".join([_ROW] * len(entries))
    connection.execute(_INSERT + rows, [_storable(each) for entry in entries for each in entry])


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether nothing is in the file yet."""
    try:
        ((application,),) = connection.execute("PRAGMA application_id")
        ((version,),) = connection.execute("PRAGMA user_version")
        ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path}: not a ledger ({error})") from error
    if (application, version, tables) == (0, 0, 0):
        return True
    if application != _APPLICATION:
        raise DataError(f"{path}: a database of something else, not a ledger")
    if version > VERSION:
        raise DataError(
            f"{path}: a ledger of version {version}, newer than this bestroute, which knows "
            f"version {VERSION}: update bestroute, or name another file"
        )
    return False


def _storable(value: str | float | None) -> str | float | None:
    """Lone surrogates are no text to SQLite."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
