"""Single-sample routing: the multi-head router without best-of-n."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bestroute.learning.baselines.base import among_all, grid_of, single_sample_arms, train_heads
from bestroute.learning.outcomes import Outcomes
from bestroute.routers.encoder import Encoder
from bestroute.routers.subset import SubsetRouter

if TYPE_CHECKING:
    import pyarrow as pa


def train_single_sample(
    outcomes: Outcomes, *, encoder: Encoder, samples: pa.Table | None = None, seed: int = 0
) -> SubsetRouter:
    """Train the paper's router on the arms of n = 1 only.

    Labels, heads, lengths and penalty are those of the multi-head router, so that the distance
    between the two is what best-of-n adds. Arguments and errors are those of `Trainer`.
    """
    arms = single_sample_arms(outcomes)
    router = train_heads(
        arms,
        grid_of(arms, outcomes, outcomes.match),
        outcomes,
        encoder=encoder,
        seed=seed,
        output_tokens=grid_of(arms, outcomes, outcomes.output_tokens),
    )
    return among_all(router, outcomes)
