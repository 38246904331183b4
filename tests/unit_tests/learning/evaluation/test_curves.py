"""The sweep, the random mix and the oracle against brute force, and who dominates whom."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bestroute.errors import DataError
from bestroute.learning.evaluation.curves import (
    ALWAYS_REFERENCE,
    ANY_WORD,
    Curve,
    decide,
    mix_of,
    oracle,
    random_mix,
    sweep,
)
from bestroute.policy.threshold import choose

sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))


def grids(size: tuple[int, int]):
    costs = arrays(float, size, elements=st.integers(1, 9).map(float))
    qualities = arrays(float, size, elements=st.integers(0, 4).map(lambda q: q / 4))
    shares = arrays(float, size, elements=st.integers(0, 4).map(lambda m: m / 4))
    return st.tuples(costs, qualities, shares)


tensors = sizes.flatmap(grids)


def best_pair(cost, quality, budget: float) -> float:
    """The best mix of any two arms that costs the budget on average, or less."""
    best = -np.inf
    for (c1, q1), (c2, q2) in product(zip(cost, quality, strict=True), repeat=2):
        if c1 <= budget:
            share = 1.0 if c2 <= budget else (budget - c1) / (c2 - c1)
            best = max(best, (1 - share) * q1 + share * q2)
    return best


def dual(cost, quality, budget: float) -> float:
    """The oracle by duality: the smallest of the Lagrangian bounds, over every price that counts.

    The bound is convex and piecewise linear in the price, with its corners at the slopes between
    two arms of one query.
    """
    slopes = {0.0, 1e6}
    for row_cost, row_quality in zip(cost, quality, strict=True):
        for a, b in product(range(len(row_cost)), repeat=2):
            if row_cost[b] > row_cost[a] and row_quality[b] > row_quality[a]:
                slopes.add((row_quality[b] - row_quality[a]) / (row_cost[b] - row_cost[a]))
    return min(price * budget + (quality - price * cost).max(axis=1).mean() for price in slopes)


@given(tensors)
def test_random_mix_is_the_best_mix_of_two_arms(make_outcomes, tensor) -> None:
    cost, quality, _ = tensor
    outcomes = make_outcomes(cost, quality)
    means = cost.mean(axis=0), quality.mean(axis=0)
    for budget in np.linspace(means[0].min(), 10, 13):
        assert random_mix(outcomes).at(budget) == pytest.approx(best_pair(*means, budget))


@given(tensors)
def test_oracle_is_the_lagrangian_optimum(make_outcomes, tensor) -> None:
    cost, quality, _ = tensor
    found = oracle(make_outcomes(cost, quality))
    for budget in np.linspace(cost.min(axis=1).mean(), 10, 13):
        assert found.at(budget) == pytest.approx(dual(cost, quality, budget))


@given(tensors)
def test_no_assignment_of_arms_beats_the_oracle(make_outcomes, tensor) -> None:
    cost, quality, _ = tensor
    queries = np.arange(len(cost))
    found = oracle(make_outcomes(cost, quality))
    for columns in product(range(cost.shape[1]), repeat=len(cost)):
        spent = cost[queries, columns].mean()
        assert found.at(spent + 1e-12) >= quality[queries, columns].mean() - 1e-9


@given(tensors)
def test_oracle_dominates_random_mix_dominates_every_chord(make_outcomes, tensor) -> None:
    cost, quality, _ = tensor
    outcomes = make_outcomes(cost, quality)
    best, mix = oracle(outcomes), random_mix(outcomes)
    arms = list(zip(cost.mean(axis=0), quality.mean(axis=0), strict=True))
    budgets = np.linspace(mix.cost[0], 10, 17)
    assert (best.at(budgets) >= mix.at(budgets) - 1e-9).all()
    for (c1, q1), (c2, q2) in product(arms, repeat=2):
        for share in (0, 0.3, 1):
            at = mix.at((1 - share) * c1 + share * c2)
            assert at >= (1 - share) * q1 + share * q2 - 1e-9


@given(tensors)
def test_frontiers_rise_and_bend_down(make_outcomes, tensor) -> None:
    cost, quality, _ = tensor
    for frontier in (oracle(make_outcomes(cost, quality)), mix_of(cost[0], quality[0])):
        slopes = np.diff(frontier.quality) / np.diff(frontier.cost)
        assert (slopes > 0).all()
        assert (np.diff(slopes) <= 1e-9).all()


@given(tensors)
def test_no_threshold_beats_the_oracle(make_outcomes, tensor) -> None:
    cost, quality, match = tensor
    outcomes = make_outcomes(cost, quality)
    curve = sweep(match, cost, outcomes)
    assert (curve.quality <= oracle(outcomes).at(curve.cost + 1e-12) + 1e-9).all()


@given(tensors)
def test_default_thresholds_reach_every_decision(make_outcomes, tensor) -> None:
    cost, quality, match = tensor
    reference = cost.shape[1] - 1
    thresholds, choices = decide(match, cost, make_outcomes(cost, quality))
    assert (np.diff(thresholds) > 0).all()
    everything = {tuple(choose(match, cost, reference, t)) for t in np.linspace(0.01, 1.1, 45)}
    assert {tuple(choice) for choice in choices} == everything


@given(tensors)
def test_all_thresholds_at_once_are_the_paper_s_rule_at_each(make_outcomes, tensor) -> None:
    cost, quality, match = tensor
    steps = [0, 0.25, 0.5, 0.75, 1, ALWAYS_REFERENCE]
    _, choices = decide(match, cost, make_outcomes(cost, quality), steps)
    for step, chosen in zip(steps, choices, strict=True):
        assert chosen.tolist() == choose(match, cost, cost.shape[1] - 1, step).tolist()


def test_the_ends_are_the_cheapest_arm_and_the_reference(make_outcomes) -> None:
    rng = np.random.default_rng(0)
    match = rng.random((300, 4))
    outcomes = make_outcomes(rng.random((300, 4)) + [0, 1, 2, 3], rng.random((300, 4)))
    curve = sweep(match, outcomes.cost, outcomes)
    _, choices = decide(match, outcomes.cost, outcomes)
    assert len(curve.thresholds) < 510 < np.unique(match).size
    assert (curve.thresholds[0], curve.thresholds[-1]) == (ANY_WORD, ALWAYS_REFERENCE)
    assert set(choices[0]) == {0}
    assert set(choices[-1]) == {3}
    assert curve.cost[-1] == pytest.approx(outcomes.cost[:, 3].mean())
    assert curve.quality[0] == pytest.approx(outcomes.quality[:, 0].mean())


def test_decisions_rest_on_estimates_and_pay_what_happened(make_outcomes) -> None:
    estimated = np.array([[1.0, 2, 9]])
    outcomes = make_outcomes([[5.0, 1, 9]], [[0.1, 0.2, 0.9]])
    curve = sweep(np.ones((1, 3)), estimated, outcomes, [0.5])
    assert (curve.cost.tolist(), curve.quality.tolist()) == ([5.0], [0.1])


def test_given_thresholds_are_played_in_order(make_outcomes) -> None:
    outcomes = make_outcomes([[1.0, 4], [1, 4]], [[0, 1], [1, 1]])
    curve = sweep(np.array([[0.2, 1], [0.8, 1]]), outcomes.cost, outcomes, [0.9, 0.5, 0.1])
    assert curve.thresholds.tolist() == [0.1, 0.5, 0.9]
    assert curve.cost.tolist() == [1, 2.5, 4]
    assert curve.quality.tolist() == [0.5, 1, 1]


def test_between_two_thresholds_lies_their_mix_and_no_hull() -> None:
    quality = np.array([0.4, 0.8, 0.5, 0.7, 0.9])
    cost = np.array([1.0, 2, 4, 4, 6])
    curve = Curve(np.arange(5.0), cost[::-1, None], quality[::-1, None])
    assert curve.at([1, 1.5, 2, 3, 4, 5]) == pytest.approx([0.4, 0.6, 0.8, 0.7, 0.6, 0.75])
    assert curve.at(7.0) == pytest.approx(0.9)
    assert np.isnan(curve.at(0.5))


def test_nothing_is_cheaper_than_the_cheapest(make_outcomes) -> None:
    outcomes = make_outcomes([[1.0, 4], [3, 4]], [[0, 1], [1, 1]])
    assert np.isnan(random_mix(outcomes).at(1.9))
    assert np.isnan(oracle(outcomes).at(1.9))
    assert random_mix(outcomes).at(99.0) == 1


@pytest.mark.parametrize("match", [np.ones((1, 2)), np.full((2, 2), np.nan)])
def test_match_probabilities_must_fit(make_outcomes, match) -> None:
    outcomes = make_outcomes([[1.0, 4], [3, 4]], [[0, 1], [1, 1]])
    with pytest.raises(DataError, match="must be numbers"):
        sweep(match, outcomes.cost, outcomes)
