"""A belief like one that was learnt, for tests that only keep or use it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bestroute.policy.belief import FEATURES, Belief, ModelBelief


def small_belief(
    models: Iterable[str] = ("small",),
    *,
    levels: tuple[int, ...] = (1, 2, 3),
    reference_cost: float = 0.001,
    seed: int = 0,
) -> Belief:
    """Any that could have been learnt, of these models."""
    rng = np.random.default_rng(seed)
    size, width, bins, likely = len(levels), len(FEATURES), 4, 6
    learnt = {
        name: ModelBelief(
            levels=levels,
            centre=rng.normal(size=(size, width)),
            scale=rng.uniform(0.5, 2, size=(size, width)),
            weight=rng.normal(size=(size, width)),
            bias=rng.normal(size=size),
            edges=np.sort(rng.random((size + 1, bins - 1))),
            moves=np.sort(rng.random((size + 1, size + 1, bins, likely))),
        )
        for name in models
    }
    return Belief(learnt, reference_cost)
