"""What the baselines' trainers have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from bestroute.learning.outcomes import Outcomes
from bestroute.learning.training.train import train_router
from bestroute.pool import Arm
from bestroute.routers.base import Floats, SavableRouter
from bestroute.routers.encoder import Encoder
from bestroute.routers.multihead import MultiHeadRouter
from bestroute.routers.subset import SubsetRouter

if TYPE_CHECKING:
    import pyarrow as pa


class Trainer(Protocol):
    """Learns a router from the outcomes of the training split."""

    def __call__(
        self,
        outcomes: Outcomes,
        *,
        encoder: Encoder,
        samples: pa.Table | None = None,
        seed: int = 0,
    ) -> SavableRouter:
        """Train.

        Args:
            outcomes: Those of the training split only.
            encoder: What reads the queries, where the method takes an encoder.
            samples: The table that the outcomes were made from; only `hybrid-transformed`
                reads it.
            seed: Of everything that is random; equal seeds give equal routers.

        Raises:
            DataError: There are too few queries, or samples are needed and missing.
            ConfigError: The reference is the only model.
        """
        ...


def single_sample_arms(outcomes: Outcomes) -> tuple[Arm, ...]:
    """The arms of n = 1."""
    return tuple(arm for arm in outcomes.arms if arm.n == 1)


def grid_of(arms: Sequence[Arm], outcomes: Outcomes, values: Floats) -> Floats:
    """The columns of these arms, out of values [Q, A]."""
    return values[:, [outcomes.arms.index(arm) for arm in arms]]


def train_heads(
    arms: Sequence[Arm],
    labels: Floats,
    outcomes: Outcomes,
    *,
    encoder: Encoder,
    seed: int,
    output_tokens: Floats | None = None,
) -> MultiHeadRouter:
    """The multi-head router on some of the arms and on labels [Q, arms] of its own."""
    return train_router(
        outcomes.queries,
        labels,
        arms,
        outcomes.reference.model,
        encoder=encoder,
        output_tokens=output_tokens,
        seed=seed,
    )


def among_all(router: MultiHeadRouter, outcomes: Outcomes) -> SubsetRouter:
    """A router of some of the arms, as one of all."""
    return SubsetRouter(router, outcomes.arms, outcomes.reference.model)
