"""`bestroute calibrate`, on the shipped samples: what it writes, says and returns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import bestroute
from bestroute import BestRoute, ModelPool
from bestroute.calibration import CalibrationTable
from bestroute.cli.calibrate import calibrate
from bestroute.errors import ConfigError, DataError
from bestroute.learning.fit import fit
from bestroute.learning.samples import read_samples

DATA = Path(bestroute.__file__).parent / "data"
SAMPLES = DATA / "demo_samples.parquet"

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pool = ModelPool.from_yaml(DATA / "demo_pool.yaml")
    folder = tmp_path_factory.mktemp("trained") / "router"
    return fit(read_samples(SAMPLES, scored=True), pool).engine.save_pretrained(folder)


@pytest.fixture
def router(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "router"))


@pytest.fixture
def run(router: Path) -> Run:
    app = typer.Typer()
    app.command()(calibrate)

    def invoke(*options: str, samples: Path = SAMPLES) -> Result:
        return CliRunner().invoke(app, [str(router), str(samples), *options])

    return invoke


def test_a_drop_that_these_few_queries_certify(run: Run, router: Path, tmp_path: Path) -> None:
    done = run("--max-drop", "0.3", "--json", str(tmp_path / "found.json"))
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "found.json").read_text())
    engine = BestRoute.from_pretrained(router)
    assert engine.calibration == CalibrationTable.model_validate(found["table"])
    decision = engine.route("What is 17 * 3?")
    assert (decision.max_drop, decision.confidence) == (0.3, 0.95)
    assert decision.threshold == found["certificate"]["threshold"]
    assert f"Threshold {decision.threshold:g} promises" in done.output
    assert found["certificate"]["drop"] <= 0.3
    assert found["table"]["n_queries"] == 54


def test_a_drop_that_they_do_not_certify(run: Run, router: Path) -> None:
    before = BestRoute.from_pretrained(router)
    done = run("--max-drop", "0.01")
    assert done.exit_code == 0
    assert "is not certifiable with 54 queries" in " ".join(done.output.split())
    after = BestRoute.from_pretrained(router)
    assert vars(after.policy) == vars(before.policy)
    assert after.calibration is not None
    assert run("--max-drop", "0.01", "--require").exit_code == 1
    assert run("--max-drop", "0.3", "--require").exit_code == 0


def test_a_cost(run: Run, router: Path) -> None:
    done = run("--target-cost", "0.2")
    assert done.exit_code == 0, done.output
    decision = BestRoute.from_pretrained(router).route("What is 17 * 3?")
    assert decision.target_cost == 0.2
    assert f"Threshold {decision.threshold:g} cost $0." in done.output
    assert isinstance(run("--target-cost", "1e-9").exception, ConfigError)


def test_the_table_alone_leaves_the_policy(run: Run, router: Path) -> None:
    before = BestRoute.from_pretrained(router)
    assert run("--confidence", "0.8").exit_code == 0
    after = BestRoute.from_pretrained(router)
    assert vars(after.policy) == vars(before.policy)
    assert after.calibration is not None
    levels = {limit.confidence for limit in after.calibration.limits}
    assert levels == {0.8, 0.9, 0.95, 0.99}
    costs = [row.cost_per_1k for row in after.calibration.budgets]
    assert after.calibration.for_cost(max(costs)).threshold > 1
    assert min(costs) < max(costs) / 2


def test_scores_need_their_range(run: Run, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = read_samples(SAMPLES)
    at = table.column_names.index("oracle_score")
    tens = pa.array([score * 10 for score in table["oracle_score"].to_pylist()], pa.float64())
    pq.write_table(table.set_column(at, "oracle_score", tens), tmp_path / "tens.parquet")
    refused = run(samples=tmp_path / "tens.parquet")
    assert isinstance(refused.exception, DataError)
    assert "score_range" in str(refused.exception)
    done = run("--score-range", "0", "10", samples=tmp_path / "tens.parquet")
    assert done.exit_code == 0, done.output


def test_contradictions_are_refused_before_anything_is_read(run: Run, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.parquet"
    done = run("--max-drop", "0.1", "--target-cost", "1", samples=nowhere)
    assert "max_drop and target_cost" in str(done.exception)
