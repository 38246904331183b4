"""Matrix factorisation: RouteLLM's idea, for arms instead of models."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from bestroute._extras import require
from bestroute.errors import ConfigError
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.training.folds import held_out_folds
from bestroute.learning.training.logistic import log_loss
from bestroute.learning.training.train import unfitted, within_one_error
from bestroute.routers.base import Floats
from bestroute.routers.encoder import Encoder
from bestroute.routers.heads import raw_inputs, sigmoid
from bestroute.routers.multihead import MultiHeadRouter, columns

if TYPE_CHECKING:
    import pyarrow as pa

RANKS = (1, 2, 4, 8)
"""Candidates for the rank, simplest first."""

PENALTIES = (3.0, 1.0, 0.3, 0.1)
"""Candidates for the penalty, strongest first."""


def train_factors(
    outcomes: Outcomes, *, encoder: Encoder, samples: pa.Table | None = None, seed: int = 0
) -> MultiHeadRouter:
    """Heads of low rank: Pr[arm matches] = sigma(s(arm, q) - s(reference, q)).

    s(arm, q) = w . (v_arm * (W x(q) + b)), arXiv 2406.18665. A difference of two
    such scores is x(q) P d_arm plus a bias, with P = W' and d_arm = w * (v_arm - v_reference):
    the arms' heads are products of few factors, and the trained router is a multi-head one.
    Chosen here: the labels are match probabilities instead of preferences, x is what the
    multi-head router reads, the biases are free, and rank and penalty minimise the
    cross-validated log loss on these queries. Arguments and errors are those of `Trainer`.
    """
    reference = outcomes.reference.model
    headed, _ = columns(outcomes.arms, reference)
    if not len(headed):
        raise ConfigError("there is no arm to train but the reference")
    labels = outcomes.match[:, headed]
    raw = raw_inputs(outcomes.queries, encoder)
    heads = unfitted(raw, encoder.dimension)
    inputs = heads.standardise(raw)
    rank, penalty = _choose(inputs, labels, seed)
    weight, bias = low_rank_logistic(inputs, labels, rank, penalty)
    return MultiHeadRouter(
        outcomes.arms,
        reference,
        encoder,
        replace(heads, weight=weight, bias=bias),
        training={"rank": rank, "penalty": penalty, "queries": len(outcomes), "seed": seed},
    )


def _choose(inputs: Floats, labels: Floats, seed: int) -> tuple[int, float]:
    grid = list(product([r for r in RANKS if r <= labels.shape[1]], PENALTIES))
    losses = np.empty((len(grid), len(inputs)))
    for held_out in held_out_folds(len(inputs), None, seed):
        for row, (rank, penalty) in enumerate(grid):
            weight, bias = low_rank_logistic(inputs[~held_out], labels[~held_out], rank, penalty)
            predicted = sigmoid(inputs[held_out] @ weight + bias)
            losses[row, held_out] = log_loss(predicted, labels[held_out]).mean(axis=1)
    return grid[within_one_error(losses)]


def low_rank_logistic(
    inputs: Floats, targets: Floats, rank: int, penalty: float
) -> tuple[Floats, Floats]:
    """Minimise the heads' summed mean cross-entropies + penalty / 2 (|P|^2 + |D|^2).

    It starts from the best descent of that rank at weights 0, so nothing is random.

    Args:
        inputs: [B, D].
        targets: [B, H] in [0, 1].
        rank: Columns of P, at most H and D.
        penalty: Above 0.

    Returns:
        Weights P D [D, H], of at most that rank, and biases [H].
    """
    optimize = require("scipy.optimize", feature="Matrix factorisation", extra="train")
    rows, width = inputs.shape
    heads = targets.shape[1]
    soft = np.clip(targets, 0.5 / rows, 1 - 0.5 / rows)
    mean = soft.mean(axis=0)
    cuts = (width * rank, (width + heads) * rank)

    def parts(flat: Floats) -> tuple[Floats, Floats, Floats]:
        left, right, bias = np.split(flat, cuts)
        return left.reshape(width, rank), right.reshape(rank, heads), bias

    def loss(flat: Floats) -> tuple[float, Floats]:
        left, right, bias = parts(flat)
        hidden = inputs @ left
        logits = hidden @ right + bias
        value = (np.logaddexp(0, logits) - soft * logits).sum() / rows
        gap = (sigmoid(logits) - soft) / rows
        slopes = (inputs.T @ (gap @ right.T) + penalty * left, hidden.T @ gap + penalty * right)
        value += penalty / 2 * ((left**2).sum() + (right**2).sum())
        return float(value), np.concatenate([*(each.ravel() for each in slopes), gap.sum(axis=0)])

    u, s, v = np.linalg.svd(inputs.T @ (soft - mean) / rows, full_matrices=False)
    root = np.sqrt(s[:rank])
    start = [u[:, :rank] * root, root[:, None] * v[:rank], np.log(mean / (1 - mean))]
    flat = np.concatenate([each.ravel() for each in start])
    left, right, bias = parts(optimize.minimize(loss, flat, jac=True, method="L-BFGS-B").x)
    return left @ right, bias
