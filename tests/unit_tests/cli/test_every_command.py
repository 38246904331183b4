"""What every command keeps to: help, JSON, exit codes, quiet pipes, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
import yaml
from typer.testing import CliRunner

import bestroute
from bestroute.cli.app import app, run
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.samples import read_samples
from tests.servers import ChatServer, Reply

DATA = Path(bestroute.__file__).parent / "data"
SAMPLES, POOL = DATA / "demo_samples.parquet", DATA / "demo_pool.yaml"
COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

RUNS: dict[str, Sequence[str]] = {
    "demo": ("--files", "{}/files"),
    "init": ("{}/new.yaml",),
    "route": ("hi", "--pool", "{}/pool.yaml"),
    "chat": ("--demo", "--ledger", "{}/ledger.sqlite"),
    "ledger": ("{}/ledger.sqlite",),
    "collect": ("{}/prompts.jsonl", "--pool", "{}/pool.yaml", "-o", "{}/c.parquet"),
    "score": ("{}/samples.parquet", "--oracle", "check", "-o", "{}/scored.parquet"),
    "fit": ("{}/pool.yaml", "{}/samples.parquet", "-o", "{}/router", "--max-drop", "0.2"),
    "train": ("{}/samples.parquet", "--pool", "{}/pool.yaml", "-o", "{}/trained"),
    "train-reward": ("{}/samples.parquet", "-o", "{}/reward"),
    "calibrate": ("{}/router", "{}/samples.parquet"),
    "evaluate": ("{}/samples.parquet", "--router", "{}/router", "--resamples", "20"),
    "report": (
        *("{}/samples.parquet", "--router", "{}/router", "--resamples", "20"),
        *("-o", "{}/report.html"),
    ),
}
"""One run a command, in the order in which they need each other's files."""

ELSEWHERE = {
    "serve": "runs until it is stopped: test_serve",
    "export": "needs a transformer: routers/test_export",
    "import": "needs recorded data: test_import_command",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tenth of the recorded samples, and their pool."""
    where = tmp_path_factory.mktemp("every")
    some = [p for p in read_prompts(SAMPLES) if p.id[-1] == "1" and p.task != "code"]
    lines = [each.model_dump_json(exclude_none=True) for each in some]
    (where / "prompts.jsonl").write_text("\n".join(lines[:5]), encoding="utf-8")
    kept = {prompt.id for prompt in some}
    table = read_samples(SAMPLES)
    rows = [query in kept for query in table["query_id"].to_pylist()]
    pq.write_table(table.filter(rows), where / "samples.parquet")
    (where / "pool.yaml").write_text(POOL.read_text(encoding="utf-8"), encoding="utf-8")
    return where


def test_no_command_is_forgotten() -> None:
    assert set(RUNS) | set(ELSEWHERE) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_json(name: str) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [name, "--help"])
    assert done.exit_code == 0
    assert re.search(rf"Example: .*bestroute {name}\b", done.output)
    assert "--json" in done.output


@pytest.mark.parametrize("name", RUNS)
def test_json_on_stdout_is_alone_there_and_pipes_stay_clean(name: str, folder: Path) -> None:
    options = [each.replace("{}", str(folder)) for each in RUNS[name]]
    done = CliRunner().invoke(app, [name, *options, "--json", "-"], input="/example\n/exit\n")
    assert done.exit_code == 0, (done.output, done.exception)
    assert isinstance(json.loads(done.stdout), dict)
    assert done.stderr, "people are told on stderr"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done.stdout + done.stderr)
    assert "\u2501\u2501\u2501 0:00" not in done.stderr  # a progress bar and its clock


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_is_a_usage_error(name: str) -> None:
    assert CliRunner().invoke(app, [name, "--no-such-option"]).exit_code == 2


def refused(
    arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What is said of it, on stderr, with exit code 1 and no traceback."""
    monkeypatch.setattr("sys.argv", ["bestroute", *arguments])
    with pytest.raises(SystemExit) as caught:
        run()
    said = capsys.readouterr()
    assert caught.value.code == 1 and not said.out
    assert "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize("name", [name for name in RUNS if name not in ("demo", "init", "chat")])
def test_an_absent_file_is_one_clear_error(
    name: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [each.replace("{}", str(folder / "absent")) for each in RUNS[name]]
    assert "absent" in "".join(refused([name, *options], monkeypatch, capsys).split())


def test_what_cannot_be_written_is_one_clear_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["init", str(folder / "pool.yaml" / "inner.yaml")]
    assert re.match(r"\w+Error: ", refused(arguments, monkeypatch, capsys))


def bestroute_process(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bestroute", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_ctrl_c_ends_with_130_and_no_traceback(
    folder: Path, chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = Reply("late", delay=30)
    params = {"params": chat_server.params, "price": {"input": 1, "output": 1}}
    models = [{"model": "openai/big", "reference": True, **params}]
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump({"models": models}), encoding="utf-8")
    options = ("--pool", str(tmp_path / "pool.yaml"), "-n", "1", "-o", str(tmp_path / "x.parquet"))
    process = bestroute_process("collect", str(folder / "prompts.jsonl"), *options)
    while not chat_server.requests and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = "".join(process.communicate(timeout=20))
    assert process.returncode == 130, said
    assert "Traceback" not in said and "\x1b" not in said


def test_version_and_completion_as_a_module() -> None:
    process = bestroute_process("--version")
    assert process.communicate()[0].strip() == bestroute.__version__
    typed = {"COMP_WORDS": "bestroute train-", "COMP_CWORD": "1"}
    asking = {**typed, "_BESTROUTE_COMPLETE": "complete_bash"}
    process = bestroute_process(env={**os.environ, **asking})
    assert process.communicate()[0].split() == ["train-reward"]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["--help"])
    assert "--install-completion" in done.output
