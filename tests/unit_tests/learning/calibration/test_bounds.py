"""Tests of a mean: wrong no more often than they say, right where there is enough to see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.learning.calibration.bounds import betting, empirical_bernstein, queries_needed

BOTH = pytest.mark.parametrize("test", [betting, empirical_bernstein])
RUNS = 2000
MOST_WRONG = 131
"""99.9 % quantile of the binomial with 2000 runs at 0.05."""


def null(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows in [-1, 1] whose mean is exactly 0."""
    uniform = rng.random((RUNS, n))
    if kind == "coin":
        return np.where(uniform < 0.5, 1.0, -1.0)
    if kind == "rare loss":
        return np.where(uniform < 0.01, -0.99, 0.01)
    if kind == "rare gain":
        return np.where(uniform < 0.01, 0.99, -0.01)
    return 2 * uniform - 1


@BOTH
@pytest.mark.parametrize("kind", ["coin", "rare loss", "rare gain", "uniform"])
@pytest.mark.parametrize("n", [30, 400])
def test_a_mean_of_0_is_rejected_no_more_often_than_delta(test, kind: str, n: int) -> None:
    values = null(kind, n, np.random.default_rng(n))
    wrong = test(values, lowest=-1, highest=1, delta=0.05).sum()
    assert wrong <= MOST_WRONG


def test_betting_spends_most_of_its_delta_where_variance_is_known() -> None:
    """At the edge of the null hypothesis a test that is never wrong would be a waste."""
    values = null("coin", 400, np.random.default_rng(0))
    assert betting(values, lowest=-1, highest=1, delta=0.05).mean() > 0.02


@BOTH
def test_a_clear_mean_is_seen(test) -> None:
    values = null("uniform", 600, np.random.default_rng(0)) * 0.5 + 0.25
    assert test(values, lowest=-0.25, highest=0.75, delta=0.05).mean() > 0.99


def test_betting_needs_fewer_queries_than_bernstein() -> None:
    values = null("rare loss", 1000, np.random.default_rng(0)) + 0.01
    shares = [
        test(values, lowest=-1, highest=1.01, delta=0.05).mean()
        for test in (betting, empirical_bernstein)
    ]
    assert shares[0] > shares[1] + 0.3


rows = st.lists(st.floats(-1, 1), min_size=2, max_size=30).map(lambda row: np.array([row]))


@BOTH
@given(values=rows)
def test_without_a_gain_there_is_nothing_to_see(test, values: np.ndarray) -> None:
    losses = -np.abs(values)
    assert not test(losses, lowest=-1, highest=1, delta=0.05).any()


@BOTH
@given(values=rows, power=st.integers(-8, 8))
def test_units_do_not_matter(test, values: np.ndarray, power: int) -> None:
    unit = 2.0**power
    plain = test(values, lowest=-1, highest=1, delta=0.2)
    scaled = test(values * unit, lowest=-unit, highest=unit, delta=0.2)
    assert plain.tolist() == scaled.tolist()


@BOTH
@given(seed=st.integers(0, 1000))
def test_every_row_is_decided_by_itself(test, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-0.5, 1, (6, 60))
    together = test(values, lowest=-1, highest=1, delta=0.05)
    alone = [test(row[None], lowest=-1, highest=1, delta=0.05)[0] for row in values]
    assert together.tolist() == alone


@given(seed=st.integers(0, 1000))
def test_bernstein_does_not_depend_on_the_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.uniform(-0.4, 1, (1, 60)), 2)
    shuffled = rng.permutation(values, axis=1)
    options = {"lowest": -1.0, "highest": 1.0, "delta": 0.05}
    assert empirical_bernstein(values, **options) == empirical_bernstein(shuffled, **options)


def test_wealth_once_won_is_not_lost() -> None:
    won = np.full((1, 100), 0.5)
    assert betting(won, lowest=-1, highest=1, delta=0.05).all()
    after = np.hstack([won, np.full((1, 20), -1.0)])
    assert betting(after, lowest=-1, highest=1, delta=0.05).all()


def test_what_cannot_be_negative_needs_no_test() -> None:
    assert betting(np.zeros((2, 1)), lowest=0, highest=1, delta=0.05).all()


def test_bernstein_says_nothing_of_one_query() -> None:
    assert not empirical_bernstein(np.ones((2, 1)), lowest=-1, highest=1, delta=0.05).any()


@pytest.mark.parametrize("loss", [0.0, 0.005, 0.02])
def test_the_queries_needed_are_about_right(loss: float) -> None:
    rng = np.random.default_rng(0)

    def drawn(runs: int, n: int) -> np.ndarray:
        return np.where(rng.random((runs, n)) < loss, -0.96, 0.04)

    needed = queries_needed(drawn(1, 200_000), lowest=-0.96, delta=0.05)
    options = {"lowest": -0.96, "highest": 1.0, "delta": 0.05}
    assert betting(drawn(300, round(needed)), **options).mean() > 0.4
    assert betting(drawn(300, round(needed / 4)), **options).mean() < 0.4


def test_no_number_of_queries_proves_what_is_not_so() -> None:
    assert queries_needed(np.array([[0.1, 0.1], [0.1, -0.2]]), lowest=-1, delta=0.05) == np.inf
