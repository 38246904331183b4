"""`bestroute evaluate`, on the shipped samples: what it writes, charges and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

import bestroute
from bestroute import ModelPool
from bestroute.cli.app import app
from bestroute.errors import ArtifactError, ConfigError, DataError
from bestroute.learning.fit import train
from bestroute.learning.samples import read_samples
from bestroute.policy import OneShot

DATA = Path(bestroute.__file__).parent / "data"
SAMPLES, POOL = DATA / "demo_samples.parquet", DATA / "demo_pool.yaml"
FAST = ("--resamples", "50")


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    engine, _ = train(read_samples(SAMPLES, scored=True), ModelPool.from_yaml(POOL))
    engine.policy = OneShot(0.7)
    return engine.save_pretrained(tmp_path_factory.mktemp("evaluate") / "router")


def invoke(router: Path, *options: str, samples: Path = SAMPLES) -> Result:
    given = ["evaluate", str(samples), "--router", str(router), *FAST, *options]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, given)


def found(router: Path, folder: Path, *options: str) -> dict[str, Any]:
    done = invoke(router, *options, "--json", str(folder / "out.json"))
    assert done.exit_code == 0, (done.output, done.exception)
    numbers: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return numbers


def rows(numbers: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in numbers["evaluation"]["rows"]}


@pytest.fixture(scope="module")
def plain(router: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return found(router, tmp_path_factory.mktemp("plain"))


def test_the_reference_and_single_samples_are_what_the_table_says(plain: dict[str, Any]) -> None:
    table = read_samples(SAMPLES).to_pylist()
    pool = ModelPool.from_yaml(POOL)
    named = rows(plain)
    for member in pool.models:
        mine = [r for r in table if r["model"] == member.name and r["split"] == "test"]
        name = "always_reference" if member.reference else f"fixed:{member.name}:1"
        quality = sum(row["oracle_score"] for row in mine) / len(mine)
        assert named[name]["quality"] == pytest.approx(quality)
        assert member.price is not None
        spent = sum(member.price.cost(r["prompt_tokens"], r["completion_tokens"]) for r in mine)
        assert named[name]["cost_per_1k"] == pytest.approx(spent / len(mine) * 1000)
    assert plain["evaluation"]["n_queries"] == len(
        {row["query_id"] for row in table if row["split"] == "test"}
    )


def test_no_router_beats_the_oracle_at_its_cost(plain: dict[str, Any]) -> None:
    methods = {each["name"]: each for each in plain["comparison"]["methods"]}
    known = methods.pop("clairvoyant")  # it has seen the draws, and may
    for clear, best in zip(known["drops"], methods["oracle"]["drops"], strict=True):
        assert clear["value"] <= best["value"]
    for name, method in methods.items():
        for drop, best in zip(method["drops"], methods["oracle"]["drops"], strict=True):
            if drop is not None and best is not None:
                assert drop["value"] >= best["value"] - 1e-9, name


def test_prices_of_another_pool(router: Path, plain: dict[str, Any], tmp_path: Path) -> None:
    pool = yaml.safe_load(POOL.read_text(encoding="utf-8"))
    for member in pool["models"]:
        member["price"] = {name: price * 2 for name, price in member["price"].items()}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool), encoding="utf-8")
    doubled = rows(found(router, tmp_path, "--pool", str(tmp_path / "pool.yaml")))
    for name, row in rows(plain).items():
        assert doubled[name]["cost_per_1k"] == pytest.approx(2 * row["cost_per_1k"])
        assert doubled[name]["quality"] == pytest.approx(row["quality"])


def test_the_reward_model_is_charged_for_what_it_reads(
    router: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    charged = rows(found(router, tmp_path, "--reward-price", "1"))
    for name, row in rows(plain).items():
        more = charged[name]["cost_per_1k"] - row["cost_per_1k"]
        if name.endswith((":2", ":3", ":4", ":5")):
            assert more > 0
        elif name.startswith("fixed") or name == "always_reference":
            assert more == pytest.approx(0)


def test_baselines_tables_and_plots(router: Path, tmp_path: Path) -> None:
    options = ["--baselines", "clusters", "--baselines", "single-sample"]
    files = ["--markdown", str(tmp_path / "out.md"), "--plots", str(tmp_path / "plots")]
    numbers = found(router, tmp_path, *options, *files)
    methods = {each["name"] for each in numbers["comparison"]["methods"]}
    assert methods >= {"random mix", "router", "clusters", "single-sample", "oracle"}
    assert "knn" not in methods
    text = (tmp_path / "out.md").read_text()
    assert "| single-sample |" in text and "random_mix" in text
    assert (tmp_path / "plots" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "single-sample" in (tmp_path / "plots" / "report.html").read_text()


def test_transfer_tests_every_task_that_is_large_enough(router: Path, tmp_path: Path) -> None:
    numbers = found(router, tmp_path, "--transfer")
    assert set(numbers["transfer"]) == set(numbers["tasks"])
    assert len(numbers["tasks"]) == 9


def test_what_makes_no_sense(router: Path, tmp_path: Path) -> None:
    done = invoke(router, "--baselines", "nope")
    assert isinstance(done.exception, ConfigError)
    assert "unknown baseline 'nope'; known: all, " in str(done.exception)
    assert isinstance(invoke(tmp_path).exception, ArtifactError)
    table = read_samples(SAMPLES)
    few = tmp_path / "train.parquet"
    pq.write_table(table.filter(pc.equal(table["split"], "train")), few)
    done = invoke(router, samples=few)
    assert isinstance(done.exception, DataError)
    assert "test" in str(done.exception)
