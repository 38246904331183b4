"""Training of the multi-head router: soft-label cross-entropy on a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ConfigError, DataError
from bestroute.learning.logistic import log_loss, soft_logistic
from bestroute.pool import Arm
from bestroute.routers.base import Floats
from bestroute.routers.encoder import Encoder
from bestroute.routers.heads import Heads, raw_inputs, sigmoid
from bestroute.routers.multihead import MultiHeadRouter, columns

Progress = Callable[[int, int], None]
"""Called with the number of folds done and the number of all folds."""

L2_GRID: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""Candidates for `l2`, strongest first."""

_FOLDS = 5


def train_router(
    queries: Sequence[str],
    labels: Floats,
    arms: Sequence[Arm],
    reference: str,
    *,
    encoder: Encoder,
    l2: float | None = None,
    groups: Sequence[object] | None = None,
    output_tokens: Floats | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> MultiHeadRouter:
    """Train one head per arm on match probabilities (the paper's multi-head router).

    Every head minimises the mean cross-entropy with its soft labels plus l2 / 2 times the
    squared norm of its weights (`logistic.soft_logistic`). The same l2 serves all heads. Where
    it is not given, five-fold cross-validation on these queries (no others) takes, among
    `L2_GRID`, the strongest whose log loss is within one standard error of the best: with a
    few hundred queries the difference is noise, and the stronger one errs on the side of what
    the arms do on average.

    Args:
        queries: Training queries [B].
        labels: Match probabilities [B, arms], in [0, 1]; the column of the reference with
            n = 1 is not used.
        arms: The arms, in the order of the columns; the reference with n = 1 among them.
        reference: Name of the reference model.
        encoder: The encoder; it stays as it is.
        l2: Strength of the penalty, above 0.
        groups: What each query [B] must not be separated from in cross-validation, such as
            the scenario that several questions share.
        output_tokens: Mean completion tokens of one sample [B, arms], NaN where unknown; with
            them the router predicts output lengths too, by one head a model.
        seed: Of the folds; equal seeds give equal routers.
        progress: Called after every fold of the cross-validation.

    Raises:
        DataError: Labels, groups or output tokens have the wrong shape, hold NaN, or values
            that are impossible; fewer than two queries.
        ConfigError: The arms lack the reference, hold nothing else, or name an arm twice; an
            l2 that is not above 0.
    """
    headed, model_column = columns(arms, reference)
    if not len(headed):
        raise ConfigError("there is no arm to train but the reference")
    if l2 is not None and not l2 > 0:
        raise ConfigError(f"l2 must be above 0, not {l2}")
    labels = _labels(labels, len(queries), len(arms))[:, headed]
    raw = raw_inputs(queries, encoder)
    heads = unfitted(raw, encoder.dimension)
    inputs = heads.standardise(raw)
    if l2 is None:
        folds = list(held_out_folds(len(queries), groups, seed))
        l2 = _choose(inputs, labels, folds, progress or _silent)
    weight, bias = soft_logistic(inputs, labels, l2)
    heads = replace(heads, weight=weight, bias=bias)
    if output_tokens is not None:
        heads = _with_lengths(heads, inputs, output_tokens, model_column, l2)
    return MultiHeadRouter(
        arms, reference, encoder, heads, training={"l2": l2, "queries": len(queries), "seed": seed}
    )


def _silent(done: int, total: int) -> None:
    """No progress wanted."""


def _labels(labels: Floats, rows: int, arms: int) -> Floats:
    values = np.asarray(labels, dtype=np.float64)
    if values.shape != (rows, arms):
        raise DataError(f"labels have the shape {values.shape}; {rows} queries, {arms} arms")
    if rows < 2:
        raise DataError("a router needs at least two training queries")
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"label {values[row, column]} of query {row}, arm {column}: match probabilities "
            "must lie in [0, 1]"
        )
    return values


