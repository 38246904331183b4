"""An append-only journal of paid work: what was asked, and what came of it.

One SQLite file in WAL mode. A request is written down before money is spent on it, and closed
together with what it brought, in one transaction: after a crash each result that was kept is there
once, and what was under way is known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bestroute.errors import DataError

_TABLES = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
    ticket INTEGER PRIMARY KEY, unit TEXT NOT NULL, results INTEGER NOT NULL, estimate REAL);
CREATE TABLE IF NOT EXISTS closed (ticket INTEGER PRIMARY KEY, cost REAL, error TEXT);
CREATE TABLE IF NOT EXISTS kept (
    unit TEXT, number INTEGER, ticket INTEGER NOT NULL, result TEXT NOT NULL,
    PRIMARY KEY (unit, number)) WITHOUT ROWID;
"""
_OPEN = "FROM asked LEFT JOIN closed USING (ticket) WHERE closed.ticket IS NULL"


class Lost(NamedTuple):
    """What was under way when the last process was stopped, and may have been paid for.

    Attributes:
        calls: Calls in flight.
        results: Results that were asked for.
        cost: Their estimated cost in $; `None` where no price is known.
    """

    calls: int
    results: int
    cost: float | None


class Journal:
    """Keeps results by (unit, number), numbers from 0; one process at a time.

    Args:
        path: The file; made when absent.
        about: Name -> what must not change under it, such as a model's parameters.

    Raises:
        DataError: Another process holds it, it is damaged, or it was begun with something else
            under one of the names.
    """

    def __init__(self, path: str | Path, about: Mapping[str, str]) -> None:
        self.path = Path(path)
        try:
            self._db = sqlite3.connect(self.path, timeout=0)
        except sqlite3.OperationalError as error:
            raise DataError(f"{path}: cannot be opened ({error})") from error
        try:
            self._begin()
            self._compare(about)
        except sqlite3.DatabaseError as error:
            self.close()
            is_busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            why = "another process is using it" if is_busy else "cannot be used as a journal"
            raise DataError(f"{path}: {why} ({error})") from error
        except DataError:
            self.close()
            raise

    def _begin(self) -> None:
        # A lock of the operating system: it ends with the process, however that ends.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")

    def close(self) -> None:
        """Let another process have it."""
        self._db.close()

    def ask(self, unit: str, results: int, estimate: float | None) -> int:
        """Write down what is about to be asked.

        Args:
            unit: What the results belong to.
            results: How many are asked for.
            estimate: Expected cost in $, where known.

        Returns:
            The ticket to close it with.
        """
        with self._db:
            values = (unit, results, estimate)
            cursor = self._db.execute(
                "INSERT INTO asked (unit, results, estimate) VALUES (?, ?, ?)", values
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def keep(
        self,
        ticket: int,
        results: Sequence[str] = (),
        *,
        cost: float | None = None,
        error: str | None = None,
    ) -> None:
        """Close a ticket with what came; once this returns, a crash cannot lose it.

        Args:
            ticket: What `ask` returned.
            results: What came, to be numbered on from what the unit has.
            cost: What was paid in $, where known.
            error: Why nothing came, or not all.
        """
        what = None if error is None else _storable(error)
        with self._db:
            self._db.execute("INSERT INTO closed VALUES (?, ?, ?)", (ticket, cost, what))
            (unit,) = self._one("SELECT unit FROM asked WHERE ticket = ?", ticket)
            (count,) = self._one("SELECT COUNT(*) FROM kept WHERE unit = ?", unit)
            texts = [_storable(result) for result in results]
            rows = [(unit, count + i, ticket, text) for i, text in enumerate(texts)]
            self._db.executemany("INSERT INTO kept VALUES (?, ?, ?, ?)", rows)

    def counts(self) -> dict[str, int]:
        """Results kept, by unit."""
        with self._reading():
            return dict(self._db.execute("SELECT unit, COUNT(*) FROM kept GROUP BY unit"))

    def results(self, unit: str) -> Iterator[str]:
        """What was kept of a unit, in the order of its numbers."""
        query = "SELECT result FROM kept WHERE unit = ? ORDER BY number"
        with self._reading():
            yield from (result for (result,) in self._db.execute(query, (unit,)))

    @property
    def spent(self) -> float:
        """$ paid so far, with the estimates of what was lost, as far as prices are known."""
        return float(self._one("SELECT COALESCE(SUM(cost), 0) FROM closed")[0])

    @property
    def lost(self) -> Lost:
        """What an earlier process left under way."""
        calls, results, priced, cost = self._one(
            f"SELECT COUNT(*), COALESCE(SUM(results), 0), COUNT(estimate), SUM(estimate) {_OPEN}"
        )
        return Lost(calls, results, float(cost or 0) if priced == calls else None)

    def write_off(self) -> Lost:
        """Close what an earlier process left under way, as paid by estimate, and tell of it."""
        lost = self.lost
        with self._db:
            self._db.execute(
                f"INSERT INTO closed SELECT asked.ticket, estimate, 'process was stopped' {_OPEN}"
            )
        return lost

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        with self._reading():
            row: tuple[Any, ...] = self._db.execute(query, values).fetchone()
        return row

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: is damaged ({error})") from error

    def _compare(self, about: Mapping[str, str]) -> None:
        known = dict(self._db.execute("SELECT key, value FROM about"))
        for key, value in about.items():
            if known.setdefault(key, value) != value:
                raise DataError(
                    f"{self.path}: was begun with another {key} ({known[key]}; now {value}); "
                    "restore it, write to another output, or delete that file"
                )
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", about.items())


def _storable(text: str) -> str:
    """Lone surrogates, which a provider's JSON may hold and no file can, are replaced by `?`."""
    return text.encode("utf-8", "replace").decode()
