"""Training of the multi-head router: soft-label cross-entropy on a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ConfigError, DataError
from bestroute.learning.training.folds import held_out_folds
from bestroute.learning.training.logistic import log_loss, ridge, soft_logistic
from bestroute.learning.training.probabilities import (
    CURVE_POINTS,
    fit_isotonic,
    fit_temperature,
    logit,
)
from bestroute.pool import Arm
from bestroute.routers.base import Floats, Router
from bestroute.routers.calibrated import CalibratedRouter
from bestroute.routers.encoder import Encoder
from bestroute.routers.heads import Heads, raw_inputs, sigmoid
from bestroute.routers.multihead import MultiHeadRouter, columns

Progress = Callable[[int, int], None]
"""Called with the number of folds done and the number of all folds."""

L2_GRID: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""Candidates for `l2`, strongest first."""


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
    quality: Floats | None = None,
    monotone: bool = False,
    temperature: bool = False,
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
        quality: Expected quality [B, arms]; with it the router predicts quality too, by one
            ridge regression an arm.
        monotone: Make predictions not fall in n.
        temperature: Divide the logits by the temperature that fits the predictions of the
            cross-validation best.
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
    training: dict[str, float] = {"queries": len(queries), "seed": seed}
    divisor = 1.0
    if l2 is None or temperature:
        folds = held_out_folds(len(queries), groups, seed)
        grid = L2_GRID if l2 is None else (l2,)
        l2, unseen = _cross_validate(inputs, labels, folds, grid, progress or _silent)
        if temperature:
            training["temperature"] = divisor = fit_temperature(logit(unseen), labels)
    weight, bias = soft_logistic(inputs, labels, l2)
    heads = replace(heads, weight=weight / divisor, bias=bias / divisor)
    if output_tokens is not None:
        heads = _with_lengths(heads, inputs, output_tokens, model_column, l2)
    if quality is not None:
        heads = _with_quality(heads, inputs, quality, len(arms), l2)
    training["l2"] = l2
    return MultiHeadRouter(arms, reference, encoder, heads, monotone=monotone, training=training)


def with_isotonic(
    router: MultiHeadRouter,
    queries: Sequence[str],
    labels: Floats,
    *,
    groups: Sequence[object] | None = None,
    seed: int = 0,
) -> CalibratedRouter:
    """The router with its match probabilities corrected by isotonic regression, arm by arm.

    The curves are fitted on the predictions of a cross-validation of the queries that the router
    was trained on, at its own l2; no other query is used up.

    Args:
        router: A router that `train_router` made, without a temperature.
        queries: What it was made of, as are labels, groups and seed.
        labels: Match probabilities [B, arms].
        groups: What each query must not be separated from [B].
        seed: Of the folds.
    """
    headed, _ = columns(router.arms, router.reference)
    wanted = _labels(labels, len(queries), len(router.arms))[:, headed]
    inputs = router.heads.standardise(raw_inputs(queries, router.encoder))
    folds = held_out_folds(len(queries), groups, seed)
    _, unseen = _cross_validate(inputs, wanted, folds, (router.training["l2"],), _silent)
    curves = np.tile(np.linspace(0, 1, CURVE_POINTS)[:, None], (1, len(router.arms)))
    curves[:, headed] = fit_isotonic(unseen, wanted)
    return CalibratedRouter(router, curves)


def _silent(done: int, total: int) -> None:
    """No progress wanted."""


def uncalibrated(router: Router) -> Router | None:
    """The router as it was before a temperature or isotonic curves; `None` if it had neither."""
    if isinstance(router, CalibratedRouter):
        return router.router
    if not isinstance(router, MultiHeadRouter) or "temperature" not in router.training:
        return None
    factor = router.training["temperature"]
    heads = replace(
        router.heads, weight=router.heads.weight * factor, bias=router.heads.bias * factor
    )
    return MultiHeadRouter(
        router.arms, router.reference, router.encoder, heads, monotone=router.monotone
    )


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


def _cross_validate(
    inputs: Floats,
    labels: Floats,
    folds: Iterable[NDArray[np.bool_]],
    grid: Sequence[float],
    progress: Progress,
) -> tuple[float, Floats]:
    """The strongest l2 within one standard error of the best, and its held-out predictions."""
    parts = list(folds)
    predicted = np.full((len(grid), *labels.shape), np.nan)
    for done, out in enumerate(parts, start=1):
        for row, l2 in enumerate(grid):
            weight, bias = soft_logistic(inputs[~out], labels[~out], l2)
            predicted[row, out] = sigmoid(inputs[out] @ weight + bias)
        progress(done, len(parts))
    best = within_one_error(log_loss(predicted, labels).mean(axis=2))
    return grid[best], predicted[best]


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
    x = inputs[known]
    weight, bias = ridge(x, logs, l2)
    # Smearing: the mean of exp is above the exp of the mean.
    bias += np.log(np.exp(logs - x @ weight - bias).mean())
    return weight, bias, logs.min(), logs.max()


def _with_quality(heads: Heads, inputs: Floats, quality: Floats, arms: int, l2: float) -> Heads:
    """The heads with a ridge regression of the quality of every arm."""
    values = np.asarray(quality, dtype=np.float64)
    if values.shape != (len(inputs), arms) or not np.isfinite(values).all():
        raise DataError(f"quality must be finite numbers [{len(inputs)}, {arms}]")
    weight, bias = ridge(inputs, values, l2)
    limits = np.stack([values.min(axis=0), values.max(axis=0)])
    return replace(heads, quality_weight=weight, quality_bias=bias, quality_range=limits)
