"""`bestroute collect` and `bestroute score`: the shipped recording, from prompts to scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

import bestroute
from bestroute import ModelPool
from bestroute.cli.collect import collect
from bestroute.cli.recording import install_recording
from bestroute.cli.score import score
from bestroute.errors import ConfigError, DataError
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.collecting.workload import about, journal_path
from bestroute.learning.journal import Journal
from bestroute.learning.samples import read_samples
from bestroute.recorded import Recording
from tests.servers import ChatServer

DATA = Path(bestroute.__file__).parent / "data"
SAMPLES, POOL = DATA / "demo_samples.parquet", DATA / "demo_pool.yaml"


@pytest.fixture(autouse=True)
def _forget_recordings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    installed: list[Recording] = []
    install = Recording.install

    def remembered(self: Recording) -> None:
        install(self)
        installed.append(self)

    monkeypatch.setattr(Recording, "install", remembered)
    yield
    for recording in installed:
        recording.uninstall()


def run(command: Callable[..., None], *arguments: object) -> Result:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    some = [p for p in read_prompts(SAMPLES) if p.id.endswith("01")]
    lines = [p.model_dump_json(exclude_none=True) for p in some]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_from_prompts_to_the_scores_that_were_recorded(tmp_path: Path, prompts: Path) -> None:
    out, report = tmp_path / "samples.parquet", tmp_path / "c.json"
    dry = run(collect, prompts, "--pool", POOL, "-o", out, "--dry-run", "--json", report)
    planned = json.loads(report.read_text())
    assert planned["collected"] is None and not out.exists()
    # No more is planned than was recorded.
    count = len(prompts.read_text().splitlines())
    assert [each["samples"] for each in planned["plan"]["models"]] == [10 * count] * 2 + [4 * count]
    assert f"{10 * count:,}" in dry.output
    cost = planned["plan"]["models"][0]["cost"]
    assert f"${cost:.4f}" in dry.output

    run(collect, prompts, "--pool", POOL, "-o", out, "-n", "smollm2-135m=2", "--json", report)
    done = run(collect, prompts, "--pool", POOL, "-o", out, "--json", report)
    assert f"{14 * count} samples there already" not in done.output
    assert f"{16 * count} samples there already" in done.output
    assert json.loads(report.read_text())["collected"]["rows"] == 24 * count
    run(score, out, "--oracle", "check", "-o", out, "--json", tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())["scored"]["missing"] == {"oracle_score": 0}

    def kept(path: Path) -> Counter[Any]:
        names = ("query_id", "model", "response", "oracle_score", "split")
        return Counter(tuple(row[n] for n in names) for row in read_samples(path).to_pylist())

    assert kept(out) <= kept(SAMPLES)


def test_lost_calls_failures_and_limits_are_told(tmp_path: Path, chat_server: ChatServer) -> None:
    model = {"model": "openai/m", "reference": True, "price": {"input": 1, "output": 1}}
    pool, prompts, out = (tmp_path / name for name in ("pool.yaml", "p.jsonl", "s.parquet"))
    pool.write_text(yaml.safe_dump({"models": [{**model, "params": chat_server.params}]}))
    prompts.write_text('{"question": "a"}\n{"question": "b"}')
    journal = Journal(journal_path(out), about(ModelPool.from_yaml(pool)))
    journal.ask("other", 1, 0.25)
    journal.close()
    options = ["--pool", pool, "-o", out, "-n", 2, "--column", "query=question"]
    done = run(collect, prompts, *options, "--max-cost", 0.0001)
    assert "1 calls under way, which may have cost $0.2500; they are asked again" in done.output
    assert "Stopped: " in done.output and "4 samples are missing" in done.output
    done = run(collect, prompts, *options)
    assert "under way" not in done.output
    assert read_samples(out).num_rows == 4


def test_a_judge_is_estimated_before_it_is_asked(
    tmp_path: Path, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", chat_server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    chat_server.reply = "Score: 8"
    few = tmp_path / "few.parquet"
    pq.write_table(read_samples(SAMPLES).slice(0, 3), few)
    out = tmp_path / "out.parquet"
    options = [few, "--oracle", "judge:openai/gpt-4o", "-o", out]
    dry = run(score, *options, "--dry-run")
    assert "3 calls" in dry.output and "$0.00" in dry.output
    assert not chat_server.requests
    run(score, *options)
    assert len(chat_server.requests) == 3
    assert read_samples(out)["oracle_score"].to_pylist() == [8, 8, 8]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-n", "many"], "--samples many"),
        (["-n", "a=1", "-n", "2"], "--samples 2: write it as NAME=VALUE"),
        (["--column", "query"], "--column query"),
    ],
)
def test_options_that_say_nothing(
    tmp_path: Path, prompts: Path, options: list[str], reason: str
) -> None:
    app = typer.Typer()
    app.command()(collect)
    fixed = [str(prompts), "--pool", str(POOL), "-o", str(tmp_path / "s.parquet")]
    done = CliRunner().invoke(app, [*fixed, *options])
    assert isinstance(done.exception, ConfigError)
    assert reason in str(done.exception)


def test_recordings_answer_for_recorded_models_only() -> None:
    pool = ModelPool.from_yaml(POOL)
    limits = {"smollm2-135m": 10, "qwen2.5-coder-0.5b": 10, "qwen2.5-coder-1.5b": 4}
    assert install_recording(pool, None) == install_recording(pool, SAMPLES) == limits
    live = ModelPool.from_dict({"models": [{"model": "openai/m", "reference": True}]})
    assert install_recording(live, None) == {}
    with pytest.raises(ConfigError, match="no model of the pool is recorded/"):
        install_recording(live, SAMPLES)
    other = ModelPool.from_dict({"models": [{"model": "recorded/m", "reference": True}]})
    with pytest.raises(DataError, match="nothing recorded of 'm'"):
        install_recording(other, None)
