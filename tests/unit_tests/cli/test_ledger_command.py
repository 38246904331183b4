"""`bestroute ledger`: the figures of a file, told and as JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bestroute.cli.app import app
from bestroute.errors import DataError
from bestroute.ledger import Ledger, LedgerSummary, summarise
from bestroute.ledger.entry import Entry
from bestroute.policy import Decision
from bestroute.pool import Arm
from bestroute.samples import Call, Usage

HOUR = 60 * 60


def call(model: str, cost: float) -> Call:
    usage = Usage(prompt_tokens=100, completion_tokens=50, cached_tokens=20)
    return Call(model=model, requested=1, received=1, usage=usage, cost=cost)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Two answers of the small model, one of the big one a week ago, and a failure."""
    ledger = Ledger(tmp_path / "calls.sqlite")
    small = Entry.of(Decision(arm=Arm("small", 3)), [call("small", 0.25)], latency=1.0)
    small = small._replace(outcome="ok", model="small", reference_cost=1.0)
    big = Entry.of(Decision(arm=Arm("big", 1)), [call("big", 1.0)], latency=3.0)
    big = big._replace(outcome="ok", model="big", reference_cost=1.0)
    week_ago = time.time() - 7 * 24 * HOUR - HOUR
    failed = Entry.of(
        Decision(arm=Arm("small", 3)), [call("small", 0.25)], latency=9.0, error=DataError("no")
    )
    ledger._writer.add(small, small, big._replace(time=week_ago), failed)
    ledger.flush()
    return str(ledger.path)


def invoke(*options: str) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["ledger", *options])


def test_it_tells_the_whole(file: str) -> None:
    told = invoke(file).output
    assert "4 routed calls: 3 answered (0 degraded), 1 failed, 0 cancelled" in told
    assert "spent $1.75, $0.25 of it without an answer" in told
    assert "saved about $1.5 (50%) against always asking the reference ($3)" in told
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines()]
    assert ["big", "1", "1", "100", "20", "50", "1.000000"] in rows
    assert ["small", "2", "3", "300", "60", "150", "0.750000"] in rows
    assert ["small:3", "3", "75.0%"] in rows
    assert ["big:1", "1", "25.0%"] in rows
    assert sum(row[:1] > ["2000"] and len(row) == 4 for row in rows) == 2  # days


def test_since_and_by(file: str) -> None:
    lately = invoke(file, "--since", "7d", "--by", "model").output
    assert "3 routed calls" in lately
    assert "small" in lately
    assert "big" not in lately
    assert "small:3" not in lately
    assert "4 routed calls" in invoke(file, "--since", "2w").output
    assert "4 routed calls" in invoke(file, "--since", "2020-01-01", "--by", "day").output
    assert "0 routed calls" in invoke(file, "--since", "2999-01-01T10:00").output


@pytest.mark.parametrize("since", ["yesterday", "7", "7y", "99999999999w"])
def test_times_that_are_none(since: str, file: str) -> None:
    result = invoke(file, "--since", since)
    assert result.exit_code == 2
    assert "is no time" in result.output or "too long ago" in result.output


def test_as_json(file: str, tmp_path: Path) -> None:
    printed: Any = json.loads(invoke(file, "--json", "-").stdout)
    assert LedgerSummary.model_validate(printed) == summarise(file)
    assert invoke(file, "--json", str(tmp_path / "out.json")).exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text()) == printed


def test_no_ledger(tmp_path: Path) -> None:
    result = invoke(str(tmp_path / "none.sqlite"))
    assert isinstance(result.exception, DataError)
