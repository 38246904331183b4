"""The adaptive policy, from one command to answers: `fit`, `train`, `calibrate`, the engine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import bestroute
from bestroute import BestRoute, ModelPool
from bestroute.artifact import POLICY_FILE
from bestroute.cli.app import app
from bestroute.errors import ConfigError, NotCertifiedError
from bestroute.learning.fit import fit
from bestroute.learning.samples import read_samples
from bestroute.policy import Adaptive, EarlyStop, OneShot
from bestroute.recorded import Recording

DATA = Path(bestroute.__file__).parent / "data"
POOL = """
models:
  - {name: small, model: recorded/small, price: {input: 1, output: 2}, max_samples: 3,
     native_n: true, params: {temperature: 0.8, top_p: 0.95}}
  - {name: big, model: recorded/big, price: {input: 10, output: 30}, reference: true,
     native_n: true, params: {temperature: 0.8, top_p: 0.95}}
"""
NAMES = {"qwen2.5-coder-0.5b": "small", "qwen2.5-coder-1.5b": "big"}
LIMITS = ("--policy", "adaptive", "--max-waves", "2")


def invoke(*options: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, options)


def done(*options: str) -> Result:
    result = invoke(*options)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fifth of the shipped samples of two models, a router fitted to them, and a provider."""
    folder = tmp_path_factory.mktemp("adaptive")
    (folder / "pool.yaml").write_text(POOL, encoding="utf-8")
    rows = [
        {**row, "model": NAMES[row["model"]]}
        for row in read_samples(DATA / "demo_samples.parquet", scored=True).to_pylist()
        if row["model"] in NAMES and row["query_id"][-1] in "16"
    ]
    table = read_samples(DATA / "demo_samples.parquet").slice(0, 0)
    samples = type(table).from_pylist(rows, schema=table.schema)
    assert pc.count_distinct(samples["query_id"]).as_py() > 100
    pq.write_table(samples, folder / "samples.parquet")
    files = (str(folder / "pool.yaml"), str(folder / "samples.parquet"))
    numbers = str(folder / "found.json")
    done("fit", *files, "-o", str(folder / "router"), *LIMITS, "--json", numbers)
    recording = Recording(rows)
    recording.install()
    yield folder
    recording.uninstall()


@pytest.fixture
def router(work: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(work / "router", tmp_path / "router"))


def question(work: Path) -> str:
    rows = read_samples(work / "samples.parquet").to_pylist()
    return next(str(row["query"]) for row in rows if row["split"] == "test")


def test_fit_saves_what_it_learnt_and_picked(work: Path) -> None:
    engine = BestRoute.from_pretrained(work / "router")
    found = json.loads((work / "found.json").read_text())
    assert isinstance(engine.policy, Adaptive)
    assert engine.policy.calibrated and engine.policy.max_waves == 2
    assert engine.policy.threshold == found["calibration"]["threshold"]
    assert found["calibration"]["drop"] <= 0.02 + 1e-9
    assert found["assessment"]["evaluation"]["threshold"] == engine.policy.threshold
    assert set(engine.policy.belief.models) == {"small"}
    assert engine.policy.belief.models["small"].levels == (1, 2, 3)
    assert engine.calibration is not None
    assert engine.calibration.policy == "adaptive, max_waves=2"
    costs = [row.cost_per_1k for row in engine.calibration.budgets]
    assert min(costs) < max(costs) == costs[0]
    assert (work / "router" / "report.html").stat().st_size > 0


def test_every_knob_of_a_call_is_the_adaptive_policys(work: Path) -> None:
    engine = BestRoute.from_pretrained(
        work / "router", pool=ModelPool.from_yaml(work / "pool.yaml")
    )
    assert engine.calibration is not None
    cheap = min(row.cost_per_1k for row in engine.calibration.budgets)
    asked: dict[str, Any] = {"max_tokens": 64}
    response = engine.complete(question(work), threshold=0.3, **asked)
    assert response.decision.policy == "adaptive" and response.decision.threshold == 0.3
    assert response.samples[0].model == "small" and response.steps[0].startswith("draw")
    response = engine.complete(question(work), target_cost=cheap, **asked)
    assert response.decision.target_cost == cheap
    assert (response.model, response.decision.policy) == ("small", "adaptive")
    response = engine.complete(question(work), max_drop=0.0, on_uncertified="reference", **asked)
    assert (response.model, len(response.samples)) == ("big", 1)
    with pytest.raises(NotCertifiedError):
        engine.complete(question(work), max_drop=0.0, **asked)
    with pytest.raises(ConfigError, match="is for the policy 'adaptive, max_waves=2'"):
        BestRoute.from_pretrained(work / "router", policy=OneShot(0.5), target_cost=cheap)


