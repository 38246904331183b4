"""What a caller asks for becomes a policy, exactly one thing at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bestroute.calibration import CalibrationTable, CostRow, Promise
from bestroute.errors import ConfigError, NotCertifiedError
from bestroute.policy import Adaptive, EarlyStop
from bestroute.target import Target, override
from tests.small_belief import small_belief

TABLE = CalibrationTable(
    n_queries=900,
    promises=(Promise(max_drop=0.02, confidence=0.95, threshold=0.8, cost_per_1k=5),),
    budgets=(CostRow(cost_per_1k=6, threshold=0.9), CostRow(cost_per_1k=3, threshold=0.5)),
)


def facts(target: Target) -> tuple[float, bool, float | None, float | None, float | None]:
    policy = target.policy(TABLE)
    return (
        policy.threshold,
        policy.calibrated,
        policy.max_drop,
        policy.confidence,
        policy.target_cost,
    )


def test_each_of_the_three() -> None:
    assert facts(Target(threshold=0.3)) == (0.3, False, None, None, None)
    assert facts(Target(max_drop=0.03)) == (0.8, True, 0.02, 0.95, None)
    assert facts(Target(target_cost=4)) == (0.5, True, None, None, 4)


def test_the_promise_is_at_least_as_sure_as_asked() -> None:
    assert Target(max_drop=0.02, confidence=0.9).policy(TABLE).confidence == 0.95
    with pytest.raises(NotCertifiedError):
        Target(max_drop=0.02, confidence=0.99).policy(TABLE)


def test_what_is_not_certified_raises_or_is_the_reference() -> None:
    with pytest.raises(NotCertifiedError, match="1.00%"):
        Target(max_drop=0.01).policy(TABLE)
    threshold, calibrated, *promised = facts(Target(max_drop=0.01, on_uncertified="reference"))
    assert threshold > 1
    assert (calibrated, *promised) == (True, 0, None, None)


def test_a_policy_keeps_what_it_has_learnt_at_another_threshold() -> None:
    base = Adaptive(0.9, small_belief(), max_waves=3, look_ahead=1)
    table = TABLE.model_copy(update={"policy": "adaptive, max_waves=3, look_ahead=1"})
    found = Target(max_drop=0.03).policy(table, base)
    assert isinstance(found, Adaptive)
    assert found.belief is base.belief
    assert (found.threshold, found.max_waves, found.look_ahead) == (0.8, 3, 1)
    assert (found.calibrated, found.max_drop, found.confidence) == (True, 0.02, 0.95)
    early = Target(threshold=0.3).policy(None, EarlyStop(0.9, calibrated=True))
    assert (early.name, early.calibrated) == ("early-stop", False)


@pytest.mark.parametrize("asked", [{"max_drop": 0.03}, {"target_cost": 4}])
def test_a_table_is_of_one_policy(asked: dict[str, Any]) -> None:
    base = Adaptive(0.9, small_belief())
    for table, policy in ((TABLE, base), (TABLE.model_copy(update={"policy": "adaptive"}), None)):
        with pytest.raises(ConfigError, match="the calibration table is for the policy"):
            Target(**asked).policy(table, policy)
    wider = TABLE.model_copy(update={"policy": "adaptive, max_waves=2"})
    with pytest.raises(ConfigError, match="'adaptive' is asked"):
        Target(**asked).policy(wider, base)


def test_without_a_table_only_a_threshold_works() -> None:
    assert Target(threshold=0.3).policy(None).threshold == 0.3
    for target in (Target(max_drop=0.1), Target(target_cost=1)):
        with pytest.raises(ConfigError, match="bestroute calibrate"):
            target.policy(None)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"threshold": 0.5, "max_drop": 0.1}, "threshold and max_drop"),
        ({"max_drop": 0.1, "target_cost": 1}, "max_drop and target_cost"),
        ({"max_drop": -0.1}, "max_drop is -0.1"),
        ({"max_drop": float("nan")}, "max_drop is nan"),
        ({"max_drop": 0.1, "confidence": 0}, "confidence is 0"),
        ({"target_cost": -1}, "target_cost is -1"),
        ({"max_drop": 0.1, "on_uncertified": "hope"}, "on_uncertified is 'hope'"),
    ],
)
def test_contradictions(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Target(**options)


def test_nothing_asked_for_is_no_policy() -> None:
    assert not Target(confidence=0.9).given
    assert Target(max_drop=0.0).given
    with pytest.raises(ConfigError, match="give one of"):
        Target().policy(TABLE)


def test_out_of_attributes_that_may_be_missing_a_value() -> None:
    holder = SimpleNamespace(
        threshold=None, max_drop=0.1, target_cost=None, confidence=None, on_uncertified="reference"
    )
    assert Target.of(holder) == Target(max_drop=0.1, on_uncertified="reference")


def test_a_knob_of_the_call_replaces_whichever_was_set() -> None:
    defaults = {"threshold": 0.5, "confidence": 0.9, "max_n": 3}
    assert override(defaults, {"max_n": 2}) == {"threshold": 0.5, "confidence": 0.9, "max_n": 2}
    assert override(defaults, {"max_drop": 0.1, "top_p": 1}) == {
        "max_drop": 0.1,
        "top_p": 1,
        "confidence": 0.9,
        "max_n": 3,
    }
