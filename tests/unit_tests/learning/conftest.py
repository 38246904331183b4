"""Outcomes of made-up arms, for what is done with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike

from bestroute.learning.outcomes import Outcomes
from bestroute.pool import Arm

MakeOutcomes = Callable[[ArrayLike, ArrayLike], Outcomes]


@pytest.fixture(scope="session")
def make_outcomes() -> MakeOutcomes:
    """Outcomes from costs and qualities [Q, A]; the last arm is the reference."""

    def make(cost: ArrayLike, quality: ArrayLike) -> Outcomes:
        costs, qualities = np.array(cost, dtype=float), np.array(quality, dtype=float)
        queries, columns = costs.shape
        arms = (*(Arm("small", n + 1) for n in range(columns - 1)), Arm("big", 1))
        names = tuple(f"q{row}" for row in range(queries))
        return Outcomes(
            arms=arms,
            reference=arms[-1],
            query_ids=names,
            queries=names,
            prompts=names,
            tasks=("t",) * queries,
            splits=("test",) * queries,
            match=(qualities >= qualities[:, -1:]).astype(float),
            quality=qualities,
            cost=costs,
            prompt_tokens=np.ones_like(costs),
            output_tokens=np.ones_like(costs),
        )

    return make


@pytest.fixture(scope="session")
def easy_or_hard(make_outcomes: MakeOutcomes) -> Outcomes:
    """Half of 200 queries are easy: there small:1 is as good as big, elsewhere it is wrong."""
    easy = np.arange(200) % 2
    quality = np.column_stack([easy, np.full(200, 0.6), np.ones(200)])
    return make_outcomes(np.tile([1.0, 2.5, 5.0], (200, 1)), quality)
