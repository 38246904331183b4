"""The utility rule against a plain loop, and the policy that plays it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute import Arm, BestRoute, ModelPool, Prediction
from bestroute.errors import ConfigError
from bestroute.policy import Accept, State, Utility
from bestroute.policy.registry import load_policy, policy_state
from bestroute.policy.utility import choose_by_utility

VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
COSTS = st.sampled_from([0.0, 0.5, 1.0, 2.0, math.nan])
SMALL, MORE, BIG = ARMS = (Arm("small", 1), Arm("small", 2), Arm("big", 1))


def by_hand(quality, cost, reference, worth):
    best = None
    for arm, (value, dollars) in enumerate(zip(quality, cost, strict=True)):
        if math.isnan(dollars):
            continue
        gain = worth * value - dollars
        if best is None or gain > best[0] or (gain == best[0] and arm == reference):
            best = (gain, arm)
    return None if best is None else best[1]


@given(
    st.lists(st.tuples(VALUES, COSTS), min_size=1, max_size=6),
    st.sampled_from([0.0, 1.0, 4.0]),
    st.data(),
)
def test_the_rule_against_a_plain_loop(arms, worth, data):
    reference = data.draw(st.none() | st.integers(0, len(arms) - 1))
    quality, cost = (np.array([column]) for column in zip(*arms, strict=True))
    expected = by_hand(quality[0], cost[0], reference, worth)
    if expected is not None:
        assert choose_by_utility(quality, cost, reference, worth)[0] == expected


def test_a_worth_of_nothing_is_the_cheapest_and_a_large_one_the_best():
    rng = np.random.default_rng(0)
    quality, cost = rng.random((50, 4)), rng.random((50, 4))
    assert np.array_equal(choose_by_utility(quality, cost, 3, 0.0), cost.argmin(axis=1))
    assert np.array_equal(choose_by_utility(quality, cost, 3, 1e9), quality.argmax(axis=1))


def test_spending_and_quality_rise_with_the_worth():
    rng = np.random.default_rng(1)
    quality, cost = rng.random((200, 5)), rng.random((200, 5))
    rows = np.arange(200)
    chosen = [choose_by_utility(quality, cost, 4, worth) for worth in (0, 0.1, 0.5, 1, 3, 10)]
    for values in (cost, quality):
        means = [values[rows, columns].mean() for columns in chosen]
        assert means == sorted(means) and means[0] < means[-1]


def state(quality=None, failed=()):
    return State(
        arms=ARMS,
        reference=BIG,
        costs=dict(zip(ARMS, [1.0, 2.0, 9.0], strict=True)),
        match=dict(zip(ARMS, [0.5, 0.9, 1.0], strict=True)),
        quality=dict(zip(ARMS, quality, strict=True)) if quality else {},
        failed=set(failed),
    )


def drawn(move):
    assert not isinstance(move, Accept), move.reason
    (draw,) = move
    return Arm(draw.model, draw.n)


def test_predicted_quality_decides_and_match_stands_in_where_there_is_none():
    worth = Utility(5.0)
    quality = worth.next(state([0.6, 0.6, 0.9]))
    assert drawn(quality) == SMALL
    match = worth.next(state())
    assert drawn(match) == MORE
    assert not isinstance(match, Accept) and "match probability 0.90 at $2" in match[0].reason
    assert not isinstance(quality, Accept) and "expected quality 0.60 at $1" in quality[0].reason


def test_another_model_answers_for_one_that_failed():
    assert drawn(Utility(5.0).next(state(failed=["small"]))) == BIG
    end = Utility(5.0).next(state(failed=["small", "big"]))
    assert isinstance(end, Accept) and end.model is None


@pytest.mark.parametrize("worth", [-1.0, math.nan, math.inf])
def test_a_worth_is_a_sum_of_money(worth):
    with pytest.raises(ConfigError, match="dollars_per_quality"):
        Utility(worth)


def test_it_comes_back_from_json():
    config = json.loads(json.dumps(policy_state(Utility(0.002))[0]))
    assert vars(load_policy(config)) == {"dollars_per_quality": 0.002}


class Graded:
    """Long queries are hard for the small model."""

    arms = ARMS

    def predict(self, queries: Sequence[str]) -> Prediction:
        hard = np.array([[len(query) > 20] for query in queries])
        quality = np.where(hard, [[0.1, 0.2, 0.9]], [[0.8, 0.85, 0.9]])
        return Prediction(ARMS, np.full_like(quality, 0.5), quality=quality)


def test_the_engine_routes_by_the_router_s_quality():
    models = [
        {"model": "openai/s", "name": "small", "max_samples": 2},
        {"model": "openai/b", "name": "big", "reference": True},
    ]
    prices = ({"input": 1, "output": 2}, {"input": 5, "output": 15})
    pool = ModelPool.from_dict(
        {"models": [m | {"price": p} for m, p in zip(models, prices, strict=True)]}
    )
    engine = BestRoute(pool, router=Graded(), policy=Utility(0.01))
    assert engine.route("short").arm == SMALL
    hard = engine.route("a question that is rather long")
    assert hard.arm == BIG
    assert hard.reason.startswith("expected quality 0.90")
