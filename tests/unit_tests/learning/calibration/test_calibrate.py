"""The picked threshold promises nothing; the table says what can be promised, and at what cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.errors import ConfigError, DataError
from bestroute.learning.calibration.calibrate import calibrate, pick_threshold
from bestroute.learning.calibration.certify import certify
from bestroute.learning.calibration.sequence import one_shot
from bestroute.learning.evaluation.curves import ANY_WORD, sweep
from tests.populations import easy_and_hard


def noisy(make_outcomes, seed: int):
    """A router that sees something, estimates that are roughly right."""
    rng = np.random.default_rng(seed)
    easy = rng.random(40)
    quality = np.column_stack([easy, np.sqrt(easy), np.full(40, 0.9)])
    cost = rng.uniform(0.5, 1.5, (40, 3)) * [1, 2, 6]
    match = np.clip(quality + rng.normal(0, 0.2, (40, 3)), 0, 1)
    return match, np.tile([1.0, 2, 6], (40, 1)), make_outcomes(cost, quality)


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_it_is_the_cheapest_within_the_drop(make_outcomes, seed: int, max_drop: float) -> None:
    match, estimated, outcomes = noisy(make_outcomes, seed)
    found = pick_threshold(match, estimated, outcomes, max_drop=max_drop)
    full = outcomes.cost[:, 2].mean()
    played = sweep(match, estimated, outcomes, [found.threshold])
    assert found.drop == pytest.approx((0.9 - played.quality[0]) / 0.9)
    assert found.cost_cut == pytest.approx(1 - played.cost[0] / full)
    assert found.drop <= max_drop + 1e-9
    rivals = sweep(match, estimated, outcomes, np.linspace(ANY_WORD, 1.1, 400))
    allowed = (0.9 - rivals.quality) / 0.9 <= max_drop + 1e-12  # means of 0.9 are not 0.9
    assert played.cost[0] <= rivals.cost[allowed].min() + 1e-9


@given(st.integers(0, 10_000), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_larger_drop_never_saves_less(make_outcomes, seed: int, one: float, two: float) -> None:
    case = noisy(make_outcomes, seed)
    strict, loose = (pick_threshold(*case, max_drop=drop) for drop in sorted((one, two)))
    assert loose.cost_cut >= strict.cost_cut


def test_a_drop_of_exactly_the_limit_is_tolerated(make_outcomes) -> None:
    outcomes = make_outcomes([[1.0, 4]] * 50, [[0, 1]] + [[1, 1]] * 49)
    found = pick_threshold(np.ones((50, 2)), outcomes.cost, outcomes, max_drop=0.02)
    assert found.cost_cut == pytest.approx(0.75)
    assert found.drop == pytest.approx(0.02)


def test_realised_cost_decides_what_is_cheapest(make_outcomes) -> None:
    # the low threshold sends both queries to small, which is said to be cheap and is not
    outcomes = make_outcomes([[9.0, 4], [1, 4]], [[1, 1], [1, 1]])
    match = np.array([[0.3, 1], [0.7, 1]])
    found = pick_threshold(match, np.array([[1.0, 4], [1, 4]]), outcomes)
    assert 0.3 < found.threshold < 0.7
    assert found.cost_cut == pytest.approx(1 - 2.5 / 4)


def test_when_nothing_else_will_do_it_is_always_the_reference(make_outcomes) -> None:
    outcomes = make_outcomes([[1.0, 4]] * 5, [[0.5, 1]] * 5)
    found = pick_threshold(np.full((5, 2), 0.99), outcomes.cost, outcomes, max_drop=0.02)
    assert found.threshold > 1
    assert (found.drop, found.cost_cut, found.n_queries) == (0, 0, 5)


def test_the_note_says_that_it_is_a_point_estimate(make_outcomes) -> None:
    found = pick_threshold(*noisy(make_outcomes, 0))
    assert found.promise is False
    assert "40 calibration queries" in found.note
    assert "no promise" in found.note


def test_equal_cost_goes_to_the_smaller_drop_then_the_higher_threshold(make_outcomes) -> None:
    # query 1 costs the same either way but is worse with small
    outcomes = make_outcomes([[4.0, 4], [1, 4]], [[0.9, 1], [1, 1]])
    match = np.array([[0.3, 1], [0.7, 1]])
    found = pick_threshold(match, np.array([[1.0, 4], [1, 4]]), outcomes, max_drop=0.5)
    assert 0.3 < found.threshold < 0.7
    assert found.drop == 0


@pytest.mark.parametrize("max_drop", [-0.1, 1.5, float("nan")])
def test_the_drop_is_a_share(make_outcomes, max_drop: float) -> None:
    with pytest.raises(ConfigError, match="max_drop"):
        pick_threshold(*noisy(make_outcomes, 0), max_drop=max_drop)


def test_a_reference_of_no_quality_has_no_relative_drop(make_outcomes) -> None:
    outcomes = make_outcomes([[1.0, 4]], [[0.5, 0]])
    with pytest.raises(DataError, match="quality is 0"):
        pick_threshold(np.ones((1, 2)), outcomes.cost, outcomes)


def test_every_row_of_the_table_is_a_certificate() -> None:
    data = easy_and_hard().draw(800, np.random.default_rng(0))
    table = calibrate(
        one_shot(*data), max_drops=(0.001, 0.02, 0.05), confidences=(0.95, 0.8), seed=3
    )
    rows = {(row.max_drop, row.confidence): row for row in table.promises}
    for drop in (0.001, 0.02, 0.05):
        for level in (0.95, 0.8):
            alone = certify(one_shot(*data), max_drop=drop, confidence=level, seed=3)
            assert (alone.threshold is None) == ((drop, level) not in rows)
            if alone.threshold is not None:
                row = rows[drop, level]
                assert (row.threshold, row.cost_per_1k) == (alone.threshold, alone.cost_per_1k)
    assert rows and (0.001, 0.95) not in rows
    limits = {limit.confidence: limit.max_drop for limit in table.limits}
    assert limits[0.95] == certify(one_shot(*data), max_drop=0.001, seed=3).smallest_drop
    assert limits[0.8] < limits[0.95]
    assert (table.n_queries, table.score_range, table.policy) == (800, (0, 1), "one-shot")
    assert calibrate(one_shot(*data), policy="adaptive").policy == "adaptive"


def test_a_budget_is_what_its_threshold_cost() -> None:
    match, estimated, outcomes = easy_and_hard().draw(300, np.random.default_rng(0))
    table = calibrate(one_shot(match, estimated, outcomes))
    costs = [row.cost_per_1k for row in table.budgets]
    assert len(set(costs)) == len(costs) > 20
    assert costs[0] == pytest.approx(1.0) == max(costs)
    for row in table.budgets:
        played = sweep(match, estimated, outcomes, [row.threshold])
        assert row.cost_per_1k == pytest.approx(1000 * played.cost[0])
    for target in (1.0, 0.7, 0.4):
        assert table.for_cost(target).cost_per_1k <= target + 1e-9


def test_no_budget_is_dearer_than_the_reference(make_outcomes) -> None:
    # said to be cheap, and is not
    outcomes = make_outcomes([[9.0, 4]] * 30, [[1, 1]] * 30)
    table = calibrate(one_shot(np.full((30, 2), 0.5), np.tile([1.0, 4], (30, 1)), outcomes))
    assert [row.cost_per_1k for row in table.budgets] == [4000]


@pytest.mark.parametrize("wrong", [{"max_drops": (0.1, 2)}, {"confidences": (0.95, 1)}])
def test_rows_out_of_range(make_outcomes, wrong: dict) -> None:
    with pytest.raises(ConfigError, match="expected a"):
        calibrate(one_shot(*noisy(make_outcomes, 0)), **wrong)
