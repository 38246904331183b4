"""Learn beliefs: a calibrated estimator at every level, and how beliefs move between levels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bestroute.learning.beliefs.episodes import Episodes, replay
from bestroute.learning.bestofn import Floats
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.training.folds import held_out_folds
from bestroute.learning.training.logistic import log_loss, soft_logistic
from bestroute.policy.belief import FEATURES, Belief, ModelBelief
from bestroute.pool import ModelPool
from bestroute.routers.base import Router
from bestroute.routers.heads import sigmoid

if TYPE_CHECKING:
    import pyarrow as pa

L2 = (1e-4, 1e-3, 1e-2, 1e-1)

ENOUGH = 300
"""Training queries that are advised; with fewer it is said how many are wanting."""

_BINS, _MOVES = 10, 16

_log = logging.getLogger(__name__)


def learn(
    table: pa.Table,
    pool: ModelPool,
    outcomes: Outcomes,
    train_router: Callable[[Outcomes], Router],
    *,
    selection: Mapping[str, Any],
    use: Sequence[str] = FEATURES,
    groups: Sequence[object] | None = None,
    permutations: int = 40,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Belief:
    """Learn what the samples of every model say, from recorded samples alone.

    Fewer than `ENOUGH` queries do, with a warning that names how many are wanting.

    Args:
        table: Scored samples table.
        pool: The model pool.
        outcomes: The training split.
        train_router: Trains the router whose match probabilities are the prior; it is trained
            anew on every fold, so that no prior has seen its own query.
        selection: How best-of-n selects: the arguments of `Outcomes.from_samples`.
        use: Names of the features that may be read.
        groups: What queries must not be separated from in cross-validation.
        permutations: Orders in which the samples of a query are drawn.
        seed: Of folds and orders.
        progress: Told of the number of queries replayed and of all queries.

    Raises:
        DataError: There are fewer than two queries or groups, or samples are missing.
    """
    if len(outcomes) < ENOUGH:
        _log.warning(
            "the adaptive policy learns from %d train queries, and at least %d are advised: "
            "give %d more, or compare it with one-shot on the test split before you use it",
            len(outcomes),
            ENOUGH,
            ENOUGH - len(outcomes),
        )
    prior = held_out_match(outcomes, train_router, groups=groups, seed=seed)
    played = replay(
        table,
        pool,
        outcomes,
        prior,
        selection=selection,
        permutations=permutations,
        seed=seed,
        progress=progress,
    )
    models = {
        model: train_belief(episodes, use=use, groups=groups, seed=seed)
        for model, episodes in played.items()
    }
    return Belief(models, float(outcomes.cost[:, outcomes.reference_index].mean()))


def held_out_match(
    outcomes: Outcomes,
    train_router: Callable[[Outcomes], Router],
    *,
    groups: Sequence[object] | None = None,
    seed: int = 0,
) -> Floats:
    """Match probabilities [Q, A] of routers that were trained without the query."""
    match = np.empty_like(outcomes.match)
    for out in held_out_folds(len(outcomes), groups, seed):
        router = train_router(outcomes.take(np.flatnonzero(~out)))
        queries = [outcomes.queries[row] for row in np.flatnonzero(out)]
        match[out] = router.predict(queries).match
    return match


def train_belief(
    episodes: Episodes,
    *,
    use: Sequence[str] = FEATURES,
    groups: Sequence[object] | None = None,
    seed: int = 0,
) -> ModelBelief:
    """Learn what is believed of one model.

    Args:
        episodes: Replayed samples of the training queries.
        use: Names of the features that may be read.
        groups: What queries must not be separated from in cross-validation.
        seed: Of the folds.

    Raises:
        DataError: There are fewer than two queries or groups.
    """
    queries, orders, size, width = episodes.seen.shape
    folds = held_out_folds(queries, groups, seed)
    hidden = [i for i, name in enumerate(FEATURES) if name not in use]
    seen = episodes.seen.copy()
    seen[..., hidden] = np.nan
    fits = [_level(seen[:, :, level], episodes.match[:, :, level], folds) for level in range(size)]
    held_out = np.stack(
        [np.repeat(episodes.prior[:, None], orders, axis=1), *(f[-1] for f in fits)]
    )
    edges = np.stack([_edges(each) for each in held_out])
    moves = np.zeros((size + 1, size + 1, _BINS, _MOVES))
    for start, end in combinations(range(size + 1), 2):
        moves[start, end] = _moves(held_out[start], held_out[end], edges[start])
    return ModelBelief(
        levels=episodes.levels,
        centre=np.stack([f[0] for f in fits]),
        scale=np.stack([f[1] for f in fits]),
        weight=np.stack([f[2] for f in fits]),
        bias=np.array([f[3] for f in fits]),
        edges=edges,
        moves=moves,
    )


def _level(
    seen: Floats, match: Floats, folds: Sequence[NDArray[np.bool_]]
) -> tuple[Floats, Floats, Floats, float, Floats]:
    """Centre, scale, weight, bias and held-out beliefs [Q, P] of one level."""
    queries, orders, width = seen.shape
    flat = seen.reshape(-1, width)
    known = np.isfinite(flat)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, flat, 0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, flat - centre, 0) ** 2).sum(axis=0) / count)
    scale = np.where(spread > 1e-9, spread, 1.0)
    inputs = np.nan_to_num((flat - centre) / scale)
    targets = match.reshape(-1, 1)
    out = [np.repeat(fold, orders) for fold in folds]
    held_out = np.empty((len(L2), len(targets)))
    for row, l2 in enumerate(L2):
        for fold in out:
            weight, bias = soft_logistic(inputs[~fold], targets[~fold], l2)
            held_out[row, fold] = sigmoid(inputs[fold] @ weight + bias)[:, 0]
    best = int(log_loss(held_out, targets.T).mean(axis=1).argmin())
    weight, bias = soft_logistic(inputs, targets, L2[best])
    return centre, scale, weight[:, 0], float(bias[0]), held_out[best].reshape(queries, orders)


def _edges(belief: Floats) -> Floats:
    return np.quantile(belief, np.arange(1, _BINS) / _BINS)


def _moves(before: Floats, after: Floats, edges: Floats) -> Floats:
    """Equally likely beliefs later, by the bin of the belief before [B, S]."""
    bins = np.searchsorted(edges, before, side="right")
    at = (np.arange(_MOVES) + 0.5) / _MOVES
    return np.stack(
        [
            np.quantile(after[bins == each] if (bins == each).any() else after, at)
            for each in range(_BINS)
        ]
    )
