"""`bestroute fit`: from recorded prompts to a router, and the second run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

import bestroute
from bestroute import BestRoute, ModelPool, cli
from bestroute.cli.app import app
from bestroute.errors import ConfigError, MissingPriceError
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.samples import read_samples
from bestroute.recorded import Recording

DATA = Path(bestroute.__file__).parent / "data"
SAMPLES, POOL = DATA / "demo_samples.parquet", DATA / "demo_pool.yaml"
DRAWN = {"smollm2-135m": 5, "qwen2.5-coder-0.5b": 5, "qwen2.5-coder-1.5b": 4}


class Run(NamedTuple):
    folder: Path
    dry: Result
    first: Result
    second: Result
    asked: list[int]


def arguments(folder: Path, *more: str) -> list[str]:
    samples = [each for name, n in DRAWN.items() for each in ("-n", f"{name}={n}")]
    files = [str(POOL), str(folder / "prompts.jsonl"), "-o", str(folder / "router")]
    return ["fit", *files, *samples, *more]


def invoke(*options: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, options)


def write_prompts(folder: Path) -> Path:
    some = [p for p in read_prompts(SAMPLES) if p.id[-1] in "16" and p.task != "code"]
    lines = [each.model_dump_json(exclude_none=True) for each in some]
    (folder / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A dry run, a run, and the same run again; how often the models were asked in each."""
    folder = write_prompts(tmp_path_factory.mktemp("fit"))
    installed: list[Recording] = []
    asked = [0]
    install, take = Recording.install, Recording.take

    def remembered(self: Recording) -> None:
        installed.append(self)
        install(self)

    def counted(self: Recording, key: str, n: int) -> list[Mapping[str, Any]]:
        asked[-1] += 1
        return take(self, key, n)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recording, "install", remembered)
        patch.setattr(Recording, "take", counted)
        dry = invoke(*arguments(folder, "--dry-run"))
        left = sorted(path.name for path in folder.iterdir())
        assert left == ["prompts.jsonl"], left
        results = []
        for name in ("first", "second"):
            asked.append(0)
            results.append(invoke(*arguments(folder, "--json", str(folder / f"{name}.json"))))
    for result in (dry, *results):
        assert result.exit_code == 0, (result.output, result.exception)
    yield Run(folder, dry, *results, asked)
    for recording in installed:
        recording.uninstall()


def test_a_dry_run_says_what_it_would_take_and_asks_nobody(done: Run) -> None:
    prompts = read_prompts(done.folder / "prompts.jsonl")
    assert f"{len(prompts)} prompts, 0 samples there already" in done.dry.output
    for name, n in DRAWN.items():
        (line,) = (line for line in done.dry.output.splitlines() if name in line)
        assert f"{n * len(prompts):,}" in line
    assert "Expected in all: $" in done.dry.output
    assert done.asked[0] == 0


def test_the_second_run_asks_nobody_and_finds_the_same(done: Run) -> None:
    prompts = read_prompts(done.folder / "prompts.jsonl")
    _, first, second = done.asked
    assert first == len(prompts) * len(DRAWN)  # each has n choices in one call
    assert second == 0
    kept = sum(DRAWN.values()) * len(prompts)
    assert f"{kept} samples there already" in done.second.output
    assert (done.folder / "first.json").read_text() == (done.folder / "second.json").read_text()


def test_the_scores_are_those_that_were_recorded(done: Run) -> None:
    def kept(path: Path) -> Counter[Any]:
        names = ("query_id", "model", "response", "oracle_score", "split")
        return Counter(tuple(row[n] for n in names) for row in read_samples(path).to_pylist())

    mine = kept(done.folder / "router.work" / "scored.parquet")
    assert mine.total() > 0
    assert mine <= kept(SAMPLES)


def test_what_is_written(done: Run) -> None:
    found = json.loads((done.folder / "first.json").read_text())
    prompts = read_prompts(done.folder / "prompts.jsonl")
    sizes = Counter(prompt.split for prompt in prompts)
    assert found["calibration"]["n_queries"] == sizes["calibration"]
    evaluation = found["assessment"]["evaluation"]
    assert evaluation["n_queries"] == sizes["test"]
    scored = read_samples(done.folder / "router.work" / "scored.parquet").to_pylist()
    reference = ModelPool.from_yaml(POOL).reference.name
    scores = [
        row["oracle_score"]
        for row in scored
        if row["model"] == reference and row["split"] == "test"
    ]
    named = {row["name"]: row for row in evaluation["rows"]}
    quality = named["always_reference"]["quality"]
    assert quality == pytest.approx(sum(scores) / len(scores))
    methods = {each["name"] for each in found["assessment"]["comparison"]["methods"]}
    assert {"random mix", "router", "knn", "oracle"} <= methods
    for name in ("README.md", "report.html", "curve.png", "reliability.png"):
        assert (done.folder / "router" / name).stat().st_size > 0


