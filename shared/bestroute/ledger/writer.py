"""Writes the ledger's rows beside the calls, and fails none."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from bestroute.errors import ConfigError, DataError
from bestroute.ledger.entry import Entry
from bestroute.ledger.file import BATCH, insert, open_to_write

_log = logging.getLogger(__name__)

_MOST_PENDING = 10_000  # rows kept while the file cannot be written


class Writer:
    """Writes rows in a thread of its own; a forked child begins anew.

    Attributes:
        lost: Rows given up, because too many waited.
        behind: Whether rows wait that it could not write in time; nobody should wait for it.
    """

    def __init__(self, path: Path) -> None:
        self.lost = 0
        self.behind = False
        self._path = path
        self._warned = False
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._pending: deque[Entry] = deque()
        self._connection: sqlite3.Connection | None = None
        self._writing = threading.Lock()
        self._asking = threading.Lock()
        self._next: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bestroute-ledger")

    def check(self) -> None:
        """See whether the file can be a ledger.

        Raises:
            DataError: The file is no ledger, or one of a newer version.
            ConfigError: It cannot be opened.
        """
        try:
            open_to_write(self._path).close()
        except sqlite3.Error as error:
            if "locked" not in str(error):
                raise ConfigError(f"the ledger {self._path} cannot be opened: {error}") from error

    def add(self, *entries: Entry) -> Future[None]:
        """Write rows soon; the future ends once it was tried."""
        if self._process != os.getpid():
            _inherited.append(self._connection)
            self._start()
        self._pending.extend(entries)
        with self._asking:
            if self._next is None:
                try:
                    self._next = self._thread.submit(self._begin)
                except RuntimeError:  # the process ends: whoever collects the ledger writes
                    self._next = Future()
                    self._next.set_result(None)
            return self._next

    def _begin(self) -> None:
        with self._asking:
            self._next = None
        self.write()

    def write(self) -> None:
        """Write what is pending; what cannot be written waits."""
        if self._process != os.getpid():  # a parent writes its own
            return
        with self._writing:
            while entries := list(islice(self._pending, BATCH)):
                try:
                    if self._connection is None:
                        self._connection = open_to_write(self._path)
                    insert(self._connection, entries)
                except (sqlite3.Error, OSError, DataError) as error:
                    return self._complain(error)
                for _ in entries:
                    self._pending.popleft()
            self.behind = False

    def _complain(self, error: Exception) -> None:
        self.behind, self._connection = True, None
        while len(self._pending) > _MOST_PENDING:
            self._pending.popleft()
            self.lost += 1
        if not self._warned:
            self._warned = True
            _log.warning(
                "the ledger %s cannot be written (%s); calls go on, rows wait", self._path, error
            )


_inherited: list[Any] = []
"""Connections of a parent process, which a forked child must not close."""
