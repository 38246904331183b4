"""Every router that can be trained, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bestroute.learning.baselines import TRAINERS
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.progress import Progress, silent
from bestroute.learning.training.train import train_router, with_isotonic
from bestroute.routers.base import SavableRouter
from bestroute.routers.encoder import Encoder
from bestroute.routers.ensemble import EnsembleRouter

if TYPE_CHECKING:
    import pyarrow as pa

MULTI_HEAD, ENSEMBLE = "multi-head", "ensemble"

ROUTERS: tuple[str, ...] = (MULTI_HEAD, ENSEMBLE, *TRAINERS)
"""Names of the routers that can be trained."""

Probabilities = Literal["as-trained", "temperature", "isotonic"]
"""How match probabilities are calibrated, on cross-validated predictions."""


def train_by_name(
    seen: Outcomes,
    *,
    router: str,
    table: pa.Table,
    encoder: Encoder,
    probabilities: Probabilities = "as-trained",
    monotone: bool = False,
    fine_tuned: str | Path | None = None,
    epochs: int = 5,
    seed: int = 0,
    progress: Progress = silent,
) -> SavableRouter:
    """Train one of `ROUTERS` on all of these outcomes.

    Args:
        seen: The outcomes.
        router: Its name.
        table: The samples table that they are from.
        encoder: What reads the queries.
        probabilities: How match probabilities are calibrated; of the multi-head router.
        monotone: Make its predictions not fall in n.
        fine_tuned: Folder for the encoder, which is then trained with its heads (`fine_tune`).
        epochs: Passes over the queries when it is.
        seed: Of the folds.
        progress: Told of every step.
    """
    if router not in (MULTI_HEAD, ENSEMBLE):
        return TRAINERS[router](seen, encoder=encoder, samples=table, seed=seed)
    heads = train_router(
        seen.queries,
        seen.match,
        seen.arms,
        seen.reference.model,
        encoder=encoder,
        output_tokens=seen.output_tokens,
        quality=seen.quality,
        monotone=monotone,
        temperature=probabilities == "temperature",
        seed=seed,
        progress=lambda a, b: progress("training", a, b),
    )
    if fine_tuned is not None:
        from bestroute.learning.training.finetune import fine_tune  # which needs torch

        heads = fine_tune(
            heads,
            seen.queries,
            seen.match,
            output=fine_tuned,
            epochs=epochs,
            output_tokens=seen.output_tokens,
            quality=seen.quality,
            seed=seed,
            progress=progress,
        )
    trained: SavableRouter = heads
    if probabilities == "isotonic":
        trained = with_isotonic(heads, seen.queries, seen.match, seed=seed)
    if router == ENSEMBLE:
        neighbours = TRAINERS["knn"](seen, encoder=encoder, samples=table, seed=seed)
        trained = EnsembleRouter([trained, neighbours])
    return trained