def unfitted(raw: Floats, dimension: int) -> Heads:
    """Standardisation of raw inputs [B, D]; no heads yet.

    Surface features are scaled one by one. The embedding is scaled as a whole, its directions
    kept, to the total variance of the features: l2 then treats both alike.
    """
    width = raw.shape[1]
    spread = raw.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    total = np.sqrt((spread[:dimension] ** 2).sum())
    scale[:dimension] = total / np.sqrt(width - dimension) if total > 1e-9 else 1.0
    return Heads(raw.mean(axis=0), scale, np.zeros((width, 0)), np.zeros(0))


def held_out_folds(
    rows: int, groups: Sequence[object] | None, seed: int
) -> Iterator[NDArray[np.bool_]]:
    """Which rows are held out [B], fold by fold; a group is never divided."""
    if groups is not None and len(groups) != rows:
        raise DataError(f"{len(groups)} groups for {rows} queries")
    key = list(range(rows) if groups is None else groups)
    order = {name: i for i, name in enumerate(dict.fromkeys(key))}
    if len(order) < 2:
        raise DataError("cross-validation needs at least two groups; or give l2")
    fold = np.random.default_rng(seed).permutation(len(order)) % _FOLDS
    member = fold[[order[name] for name in key]]
    for k in range(_FOLDS):
        held_out: NDArray[np.bool_] = member == k
        if held_out.any():
            yield held_out


def _choose(
    inputs: Floats, labels: Floats, folds: Sequence[NDArray[np.bool_]], progress: Progress
) -> float:
    """The strongest l2 within one standard error of the best held-out log loss."""
    losses = np.full((len(L2_GRID), len(labels)), np.nan)
    for done, held_out in enumerate(folds, start=1):
        for row, l2 in enumerate(L2_GRID):
            weight, bias = soft_logistic(inputs[~held_out], labels[~held_out], l2)
            predicted = sigmoid(inputs[held_out] @ weight + bias)
            losses[row, held_out] = log_loss(predicted, labels[held_out]).mean(axis=1)
        progress(done, len(folds))
    return L2_GRID[within_one_error(losses)]


def within_one_error(losses: Floats) -> int:
    """The first candidate whose mean of losses [C, B] is within one standard error of the best."""
    means = losses.mean(axis=1)
    # Paired: the losses of two candidates on the same query move together.
    excess = losses - losses[means.argmin()]
    error = excess.std(axis=1) / np.sqrt(losses.shape[1])
    return int(np.flatnonzero(means - means.min() <= error)[0])


def _with_lengths(
    heads: Heads, inputs: Floats, output_tokens: Floats, model_column: NDArray[np.intp], l2: float
) -> Heads:
    """The heads with a ridge regression of log tokens for every model."""
    values = np.asarray(output_tokens, dtype=np.float64)
    if values.shape != (len(inputs), len(model_column)):
        raise DataError(f"output_tokens have the shape {values.shape}, unlike the labels")
    if (values < 0).any() or np.isinf(values).any():
        raise DataError("output_tokens must be finite and not negative")
    models = [
        _length_head(inputs, values[:, model_column == model], l2)
        for model in range(int(model_column.max()) + 1)
    ]
    weight, bias, low, high = (np.stack(part, axis=-1) for part in zip(*models, strict=True))
    return replace(
        heads, length_weight=weight, length_bias=bias, length_range=np.stack([low, high])
    )


def _length_head(inputs: Floats, tokens: Floats, l2: float) -> tuple[Floats, ...]:
    """Weight [D], bias, and range of one model's log tokens, from its arms' [B, n]."""
    known = ~np.isnan(tokens).all(axis=1)
    if not known.any():
        raise DataError("a model has no output tokens at all: give none, or some of every model")
    logs = np.log(np.maximum(np.nanmean(tokens[known], axis=1), 1.0))
    x, rows = inputs[known], int(known.sum())
    centred = x - x.mean(axis=0)
    gram = centred.T @ centred / rows + l2 * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, centred.T @ (logs - logs.mean()) / rows)
    bias = logs.mean() - x.mean(axis=0) @ weight
    # Smearing: the mean of exp is above the exp of the mean.
    bias += np.log(np.exp(logs - x @ weight - bias).mean())
    return weight, bias, logs.min(), logs.max()
