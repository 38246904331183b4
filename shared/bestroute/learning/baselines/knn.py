"""Training of the nearest-neighbour router: there is only k to choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bestroute.errors import DataError
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.training.logistic import log_loss
from bestroute.learning.training.train import within_one_error
from bestroute.routers.base import Floats
from bestroute.routers.encoder import Encoder, Vectors, unit
from bestroute.routers.knn import KNNRouter, smoothed

if TYPE_CHECKING:
    import pyarrow as pa

K_GRID = (80, 40, 20, 10, 5)
"""Candidates for k, smoothest first."""

_BLOCK = 1024


def train_knn(
    outcomes: Outcomes, *, encoder: Encoder, samples: pa.Table | None = None, seed: int = 0
) -> KNNRouter:
    """Keep the training queries; choose k by leave-one-out.

    The largest k of `K_GRID` is taken whose leave-one-out log loss is within one standard error
    of the best. Arguments and errors are those of `Trainer`.
    """
    if len(outcomes) < 2:
        raise DataError("nearest neighbours need at least two training queries")
    vectors = unit(encoder.encode(outcomes.queries))
    grid = [k for k in K_GRID if k < len(outcomes)] or [len(outcomes) - 1]
    labels = np.delete(outcomes.match, outcomes.reference_index, axis=1)
    return KNNRouter(
        outcomes.arms,
        outcomes.reference.model,
        encoder,
        vectors=vectors,
        match=outcomes.match,
        quality=outcomes.quality,
        k=grid[within_one_error(_left_out(vectors, labels, grid))],
    )


def _left_out(vectors: Vectors, labels: Floats, grid: list[int]) -> Floats:
    """Log loss [K, N] of every query, predicted from all others."""
    losses = np.empty((len(grid), len(vectors)))
    for begin in range(0, len(vectors), _BLOCK):
        rows = np.arange(begin, min(begin + _BLOCK, len(vectors)))
        similar = vectors[rows] @ vectors.T
        similar[rows - begin, rows] = -np.inf
        order = np.argsort(-similar, axis=1)[:, : max(grid)]
        for place, k in enumerate(grid):
            predicted = smoothed(labels[order[:, :k]].sum(axis=1), k, labels)
            losses[place, rows] = log_loss(predicted, labels[rows]).mean(axis=1)
    return losses