def test_the_router_routes(done: Run) -> None:
    engine = BestRoute.from_pretrained(done.folder / "router", pool=ModelPool.from_yaml(POOL))
    decision = engine.route("What is 17 * 3?", target_cost=1000)
    assert decision.target_cost == 1000
    assert set(decision.match_probabilities) == {str(arm) for arm in engine.pool.arms}


def test_a_reward_model_is_trained_and_travels_with_the_router(done: Run, tmp_path: Path) -> None:
    scored = done.folder / "router.work" / "scored.parquet"
    options = ["--reward", "static", "--baselines", "single-sample"]
    result = invoke("fit", str(POOL), str(scored), "-o", str(tmp_path / "router"), *options)
    assert result.exit_code == 0, (result.output, result.exception)
    engine = BestRoute.from_pretrained(tmp_path / "router")
    (better, worse) = engine.reward.score("What is 2 + 2?", ["4", "I do not know " * 20])
    assert better != worse
    assert "single-sample" in result.output


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--baselines", "nope"], "unknown baseline 'nope'"),
        (["--router", "nope"], "unknown router 'nope'"),
        (["--policy", "nope"], "unknown policy 'nope'"),
        (["--probabilities", "nope"], "unknown probabilities 'nope'"),
        (["--router", "knn", "--monotone"], "need the multi-head router"),
    ],
)
def test_what_makes_no_sense_is_one_clear_error(
    options: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["fit", str(POOL), str(SAMPLES), "-o", str(tmp_path / "router"), *options]
    monkeypatch.setattr("sys.argv", ["bestroute", *given])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("ConfigError: ")
    assert reason in " ".join(said.split())
    assert "Traceback" not in said
    assert not (tmp_path / "router").exists()


def test_prompts_that_nothing_can_score(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"query": "Write a poem."}\n')
    result = invoke(*arguments(tmp_path))
    assert isinstance(result.exception, ConfigError)
    assert "--oracle" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_a_dry_run_finds_what_would_end_the_run(tmp_path: Path) -> None:
    folder = write_prompts(tmp_path)
    pool = yaml.safe_load(POOL.read_text())
    del pool["models"][0]["price"]
    (folder / "pool.yaml").write_text(yaml.safe_dump(pool))
    files = [str(folder / "pool.yaml"), str(folder / "prompts.jsonl")]
    result = invoke("fit", *files, "-o", str(folder / "router"), "--dry-run")
    assert isinstance(result.exception, MissingPriceError)
    assert not (folder / "router.work").exists()


def test_a_router_that_never_leaves_the_reference_says_so(tmp_path: Path) -> None:
    """Nobody but the reference is ever right."""
    asked = {prompt.id for prompt in read_prompts(write_prompts(tmp_path) / "prompts.jsonl")}
    rows = [row for row in read_samples(SAMPLES).to_pylist() if row["query_id"] in asked]
    reference = ModelPool.from_yaml(POOL).reference.name
    for row in rows:
        row["oracle_score"] = float(row["model"] == reference)
    table = pa.Table.from_pylist(rows, read_samples(SAMPLES).schema)
    pq.write_table(table, tmp_path / "scored.parquet")
    files = [str(POOL), str(tmp_path / "scored.parquet"), "-o", str(tmp_path / "router")]
    result = invoke("fit", *files, "--json", "-")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "This router saves nothing" in result.stderr
    assert json.loads(result.stdout)["never_leaves_reference"] is True


def test_a_table_without_scores_is_read_as_prompts(tmp_path: Path) -> None:
    table = read_samples(SAMPLES)
    pq.write_table(table.drop_columns(["oracle_score"]), tmp_path / "bare.parquet")
    options = ["-o", str(tmp_path / "router"), "--dry-run"]
    result = invoke("fit", str(POOL), str(tmp_path / "bare.parquet"), *options)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "540 prompts" in result.output
