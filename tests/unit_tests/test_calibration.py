"""The calibration table: the stricter row, the dearest affordable one, or a clear refusal."""

from __future__ import annotations

import re

import pytest

from bestroute.calibration import CalibrationTable, CostRow, Limit, Promise
from bestroute.errors import ConfigError, NotCertifiedError


def promise(max_drop: float, confidence: float, threshold: float) -> Promise:
    return Promise(max_drop=max_drop, confidence=confidence, threshold=threshold, cost_per_1k=1)


TABLE = CalibrationTable(
    n_queries=900,
    promises=(
        promise(0.02, 0.95, 0.8),
        promise(0.05, 0.95, 0.6),
        promise(0.02, 0.9, 0.7),
        promise(0.05, 0.99, 0.75),
    ),
    limits=(Limit(confidence=0.95, max_drop=0.0123), Limit(confidence=0.99, max_drop=None)),
    budgets=(
        CostRow(cost_per_1k=10, threshold=1.01),
        CostRow(cost_per_1k=6, threshold=0.9),
        CostRow(cost_per_1k=3, threshold=0.2),
        CostRow(cost_per_1k=3, threshold=0.5),
    ),
)


@pytest.mark.parametrize(
    ("max_drop", "confidence", "threshold"),
    [
        (0.02, 0.95, 0.8),
        (0.049, 0.95, 0.8),  # between rows: the stricter one
        (0.05, 0.95, 0.6),
        (1.0, 0.95, 0.6),
        (0.02, 0.9, 0.7),
        (0.05, 0.9, 0.6),  # no row at 0.9: one that is surer will do, the least sure of them
        (0.05, 0.97, 0.75),
    ],
)
def test_the_largest_drop_that_is_not_larger(
    max_drop: float, confidence: float, threshold: float
) -> None:
    assert TABLE.for_drop(max_drop, confidence=confidence).threshold == threshold


def test_floats_that_differ_in_the_last_digit_are_the_same_drop() -> None:
    table = TABLE.model_copy(update={"promises": (promise(0.1 + 0.2, 0.95, 0.5),)})
    assert table.for_drop(0.3).threshold == 0.5


def test_a_refusal_says_what_could_be_had() -> None:
    with pytest.raises(NotCertifiedError, match="0.95 is not certified by the 900") as caught:
        TABLE.for_drop(0.01)
    assert "smallest drop in the table is 2.00%" in str(caught.value)
    assert "smallest certifiable drop is 1.23%" in str(caught.value)
    assert "bestroute calibrate" in str(caught.value)
    with pytest.raises(NotCertifiedError) as caught:
        TABLE.for_drop(0.5, confidence=0.999)
    assert "smallest" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "threshold"), [(100, 1.01), (10, 1.01), (9.99, 0.9), (6, 0.9), (3, 0.5)]
)
def test_the_dearest_row_within_the_target(target: float, threshold: float) -> None:
    assert TABLE.for_cost(target).threshold == threshold


def test_a_target_below_the_cheapest_row_names_it() -> None:
    with pytest.raises(ConfigError, match=r"\$2 for 1,000.*cheapest threshold costs \$3$"):
        TABLE.for_cost(2)
    with pytest.raises(ConfigError, match="no cost is recorded"):
        CalibrationTable(n_queries=0).for_cost(2)


def test_small_costs_are_told_in_plain_dollars_and_can_be_asked_for() -> None:
    table = CalibrationTable(
        n_queries=1, budgets=(CostRow(cost_per_1k=0.000012345641, threshold=0.5),)
    )
    with pytest.raises(ConfigError) as caught:
        table.for_cost(0.00001)
    asked, told = re.findall(r"\$([\d.]+)", str(caught.value))
    assert asked == "0.00001"
    assert table.for_cost(float(told)).threshold == 0.5


def test_it_survives_json() -> None:
    assert CalibrationTable.model_validate_json(TABLE.model_dump_json()) == TABLE
