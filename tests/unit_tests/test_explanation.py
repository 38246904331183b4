"""One decision, arm by arm."""

from __future__ import annotations

import pytest

from bestroute import BestRoute, ModelPool
from bestroute.explanation import explain
from tests.small_router import EASY, HARD, routed

POOL = {
    "models": [
        {
            "model": "openai/small",
            "max_samples": 3,
            "price": {"input": 1, "output": 1},
            "context_window": 1000,
        },
        {
            "model": "openai/big",
            "reference": True,
            "price": {"input": 9, "output": 9},
            "context_window": 1000,
        },
    ]
}
REFERENCE = ModelPool.from_dict(POOL).reference_arm


def verdicts(engine: BestRoute, query: str, **options) -> dict[str, str]:
    rows = explain(engine.route(query, **options), REFERENCE)
    return {str(each.arm): each.verdict for each in rows}


def test_verdicts_are_the_rule_of_the_paper() -> None:
    engine = routed(POOL)
    assert verdicts(engine, EASY[0]) == {
        "openai/small:1": "chosen",
        "openai/small:2": "qualifies",
        "openai/small:3": "qualifies",
        "openai/big:1": "qualifies",
    }
    assert verdicts(engine, HARD[0]) == {
        "openai/small:1": "below threshold",
        "openai/small:2": "below threshold",
        "openai/small:3": "below threshold",
        "openai/big:1": "chosen",
    }


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.9])
def test_the_chosen_is_the_cheapest_that_qualifies(threshold: float) -> None:
    engine = routed(POOL)
    for query in (*EASY, *HARD):
        rows = explain(engine.route(query, threshold=threshold), REFERENCE)
        assert [row.estimated_cost for row in rows] == sorted(row.estimated_cost for row in rows)
        first = next(row for row in rows if row.verdict in ("chosen", "qualifies"))
        assert first.verdict == "chosen"


def test_excluded_arms_say_why() -> None:
    rows = explain(routed(POOL).route(EASY[0], max_n=2), REFERENCE)
    last = rows[-1]
    assert (str(last.arm), last.verdict) == ("openai/small:3", "excluded")
    assert "limited to 2" in last.why
    assert last.match_probability is None


def test_without_a_router_arms_are_eligible_only() -> None:
    found = verdicts(BestRoute(POOL), EASY[0])
    assert found["openai/small:3"] == "chosen"
    assert found["openai/big:1"] == "eligible"
