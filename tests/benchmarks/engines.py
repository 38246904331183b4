"""A trained engine of any size, for benchmarks: its labels are made up, its work is real."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bestroute import BestRoute
    from bestroute.routers import StaticEncoder

_WORDS = "sum map tax river prove list date code poem price speed graph verb cell root rate".split()


@cache
def encoder() -> StaticEncoder:
    """The same for all engines, as its weights are."""
    from bestroute.routers import StaticEncoder

    return StaticEncoder()


def trained(pool: Mapping[str, Any], *, threshold: float, queries: int = 200) -> BestRoute:
    """The static router with a head an arm, and output lengths."""
    import numpy as np

    from bestroute import BestRoute, ModelPool
    from bestroute.learning.training.train import train_router

    members, rng = ModelPool.read(pool), np.random.default_rng(0)
    shape = (queries, len(members.arms))
    router = train_router(
        [" ".join(rng.choice(_WORDS, size=5 + i % 30)) + "?" for i in range(queries)],
        rng.uniform(0.4, 1.0, shape),
        members.arms,
        members.reference.name,
        encoder=encoder(),
        l2=1.0,
        output_tokens=rng.uniform(50, 150, shape),
    )
    return BestRoute(members, router=router, threshold=threshold)
