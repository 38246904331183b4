"""The journal: what is kept stays, what was under way is known, one process at a time."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bestroute.errors import DataError
from bestroute.learning.journal import Journal, Lost

ABOUT = {"model 'a'": "temperature 1"}


def test_results_are_numbered_by_unit_and_kept_for_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with closing(Journal(path, ABOUT)) as journal:
        first, other = journal.ask("u", 2, 0.5), journal.ask("v", 1, None)
        journal.keep(other, ["z"], cost=0.125)
        journal.keep(first, ["a", "b"], cost=0.25)
        journal.keep(journal.ask("u", 1, None), ["c"])
    with closing(Journal(path, ABOUT)) as journal:
        assert journal.counts() == {"u": 3, "v": 1}
        assert [*journal.results("u")] == ["a", "b", "c"]
        assert journal.spent == 0.375
        assert journal.lost == Lost(0, 0, 0)


def test_a_ticket_is_closed_once(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "j", ABOUT)) as journal:
        ticket = journal.ask("u", 1, None)
        journal.keep(ticket, ["a"])
        with pytest.raises(sqlite3.IntegrityError):
            journal.keep(ticket, ["a"])
        assert journal.counts() == {"u": 1}


def test_what_was_under_way_is_told_once_and_counts_as_spent(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with closing(Journal(path, ABOUT)) as journal:
        journal.ask("u", 20, 0.5)
        journal.ask("v", 3, 0.25)
        journal.keep(journal.ask("w", 1, 1), ["a"], cost=2)
        failed = journal.ask("x", 1, 1)
        journal.keep(failed, error="no")
    with closing(Journal(path, ABOUT)) as journal:
        assert journal.lost == Lost(2, 23, 0.75)  # reading it does not take it away
        assert journal.write_off() == Lost(2, 23, 0.75)
        assert journal.lost == journal.write_off() == Lost(0, 0, 0)
        assert journal.spent == 2.75
        journal.ask("u", 1, None)
    with closing(Journal(path, ABOUT)) as journal:
        assert journal.lost == Lost(1, 1, None)


def test_something_else_under_a_name_is_refused_something_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, ABOUT).close()
    Journal(path, {"model 'b'": "x"}).close()
    with pytest.raises(DataError, match=r"another model 'a' \(temperature 1; now temperature 2\)"):
        Journal(path, {"model 'a'": "temperature 2"})
    Journal(path, {**ABOUT, "model 'b'": "x"}).close()  # and the lock is free again


def test_another_file_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text("something else, long enough to have been a header " * 9)
    with pytest.raises(DataError, match="cannot be used as a journal"):
        Journal(path, ABOUT)
    assert path.read_text().startswith("something else")
    with pytest.raises(DataError, match="cannot be opened"):
        Journal(tmp_path / "absent" / "j", ABOUT)


HOLDER = """
import sys, time
from bestroute.learning.journal import Journal
journal = Journal(sys.argv[1], {})
journal.keep(journal.ask("u", 1, None), ["kept"])
journal.ask("v", 1, 0.5)
print("ready", flush=True)
time.sleep(60)
"""


def test_one_process_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "j"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(DataError, match="another process is using it"):
            Journal(path, {})
        os.kill(holder.pid, signal.SIGKILL)
    with closing(Journal(path, {})) as journal:
        assert journal.counts() == {"u": 1}
        assert journal.lost == Lost(1, 1, 0.5)
        with pytest.raises(DataError, match="another process"):  # or another part of this one
            Journal(path, {})


def test_a_lone_surrogate_in_what_was_paid_for_is_kept_as_a_question_mark(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", {})
    ticket = journal.ask("u", 1, 0.1)
    journal.keep(ticket, ["ok \ud83d"], cost=0.1, error="not \udc00 well")
    assert list(journal.results("u")) == ["ok ?"]
    assert journal.lost.calls == 0
    journal.close()
