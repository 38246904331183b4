"""The assessment of an engine on queries that it was not trained on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bestroute import BestRoute, Cascade, ModelPool
from bestroute.errors import ConfigError, RouterNotTrained
from bestroute.learning.evaluation.assess import assess
from bestroute.learning.evaluation.methods import with_reward_cost
from bestroute.learning.evaluation.report import assessment_markdown
from bestroute.learning.fit import train
from bestroute.policy import Utility
from bestroute.pool import Arm

POOL = ModelPool.from_dict(
    {
        "models": [
            {
                "model": "openai/s",
                "name": "s",
                "max_samples": 3,
                "price": {"input": 0, "output": 1},
                "native_n": True,
            },
            {
                "model": "openai/b",
                "name": "b",
                "reference": True,
                "price": {"input": 0, "output": 10},
            },
        ]
    }
)
SPLITS = ("train", "calibration", "test")


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Sums are hard for the small model, names are not; the reference is always right."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(120):
        hard = i % 2 == 1
        query = f"What is the total of {i}, {i + 7} and {i * 3}?" if hard else f"Name river {i}."
        shared = {
            "query_id": f"q{i}",
            "query": query,
            "task": "sums" if hard else "names",
            "split": SPLITS[i // 2 % 3],
            "prompt_tokens": 10,
            "completion_tokens": 5,
        }
        right = rng.random(4) < (0.1 if hard else 0.95)
        rows += [
            {
                **shared,
                "model": "s",
                "sample": k,
                "response": f"A: {int(r)}",
                "oracle_score": float(r),
            }
            for k, r in enumerate(right)
        ]
        rows.append({**shared, "model": "b", "sample": 0, "response": "A: 1", "oracle_score": 1.0})
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="module")
def trained(table: pa.Table):
    return train(table, POOL)


def engine_with(trained, **options) -> BestRoute:
    engine, _ = trained
    return BestRoute(POOL, router=engine.router, cost_model=engine.cost_model, **options)


def test_a_router_that_tells_hard_from_easy_beats_the_mix_and_every_task_is_told(
    table, trained
) -> None:
    found = assess(
        engine_with(trained, threshold=0.6), table, baselines=("knn", "cascade"), resamples=200
    )
    names = [method.name for method in found.comparison.methods]
    assert names == ["random mix", "router", "utility", "knn", "cascade-3", "oracle"]
    assert found.evaluation.router_minus_random_mix.lo > 0
    assert found.evaluation.n_queries == 40
    assert {task: each.n_queries for task, each in found.tasks.items()} == {"names": 20, "sums": 20}
    assert found.tasks["sums"].arm_shares == {"b:1": 1.0}
    assert found.comparison.method("cascade-3").error is not None
    page = assessment_markdown(found)
    assert "| cascade-3 |" in page and "| sums | 20 |" in page


def test_a_task_that_was_never_seen(table, trained) -> None:
    found = assess(
        engine_with(trained, threshold=0.6), table, baselines=(), transfer=True, resamples=50
    )
    assert set(found.transfer) == {"names", "sums"}
    assert found.transfer["sums"].n_queries == 20


def test_the_utility_policy_is_assessed_at_its_worth(table, trained) -> None:
    stingy = assess(engine_with(trained, policy=Utility(0)), table, baselines=(), resamples=20)
    assert stingy.evaluation.arm_shares == {"s:1": 1.0}
    assert stingy.evaluation.threshold is None
    lavish = assess(engine_with(trained, policy=Utility(1)), table, baselines=(), resamples=20)
    assert lavish.evaluation.row("router").quality > stingy.evaluation.row("router").quality


def test_what_the_reward_model_reads_is_charged_to_best_of_n(table, trained) -> None:
    outcomes = trained[1].select("test")
    charged = with_reward_cost(outcomes, 1e-6)
    extra = charged.cost - outcomes.cost
    arms = [outcomes.arms.index(arm) for arm in (Arm("s", 1), Arm("s", 3), Arm("b", 1))]
    assert extra[:, arms].mean(axis=0) == pytest.approx([0, 3 * 15e-6, 0])
    cheap, dear = (
        assess(
            engine_with(trained, policy=Utility(1)),
            table,
            baselines=(),
            reward_price=price,
            resamples=20,
        )
        for price in (0.0, 100.0)
    )
    fixed = "fixed:s:3"
    assert dear.evaluation.row(fixed).cost_per_1k > cheap.evaluation.row(fixed).cost_per_1k


def test_a_baseline_that_cannot_be_learnt_is_left_out_and_the_rest_stays(table, trained) -> None:
    test_only = table.filter(pc.equal(table["split"], "test"))
    found = assess(
        engine_with(trained, threshold=0.6), test_only, baselines=("knn", "cascade"), resamples=20
    )
    assert "train split" in found.left_out["knn"]
    assert found.comparison.method("cascade-3")


def test_what_cannot_be_assessed(table, trained) -> None:
    with pytest.raises(RouterNotTrained):
        assess(BestRoute(POOL), table)
    with pytest.raises(ConfigError, match="does not decide once"):
        assess(engine_with(trained, policy=Cascade()), table)
    with pytest.raises(ConfigError, match="unknown baseline"):
        assess(engine_with(trained, threshold=0.6), table, baselines=("nobody",))
