"""`bestroute import`: a table and a pool that the other commands read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bestroute import ModelPool
from bestroute.cli.app import app
from bestroute.errors import ConfigError
from bestroute.learning.importers import IMPORTERS
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import COLUMNS, SPLITS, read_samples


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    path = tmp_path / "merged.jsonl"
    answers = {"responses": ["a", "b", "c", "d", "e"], "armoRM_scores": [1, 2, 3, 4, 5]}
    record = {"prompt": "Why?", "llama-31-8b": answers, "gpt-4o": answers}
    lines = [json.dumps({"id": f"set/{n}", **record}) + "\n" for n in range(40)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_table_and_pool_are_read_back(merged: Path, tmp_path: Path) -> None:
    output, pool_out = tmp_path / "samples.parquet", tmp_path / "pool.yaml"
    arguments = ["import", "best-route", str(merged), "-o", str(output)]
    done = CliRunner().invoke(app, [*arguments, "--pool-out", str(pool_out)])
    assert done.exit_code == 0, done.output
    assert "400 responses to 40 queries" in done.output
    pool = ModelPool.from_yaml(pool_out)
    assert (pool.reference.name, pool["llama-31-8b"].max_samples) == ("gpt-4o", 5)
    outcomes = Outcomes.from_samples(read_samples(output, scored=True), pool, agreement=str)
    assert set(outcomes.splits) == set(SPLITS)
    again = tmp_path / "again.parquet"
    CliRunner().invoke(app, [*arguments[:-1], str(again), "--seed", "1"])
    assert read_samples(again)["split"] != read_samples(output)["split"]


def test_layouts_are_listed_and_documented() -> None:
    done = CliRunner().invoke(app, ["import", "--list"])
    assert done.exit_code == 0, done.output
    lines = dict(line.split(maxsplit=1) for line in done.output.splitlines())
    assert lines.keys() == IMPORTERS.keys()
    assert "microsoft/best-route-llm" in lines["best-route"]
    page = (Path(__file__).parents[3] / "docs" / "samples.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert rows == {*COLUMNS, *IMPORTERS}


def test_an_unknown_layout_is_refused(merged: Path, tmp_path: Path) -> None:
    output = tmp_path / "samples.parquet"
    done = CliRunner().invoke(app, ["import", "bestroute", str(merged), "-o", str(output)])
    assert isinstance(done.exception, ConfigError)
    assert "best-route" in str(done.exception)
    assert not output.exists()
