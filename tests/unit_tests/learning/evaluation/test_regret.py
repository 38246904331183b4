"""Where a router errs: against the best arm of each query, at the oracle's price of quality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.learning.evaluation.curves import oracle
from bestroute.learning.evaluation.regret import regrets


def done(outcomes, choice, **options):
    rows, columns = np.arange(len(outcomes)), np.asarray(choice)
    cost, quality = outcomes.cost[rows, columns], outcomes.quality[rows, columns]
    return regrets(outcomes, cost, quality, columns, **options)


def test_what_is_lost_where(make_outcomes) -> None:
    # at $3 a query the oracle has the first query's upgrade (1 of quality for $4) in hand
    outcomes = make_outcomes([[1, 5], [1, 5]], [[0, 1], [0.9, 1]])
    found = done(outcomes, [0, 1], examples=2)  # too cheap, then too dear
    assert found.quality_per_dollar == pytest.approx(0.1 / 4)  # the next one: .1 for $4
    hard, easy = found.worst
    assert (hard.query, hard.arm, hard.best_arm) == ("q0", "small:1", "big:1")
    assert (hard.quality, hard.best_quality, hard.cost, hard.best_cost) == (0, 1, 1, 5)
    assert hard.regret == pytest.approx(1 - 4 * 0.025)
    assert easy.best_arm == "small:1"  # equal worth: the cheaper
    assert easy.regret == pytest.approx(0)
    assert found.whole.queries == 2
    assert found.whole.quality_lost == pytest.approx((1 - 0.1) / 2)
    assert found.whole.overspent_per_1k == pytest.approx(0)
    assert list(found.tasks) == ["t"]


def test_the_reference_throughout_only_loses_money(easy_or_hard) -> None:
    found = done(easy_or_hard, np.full(200, 2))
    assert found.quality_per_dollar == 0  # there is nothing left to buy
    assert found.whole.regret == pytest.approx(0)
    assert found.whole.overspent_per_1k == pytest.approx(1000 * (5 - 1) / 2)
    assert found.worst == ()


@given(st.integers(0, 10_000))
def test_no_choice_of_arms_has_less_regret_than_none(make_outcomes, seed) -> None:
    rng = np.random.default_rng(seed)
    outcomes = make_outcomes(rng.uniform(1, 9, (12, 3)), rng.random((12, 3)))
    choice = rng.integers(0, 3, 12)
    found = done(outcomes, choice, examples=12)
    assert all(each.regret >= -1e-9 for each in found.worst)
    assert found.whole.regret == pytest.approx(
        found.whole.quality_lost + found.quality_per_dollar * found.whole.overspent_per_1k / 1000
    )
    spent = outcomes.cost[np.arange(12), choice].mean()
    gained = outcomes.quality[np.arange(12), choice].mean()
    best = oracle(outcomes)
    # the Lagrangian bounds what the oracle gains at the same cost
    room = float(best.at(max(spent, best.cost[0]))) - gained
    assert (
        found.whole.regret >= room - found.quality_per_dollar * max(best.cost[0] - spent, 0) - 1e-9
    )
