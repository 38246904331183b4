"""Replay plays the policies that run, and agrees with the exact sums where there are some."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from bestroute import Cascade, ModelPool, OneShot
from bestroute.cost import CostModel
from bestroute.errors import DataError
from bestroute.learning.evaluation.replay import Replay
from bestroute.learning.outcomes import Outcomes
from bestroute.pool import Arm

POOL = ModelPool.from_dict(
    {
        "models": [
            {
                "model": "openai/s",
                "name": "s",
                "max_samples": 4,
                "price": {"input": 1, "output": 2},
                "native_n": False,
            },
            {
                "model": "openai/b",
                "name": "b",
                "reference": True,
                "price": {"input": 5, "output": 50},
            },
        ]
    }
)


def table(small: list[list[tuple[str, float]]], big: float = 1.0) -> pa.Table:
    """One row a sample: (answer, oracle score) of the small model, query by query."""
    rows = []
    for query, samples in enumerate(small):
        answers = [("s", i, answer, score) for i, (answer, score) in enumerate(samples)]
        answers += [("b", i, "right", big) for i in range(2)]
        rows += [
            {
                "query_id": f"q{query}",
                "query": f"query {query}",
                "model": model,
                "sample": i,
                "response": answer,
                "oracle_score": score,
                "proxy_score": score,
                "prompt_tokens": 10,
                "completion_tokens": 3 + i,
            }
            for model, i, answer, score in answers
        ]
    return pa.Table.from_pylist(rows)


def random_table(queries: int) -> pa.Table:
    rng = np.random.default_rng(0)
    texts = np.array(["right", "left", "up"])
    answers = texts[rng.choice(3, p=[0.5, 0.3, 0.2], size=(queries, 6))]
    return table([[(a, float(a == "right")) for a in row] for row in answers.tolist()])


@pytest.mark.parametrize("selection", [{"agreement": str}, {"proxy": "proxy_score"}])
@pytest.mark.parametrize("n", [1, 3, 4])
def test_one_shot_agrees_with_the_exact_sums(selection, n: int) -> None:
    samples = random_table(60)
    outcomes = Outcomes.from_samples(samples, POOL, **selection)
    match = np.zeros_like(outcomes.match)
    match[:, outcomes.arms.index(Arm("s", n))] = 1
    estimated = outcomes.estimated_costs(CostModel(POOL))
    found = Replay(samples, POOL, outcomes, **selection).play(
        OneShot(0.5), estimated, match=match, permutations=200
    )
    column = outcomes.arms.index(Arm("s", n))
    assert abs(found.quality.mean() - outcomes.quality[:, column].mean()) < 3 * found.error + 1e-12
    assert found.cost.mean() == pytest.approx(outcomes.cost[:, column].mean(), rel=0.01)
    assert found.error < 0.01


def test_a_cascade_pays_for_what_it_drew_and_escalates_on_disagreement() -> None:
    agree, differ = [("left", 0.0)] * 3, [("left", 0.0), ("up", 0.0), ("down", 0.0)]
    pool = ModelPool.from_dict(
        {"models": [{**m.model_dump(), "max_samples": min(m.max_samples, 3)} for m in POOL.models]}
    )
    samples = table([agree, differ])
    outcomes = Outcomes.from_samples(samples, pool, agreement=str)
    estimated = outcomes.estimated_costs(CostModel(pool))
    found = Replay(samples, pool, outcomes, agreement=str).play(Cascade(n=3), estimated)
    assert found.quality.tolist() == [0, 1]
    small = (3 * 10 * 1 + (3 + 4 + 5) * 2) / 1e6  # three prompts, for n is not native
    reference = (10 * 5 + 3.5 * 50) / 1e6  # 3 or 4 tokens, equally often
    assert found.cost[0] == pytest.approx(small)
    assert found.cost[1] == pytest.approx(small + reference, rel=0.03)


def test_equal_seeds_replay_equally() -> None:
    samples = random_table(5)
    outcomes = Outcomes.from_samples(samples, POOL, agreement=str)
    estimated = outcomes.estimated_costs(CostModel(POOL))
    replay = Replay(samples, POOL, outcomes, agreement=str)
    one, same, other = (
        replay.play(Cascade(n=2), estimated, permutations=5, seed=seed) for seed in (0, 0, 1)
    )
    assert one.quality.tolist() == same.quality.tolist() != other.quality.tolist()


def test_a_query_without_samples_is_named() -> None:
    outcomes = Outcomes.from_samples(random_table(3), POOL, agreement=str)
    with pytest.raises(DataError, match="q2"):
        Replay(random_table(2), POOL, outcomes, agreement=str)
