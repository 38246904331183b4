"""The assessment of an engine on queries that it was not trained on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bestroute import BestRoute, Cascade, ModelPool
from bestroute.errors import ConfigError, RouterNotTrained
from bestroute.learning.beliefs.train import learn
from bestroute.learning.evaluation.assess import assess
from bestroute.learning.evaluation.methods import with_reward_cost
from bestroute.learning.evaluation.report import assessment_markdown
from bestroute.learning.fit import train
from bestroute.policy import Adaptive, EarlyStop, Utility
from bestroute.policy.threshold import ALWAYS_REFERENCE
from bestroute.pool import Arm
from bestroute.rewards.answers import extract_answer

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
KEPT = {"agreement": extract_answer}
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
                "response": f"The answer is {int(r)}",
                "oracle_score": float(r),
            }
            for k, r in enumerate(right)
        ]
        rows.append(
            {
                **shared,
                "model": "b",
                "sample": 0,
                "response": "The answer is 1",
                "oracle_score": 1.0,
            }
        )
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
    assert names == [
        *("random mix", "router", "utility", "knn", "cascade-3"),
        *("oracle", "clairvoyant"),
    ]
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


def test_a_policy_that_looks_is_replayed_at_its_setting(table, trained) -> None:
    found = assess(engine_with(trained, policy=Cascade(n=3)), table, baselines=(), resamples=20)
    effort = found.evaluation.effort
    assert effort is not None and effort.error > 0 and not effort.seconds_recorded
    assert 1 < effort.waves < 2
    assert effort.tokens == pytest.approx(15 + 5 * (effort.waves - 1))
    assert effort.seconds_p50 in (pytest.approx(0.1), pytest.approx(0.2))
    assert found.comparison.method("cascade-3")
    assert set(found.evaluation.arm_shares) == {"s:3", "b:1"}
    assert found.evaluation.arm_shares["b:1"] == pytest.approx(effort.waves - 1)
    of_tasks = [each.effort.waves for each in found.tasks.values() if each.effort]
    assert np.mean(of_tasks) == pytest.approx(effort.waves)  # equally many queries each
    page = assessment_markdown(found)
    assert f"{effort.waves:.2f} waves" in page and "Monte Carlo" in page


def test_the_adaptive_policy_has_a_curve_of_its_own(table, trained) -> None:
    engine, outcomes = trained
    belief = learn(
        table, POOL, outcomes.select("train"), lambda seen: engine.router, selection=KEPT
    )
    always = engine_with(trained, policy=Adaptive(ALWAYS_REFERENCE, belief))
    found = assess(always, table, baselines=(), resamples=50)
    assert found.evaluation.arm_shares == {"b:1": 1.0}
    assert found.evaluation.row("router").quality == 1.0
    method = found.comparison.method("adaptive")
    assert method.drops[2].value < 0.1 < found.comparison.method("random mix").drops[2].value
    assert min(method.waves) >= 1 and min(method.tokens) >= 5
    bound = found.comparison.method("clairvoyant")
    for own, best in zip(method.drops, bound.drops, strict=True):
        assert own.value >= best.value - 1e-9


def test_early_stopping_is_one_shot_for_fewer_tokens(table, trained) -> None:
    early = engine_with(trained, policy=EarlyStop(0.6))
    found = assess(early, table, baselines=(), resamples=50)
    once = assess(engine_with(trained, threshold=0.6), table, baselines=(), resamples=50)
    quality = found.evaluation.row("router").quality
    assert quality == pytest.approx(once.evaluation.row("router").quality, abs=0.02)
    assert found.evaluation.effort is not None
    method = found.comparison.method("early-stop")
    assert min(method.waves) >= 1
    assert method.area.value == pytest.approx(
        found.comparison.method("router").area.value, abs=0.05
    )


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
    with pytest.raises(ConfigError, match="unknown baseline"):
        assess(engine_with(trained, threshold=0.6), table, baselines=("nobody",))
