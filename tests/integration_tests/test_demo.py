"""`bestroute demo` and `bestroute fit`, as a newcomer runs them."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bestroute import BestRoute, ModelPool
from bestroute.cli.app import app
from bestroute.cli.demo import live_pool
from bestroute.errors import ConfigError
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.samples import SPLITS, read_samples
from bestroute.learning.scoring.verifiers import parse_check, verify

DATA = Path(str(resources.files("bestroute") / "data"))
POOL = ModelPool.from_yaml(DATA / "demo_pool.yaml")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return read_samples(DATA / "demo_samples.parquet", scored=True).to_pylist()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    folder = tmp_path_factory.mktemp("demo")
    numbers = folder / "out.json"
    done = CliRunner().invoke(app, ["demo", "--json", str(numbers), "-o", str(folder)])
    assert done.exit_code == 0, done.output
    return json.loads(numbers.read_text()), done.output, folder


def test_the_table_has_every_row(demo: tuple[dict[str, Any], str, Path]) -> None:
    named = {row["name"]: row for row in demo[0]["rows"]}
    fixed = {f"fixed:{arm}" for arm in POOL.arms if arm != POOL.reference_arm}
    assert set(named) == {"always_reference", "random_mix", "router", "oracle"} | fixed
    for row in named.values():
        assert 0 <= row["quality_lo"] <= row["quality"] <= row["quality_hi"] <= 1
        assert row["cost_cut"] == pytest.approx(
            1 - row["cost_per_1k"] / named["always_reference"]["cost_per_1k"]
        )
    assert named["oracle"]["quality"] >= named["router"]["quality"] - 1e-9
    assert named["oracle"]["quality"] >= named["random_mix"]["quality"] - 1e-9


def test_always_reference_is_what_the_table_says(
    demo: tuple[dict[str, Any], str, Path], rows: list[dict[str, Any]]
) -> None:
    reference = POOL.reference.name
    test = [row for row in rows if row["split"] == "test" and row["model"] == reference]
    right = sum(row["oracle_score"] for row in test) / len(test)
    price = POOL.reference.price
    assert price is not None
    spent = sum(price.cost(row["prompt_tokens"], row["completion_tokens"]) for row in test)
    row = demo[0]["rows"][0]
    assert row["name"] == "always_reference"
    assert row["quality"] == pytest.approx(right)
    assert row["cost_per_1k"] == pytest.approx(spent / len(test) * 1000)


def test_ten_questions_go_through_the_engine(
    demo: tuple[dict[str, Any], str, Path], rows: list[dict[str, Any]]
) -> None:
    unseen = {row["query"] for row in rows if row["split"] == "test"}
    answers = demo[0]["live"]
    assert len(answers) == 10
    for answer in answers:
        assert answer["query"] in unseen
        assert answer["answer"] in {
            row["response"] for row in rows if row["query"] == answer["query"]
        }
        assert answer["cost"] > 0
        assert answer["estimated_cost"] > 0


def test_what_is_shown_and_written(demo: tuple[dict[str, Any], str, Path]) -> None:
    _, output, folder = demo
    assert "random mix" in output
    assert "no promise" in output
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "report.html").read_text()
    assert "fixed:smollm2-135m:1" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched when it is opened


def test_the_saved_router_routes(demo: tuple[dict[str, Any], str, Path]) -> None:
    engine = BestRoute.from_pretrained(demo[2] / "router")
    decision = engine.route("What is 2 + 2? Answer with the number only.")
    assert set(decision.match_probabilities) == {str(arm) for arm in POOL.arms}
    assert "always_reference" in (demo[2] / "router" / "README.md").read_text()


def test_fit_gives_the_same_router_as_the_demo(
    demo: tuple[dict[str, Any], str, Path], tmp_path: Path
) -> None:
    arguments = ["fit", str(DATA / "demo_pool.yaml"), str(DATA / "demo_samples.parquet")]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    queries = ["What is 7 + 5?", "Write a Python function that returns the longest word."]
    mine, theirs = (BestRoute.from_pretrained(d) for d in (tmp_path, demo[2] / "router"))
    assert [mine.route(q) for q in queries] == [theirs.route(q) for q in queries]


def test_the_files_are_the_prompts_that_were_recorded(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "--files", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert read_prompts(tmp_path / "prompts.jsonl") == read_prompts(DATA / "demo_samples.parquet")
    assert ModelPool.from_yaml(tmp_path / "pool.yaml") == POOL
    again = CliRunner().invoke(app, ["demo", "--files", str(tmp_path)])
    assert isinstance(again.exception, ConfigError)  # someone's own pool is not written over


def test_the_shipped_samples(rows: list[dict[str, Any]]) -> None:
    """What the data card promises."""
    prompts = {row["query_id"]: row for row in rows}
    by_split = {split: [p for p in prompts.values() if p["split"] == split] for split in SPLITS}
    assert len(prompts) >= 500
    assert len(by_split["test"]) >= 200
    assert len({row["task"] for row in rows}) >= 8
    counts = {(row["query_id"], row["model"]): 0 for row in rows}
    for row in rows:
        counts[row["query_id"], row["model"]] += 1
        assert row["completion_tokens"] <= (130 if row["task"] == "code" else 66)
    for (_, model), count in counts.items():
        assert count >= (4 if model == POOL.reference.name else 10)
    assert (DATA / "demo_samples.parquet").stat().st_size <= 6_000_000


def test_the_oracle_scores_can_be_made_again(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["task"] != "code":  # each of those runs a process
            assert verify(parse_check(row["check"]), row["response"]) == row["oracle_score"], row


def test_live_wants_a_server_for_every_model() -> None:
    with pytest.raises(ConfigError, match="--api-base"):
        live_pool(POOL, [], None)
    served = live_pool(POOL, ["http://127.0.0.1:8080/v1"], "small,middle,big")
    assert [m.model for m in served.models] == ["openai/small", "openai/middle", "openai/big"]
    assert all(m.call_params()["api_base"].endswith("8080/v1") for m in served.models)
