"""`bestroute train`, and on to `calibrate` and `evaluate`, on the shipped samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import bestroute
from bestroute import BestRoute, ModelPool
from bestroute.cli.app import app
from bestroute.errors import ConfigError, DataError
from bestroute.learning.fit import ROUTERS
from bestroute.learning.training.train import uncalibrated

DATA = Path(bestroute.__file__).parent / "data"
SAMPLES, POOL = str(DATA / "demo_samples.parquet"), DATA / "demo_pool.yaml"
QUERIES = ("What is 7 + 5?", "Return the JSON object with the key a and the value 1.")


def invoke(*options: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, options)


def train(folder: Path, *options: str) -> BestRoute:
    done = invoke("train", SAMPLES, "--pool", str(POOL), "-o", str(folder), *options)
    assert done.exit_code == 0, (done.output, done.exception)
    return BestRoute.from_pretrained(folder)


def test_train_then_calibrate_then_evaluate(tmp_path: Path) -> None:
    folder, numbers = tmp_path / "router", tmp_path / "out.json"
    fresh = train(folder)
    reference = fresh.pool.reference_arm
    # What nobody has calibrated yet saves nothing, and says so.
    assert [fresh.route(query).arm for query in QUERIES] == [reference] * len(QUERIES)
    assert not fresh.route(QUERIES[0]).calibrated
    with pytest.raises(ConfigError, match="bestroute calibrate"):
        fresh.route(QUERIES[0], max_drop=0.3)

    done = invoke("calibrate", str(folder), SAMPLES, "--max-drop", "0.3")
    assert done.exit_code == 0, done.output
    ready = BestRoute.from_pretrained(folder)
    decision = ready.route(QUERIES[0])
    assert (decision.calibrated, decision.max_drop) == (True, 0.3)
    assert decision.match_probabilities == fresh.route(QUERIES[0]).match_probabilities

    done = invoke("evaluate", SAMPLES, "--router", str(folder), "--json", str(numbers))
    assert done.exit_code == 0, done.output
    rows = {r["name"]: r for r in json.loads(numbers.read_text())["evaluation"]["rows"]}
    assert rows["router"]["cost_per_1k"] < rows["always_reference"]["cost_per_1k"]


@pytest.mark.parametrize("name", ROUTERS)
def test_every_router_can_be_saved_and_routes(name: str, tmp_path: Path) -> None:
    engine = train(tmp_path / "router", "--router", name)
    decision = engine.route(QUERIES[0], threshold=0.001)
    costs = decision.estimated_costs
    # At next to no threshold the cheapest arm wins of those that the router has a word on.
    known = [arm for arm, match in decision.match_probabilities.items() if match >= 0.001]
    assert len(known) > 1
    assert costs[str(decision.arm)] == min(costs[arm] for arm in known)


def test_predictions_can_be_made_not_to_fall_in_n(tmp_path: Path) -> None:
    engine = train(tmp_path / "router", "--monotone", "--probabilities", "temperature")
    for query in QUERIES:
        match = engine.route(query).match_probabilities
        for member in engine.pool.models:
            by_n = [match[f"{member.name}:{n}"] for n in range(1, member.max_samples + 1)]
            assert by_n == sorted(by_n)


def test_a_reward_model_scores_trains_and_is_carried(tmp_path: Path) -> None:
    reward, scored = tmp_path / "reward", tmp_path / "scored.parquet"
    for command in (
        ("train-reward", SAMPLES, "-o", str(reward)),
        ("score", SAMPLES, "--proxy", f"static:{reward}", "-o", str(scored)),
        ("train", str(scored), "--pool", str(POOL), "--reward", str(reward), "-o", "router"),
    ):
        options = [str(tmp_path / "router") if each == "router" else each for each in command]
        done = invoke(*options)
        assert done.exit_code == 0, (done.output, done.exception)
    carried = BestRoute.from_pretrained(tmp_path / "router").reward
    assert not carried.set_dependent
    assert len(set(carried.score(QUERIES[0], ["12", "I am not sure about that."]))) == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--router", "nope"], "unknown router 'nope'"),
        (["--probabilities", "nope"], "unknown probabilities"),
        (["--router", "knn", "--fine-tune"], "need the multi-head router"),
        (["--fine-tune"], "StaticEncoder cannot be fine-tuned"),
        (["--pool", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_makes_no_sense(options: list[str], reason: str, tmp_path: Path) -> None:
    done = invoke("train", SAMPLES, "--pool", str(POOL), "-o", str(tmp_path / "router"), *options)
    assert isinstance(done.exception, ConfigError)
    assert reason in str(done.exception)
    assert not (tmp_path / "router" / "bestroute.json").exists()


def test_a_reward_model_without_proxy_scores_is_refused(tmp_path: Path) -> None:
    invoke("train-reward", SAMPLES, "-o", str(tmp_path / "reward"))
    options = ["--pool", str(POOL), "--reward", str(tmp_path / "reward"), "-o", str(tmp_path / "r")]
    done = invoke("train", SAMPLES, *options)
    assert isinstance(done.exception, DataError)
    assert "proxy_score" in str(done.exception)


def test_a_pool_of_other_models_is_refused(tmp_path: Path) -> None:
    pool = POOL.read_text(encoding="utf-8").replace("name: smollm2-135m", "name: other")
    (tmp_path / "pool.yaml").write_text(pool, encoding="utf-8")
    assert "other" in {m.name for m in ModelPool.from_yaml(tmp_path / "pool.yaml").models}
    options = ["--pool", str(tmp_path / "pool.yaml"), "-o", str(tmp_path / "router")]
    done = invoke("train", SAMPLES, *options)
    assert isinstance(done.exception, DataError)
    assert "other" in str(done.exception)


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        ("as-trained", ["after"]),
        ("temperature", ["before", "after"]),
        ("isotonic", ["before", "after"]),
    ],
)
def test_reliability_before_and_after_calibration(
    kind: str, stages: list[str], tmp_path: Path
) -> None:
    folder, plots = tmp_path / "router", tmp_path / "plots"
    options = ("--probabilities", kind, "--plots", str(plots))
    done = invoke("train", SAMPLES, "--pool", str(POOL), "-o", str(folder), *options)
    assert done.exit_code == 0, done.output
    assert done.output.count("expected calibration error") == len(stages)
    assert {path.name for path in plots.iterdir()} == {f"reliability-{s}.png" for s in stages}


def test_what_a_router_was_before_its_temperature(tmp_path: Path) -> None:
    plain = train(tmp_path / "plain").router
    tempered = train(tmp_path / "tempered", "--probabilities", "temperature").router
    before = uncalibrated(tempered)
    np.testing.assert_allclose(before.predict(QUERIES).match, plain.predict(QUERIES).match)
    assert uncalibrated(plain) is None