def test_calibrate_keeps_the_policy_and_promises_its_thresholds(work: Path, router: Path) -> None:
    belief = (router / POLICY_FILE).read_bytes()
    options = (str(router), str(work / "samples.parquet"), "--max-drop", "0.6")
    result = done("calibrate", *options, "--json", str(router / "found.json"))
    found = json.loads((router / "found.json").read_text())
    assert found["table"]["policy"] == "adaptive, max_waves=2"
    engine = BestRoute.from_pretrained(router)
    decision = engine.route("What is 17 * 3?")
    assert (decision.policy, decision.max_drop, decision.confidence) == ("adaptive", 0.6, 0.95)
    assert decision.threshold == found["certificate"]["threshold"]
    assert f"Threshold {decision.threshold:g} promises" in result.output
    assert "calibration queries (adaptive, max_waves=2)" in " ".join(result.output.split())
    assert (router / POLICY_FILE).read_bytes() == belief
    assert isinstance(engine.policy, Adaptive) and engine.policy.max_waves == 2
    assert BestRoute.from_pretrained(router, max_drop=0.6).route("hi").max_drop == 0.6


def test_train_then_calibrate_finds_what_fit_found(work: Path, tmp_path: Path) -> None:
    folder, samples = tmp_path / "router", work / "samples.parquet"
    pool = str(work / "pool.yaml")
    done("train", str(samples), "--pool", pool, "-o", str(folder), *LIMITS)
    fresh = BestRoute.from_pretrained(folder)
    assert isinstance(fresh.policy, Adaptive) and not fresh.policy.calibrated
    assert fresh.route("What is 17 * 3?").arm == fresh.pool.reference_arm
    assert (folder / POLICY_FILE).read_bytes() == (work / "router" / POLICY_FILE).read_bytes()
    done("calibrate", str(folder), str(samples))
    found = (BestRoute.from_pretrained(each).calibration for each in (folder, work / "router"))
    assert next(found) == next(found)


def test_early_stopping_is_fitted_calibrated_and_saved(work: Path, tmp_path: Path) -> None:
    folder, samples = tmp_path / "router", str(work / "samples.parquet")
    pool = str(work / "pool.yaml")
    done("fit", pool, samples, "-o", str(folder), "--policy", "early-stop")
    engine = BestRoute.from_pretrained(folder)
    assert isinstance(engine.policy, EarlyStop) and engine.policy.calibrated
    assert engine.calibration is not None and engine.calibration.policy == "early-stop"
    assert engine.route("What is 17 * 3?", threshold=0.3).policy == "early-stop"
    result = done("evaluate", samples, "--router", str(folder), "--json", str(folder / "e.json"))
    methods = json.loads((folder / "e.json").read_text())["comparison"]["methods"]
    assert "early-stop" in {method["name"] for method in methods}
    assert "waves" in result.output
    done("train", samples, "--pool", pool, "-o", str(folder), "--policy", "early-stop")
    fresh = BestRoute.from_pretrained(folder)
    assert isinstance(fresh.policy, EarlyStop) and not fresh.policy.calibrated


def test_both_integrations_load_it(work: Path) -> None:
    chat_models = pytest.importorskip("langchain_bestroute")
    llms = pytest.importorskip("llamaindex_bestroute")
    folder, pool = str(work / "router"), str(work / "pool.yaml")
    chat = chat_models.ChatBestRoute.from_pretrained(
        folder, pool=pool, threshold=0.3, max_tokens=64
    )
    said = chat.invoke(question(work)).response_metadata["bestroute"]
    llm = llms.BestRouteLLM.from_pretrained(folder, pool=pool, threshold=0.3, max_tokens=64)
    raw = llm.complete(question(work)).raw["bestroute"]
    for told in (said, raw):
        assert (told["policy"], told["threshold"]) == ("adaptive", 0.3)


def test_any_router_can_be_the_prior(work: Path) -> None:
    table = read_samples(work / "samples.parquet", scored=True)
    pool = ModelPool.from_yaml(work / "pool.yaml")
    fitted = fit(table, pool, router="ensemble", policy="adaptive", baselines=())
    assert isinstance(fitted.engine.policy, Adaptive)
    assert fitted.engine.policy.max_waves is None
    assert fitted.engine.calibration is not None
    assert fitted.engine.calibration.policy == "adaptive"


@pytest.mark.parametrize("options", [("--max-waves", "2"), (*LIMITS[:3], "0")])
def test_waves_are_those_of_the_adaptive_policy(
    work: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    files = (str(work / "pool.yaml"), str(work / "samples.parquet"))
    result = invoke("fit", *files, "-o", str(tmp_path / "router"), *options)
    assert isinstance(result.exception, ConfigError)
    assert "max_waves is" in str(result.exception)
