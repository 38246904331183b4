"""HybridLLM (arXiv 2404.14618): one small model, the reference, one sample of either.

Of the pool, the small model is the one of the largest mean match probability at n = 1 on the
training split. The three routers differ in their labels only (section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bestroute.errors import ConfigError, DataError
from bestroute.learning.baselines.base import among_all, grid_of, single_sample_arms, train_heads
from bestroute.learning.baselines.classes import one_draw
from bestroute.learning.outcomes import Outcomes
from bestroute.pool import Arm
from bestroute.routers.base import Floats
from bestroute.routers.encoder import Encoder
from bestroute.routers.subset import SubsetRouter

if TYPE_CHECKING:
    import pyarrow as pa

_STEPS = 100


def train_deterministic(
    outcomes: Outcomes, *, encoder: Encoder, samples: pa.Table | None = None, seed: int = 0
) -> SubsetRouter:
    """Labels 1[q_S >= q_L] of one sample of either model, drawn once with the seed.

    Arguments and errors are those of `Trainer`.
    """
    small = small_arm(outcomes)
    labels = one_draw(grid_of([small], outcomes, outcomes.match), seed)
    return _train(small, labels, outcomes, encoder, seed)


def train_probabilistic(
    outcomes: Outcomes, *, encoder: Encoder, samples: pa.Table | None = None, seed: int = 0
) -> SubsetRouter:
    """Labels Pr[q_S >= q_L]: the match probability at n = 1.

    Arguments and errors are those of `Trainer`.
    """
    small = small_arm(outcomes)
    labels = grid_of([small], outcomes, outcomes.match)
    return _train(small, labels, outcomes, encoder, seed)


def train_transformed(
    outcomes: Outcomes, *, encoder: Encoder, samples: pa.Table | None = None, seed: int = 0
) -> SubsetRouter:
    """Labels Pr[q_S >= q_L - t], with the t that spreads them most (`spreading_margin`).

    Where the small model seldom reaches the reference, most labels are near 0 and teach
    nothing; t moves them apart. Arguments and errors are those of `Trainer`.
    """
    if samples is None:
        raise DataError("hybrid-transformed needs the samples that the outcomes were made from")
    small = small_arm(outcomes)
    gaps = _gaps(samples, outcomes, small)
    labels = relaxed_labels(gaps, spreading_margin(gaps))[:, None]
    return _train(small, labels, outcomes, encoder, seed)


def small_arm(outcomes: Outcomes) -> Arm:
    """The single-sample arm of the largest mean match probability, the reference left out."""
    arms = [arm for arm in single_sample_arms(outcomes) if arm != outcomes.reference]
    if not arms:
        raise ConfigError("there is no model to route to but the reference")
    return arms[int(grid_of(arms, outcomes, outcomes.match).mean(axis=0).argmax())]


def spreading_margin(gaps: list[Floats]) -> float:
    """The t >= 0 of the largest mean absolute difference between two queries' labels.

    t* = argmax_t (1 / N^2) sum_ij |y_i(t) - y_j(t)|, by grid search (arXiv 2404.14618,
    section 3.3); the grid is 0 and 100 quantiles of the positive gaps, ties go to the
    smallest t.

    Args:
        gaps: For each query, q_L - q_S of all pairs of one sample of either.
    """
    pooled = np.concatenate(gaps)
    positive = pooled[pooled > 0]
    grid = [0.0]
    if len(positive):
        levels = np.linspace(0, 1, _STEPS)
        grid += np.unique(np.quantile(positive, levels, method="lower")).tolist()
    return grid[int(np.argmax([_spread(relaxed_labels(gaps, margin)) for margin in grid]))]


def relaxed_labels(gaps: list[Floats], margin: float) -> Floats:
    """Pr[q_S >= q_L - t] of each query [Q]."""
    return np.array([(gap <= margin).mean() for gap in gaps])


def _spread(labels: Floats) -> float:
    """Mean absolute difference of all pairs, by way of their order."""
    count = len(labels)
    return float((2 * np.arange(count) - count + 1) @ np.sort(labels) * 2 / count**2)


def _gaps(samples: pa.Table, outcomes: Outcomes, small: Arm) -> list[Floats]:
    models = (small.model, outcomes.reference.model)
    scores: dict[tuple[str, str], list[float]] = {}
    columns = samples.select(["query_id", "model", "oracle_score"]).to_pydict()
    for query, model, score in zip(*columns.values(), strict=True):
        if model in models:
            scores.setdefault((query, model), []).append(score)
    gaps = []
    for query in outcomes.query_ids:
        own, reference = (np.array(scores.get((query, m), []), dtype=np.float64) for m in models)
        gap = np.subtract.outer(reference, own).ravel()
        if not gap.size or not np.isfinite(gap).all():
            raise DataError(f"query {query!r}: no scored samples of {' and '.join(models)}")
        gaps.append(gap)
    return gaps


def _train(
    small: Arm, labels: Floats, outcomes: Outcomes, encoder: Encoder, seed: int
) -> SubsetRouter:
    arms = (small, outcomes.reference)
    labels = np.hstack([labels, np.ones((len(labels), 1))])
    return among_all(train_heads(arms, labels, outcomes, encoder=encoder, seed=seed), outcomes)
