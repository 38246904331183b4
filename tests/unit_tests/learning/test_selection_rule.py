"""Outcomes are summed the way the router's reward model selects."""

from __future__ import annotations

import pytest

from bestroute.errors import ConfigError
from bestroute.learning.selection_rule import selection_of
from bestroute.rewards import FunctionReward, SelfConsistency
from bestroute.rewards.answers import extract_answer
from bestroute.routers import StaticEncoder


def test_self_consistency_compares_recorded_answers() -> None:
    assert selection_of(SelfConsistency()) == {"agreement": extract_answer}


def test_any_other_reward_model_is_the_proxy_score() -> None:
    assert selection_of(FunctionReward(lambda query, response: len(response))) == {}


@pytest.mark.parametrize("odd", [{"encoder": StaticEncoder()}, {"extract": str.strip}])
def test_agreement_that_the_table_does_not_hold_is_refused(odd: dict) -> None:
    with pytest.raises(ConfigError, match="cannot be summed"):
        selection_of(SelfConsistency(**odd))
