"""Two topics, two small models each good at one of them, and a big model good at both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bestroute.learning.outcomes import Outcomes
from bestroute.pool import Arm
from bestroute.routers import StaticEncoder

COOK, COUNT, BIG = "cook", "count", "big"
ARMS = (Arm(COOK, 1), Arm(COOK, 2), Arm(COUNT, 1), Arm(COUNT, 2), Arm(BIG, 1))
COSTS = np.array([1.0, 2.0, 1.5, 3.0, 10.0])
ON_COOKING = np.array([0.9, 0.95, 0.1, 0.15, 1.0])
ON_COUNTING = np.array([0.2, 0.25, 0.8, 0.9, 1.0])
DISHES = ("soup", "bread", "rice", "salad", "pasta", "cake", "stew", "pie")
THINGS = ("cars", "coins", "days", "votes", "miles", "hours")

MakeOutcomes = Callable[..., Outcomes]


def make_outcomes(queries: list[str], match: np.ndarray, arms=ARMS, **changed) -> Outcomes:
    count = len(queries)
    ones = np.ones_like(match)
    fields = {
        "arms": tuple(arms),
        "reference": Arm(BIG, 1),
        "query_ids": tuple(f"q{i}" for i in range(count)),
        "queries": tuple(queries),
        "prompts": tuple(queries),
        "tasks": ("",) * count,
        "splits": ("train",) * count,
        "match": match,
        "quality": match.copy(),
        "cost": ones * COSTS[: match.shape[1]],
        "prompt_tokens": ones,
        "output_tokens": ones * 50,
    }
    return Outcomes(**{**fields, **changed})


@pytest.fixture(scope="session")
def topics() -> MakeOutcomes:
    """Outcomes of so many queries of both topics, in turn; with another seed, other queries."""

    def make(rows: int, seed: int = 0) -> Outcomes:
        rng = np.random.default_rng(seed)
        queries = [
            f"How long should I cook {rng.choice(DISHES)} with {rng.choice(DISHES)} on the stove?"
            if row % 2 == 0
            else f"Compute the total of {rng.integers(10, 99)} and {rng.integers(10, 99)} "
            f"{rng.choice(THINGS)}."
            for row in range(rows)
        ]
        match = np.array([ON_COUNTING if row % 2 else ON_COOKING for row in range(rows)])
        quality = np.where(np.arange(len(ARMS)) == ARMS.index(Arm(BIG, 1)), 0.5, match)
        return make_outcomes(queries, match, quality=quality)

    return make


@pytest.fixture(scope="session")
def encoder() -> StaticEncoder:
    return StaticEncoder()
