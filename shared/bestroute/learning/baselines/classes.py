"""N-class and N-label routing: the paper's learned baselines, one sample a model.

Facts from the paper's own code (github.com/microsoft/best-route-llm, hybrid_llm/pair_ranker,
losses `det_ncls` and `det_nlabels`): hard labels from one sample of each model; N-class is one
softmax whose class is the model with the best score; N-label is one sigmoid a model, its label
whether the sample's score reaches that of the reference's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bestroute._extras import require
from bestroute.errors import ConfigError
from bestroute.learning.baselines.base import among_all, grid_of, single_sample_arms, train_heads
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.training.folds import held_out_folds
from bestroute.learning.training.train import L2_GRID, unfitted, within_one_error
from bestroute.routers.base import Floats
from bestroute.routers.encoder import Encoder
from bestroute.routers.heads import raw_inputs
from bestroute.routers.multihead import MultiHeadRouter
from bestroute.routers.subset import SubsetRouter

if TYPE_CHECKING:
    import pyarrow as pa


def train_n_label(
    outcomes: Outcomes, *, encoder: Encoder, samples: pa.Table | None = None, seed: int = 0
) -> SubsetRouter:
    """One head a model, its label whether one sample reaches one of the reference.

    Whether one sample drawn of each model reaches the reference's is a coin that falls with the
    match probability of n = 1: it is tossed once, with the seed. The threshold of the match
    probability enters as it does for the paper's own router, by the head's probability.
    Arguments and errors are those of `Trainer`.
    """
    arms = single_sample_arms(outcomes)
    labels = one_draw(grid_of(arms, outcomes, outcomes.match), seed)
    return among_all(train_heads(arms, labels, outcomes, encoder=encoder, seed=seed), outcomes)


def one_draw(match: Floats, seed: int) -> Floats:
    """Whether one sample each matches (1 or 0), for match probabilities [Q, arms] of n = 1."""
    return (np.random.default_rng(seed).random(match.shape) < match).astype(np.float64)


def train_n_class(
    outcomes: Outcomes, *, encoder: Encoder, samples: pa.Table | None = None, seed: int = 0
) -> SubsetRouter:
    """One softmax over the models, the class of a query being its best model.

    Chosen here, where the source leaves it open or its choice would be noise: the best model is
    that of the highest expected score of one sample, ties going to the cheapest on average; l2
    is picked as the multi-head router picks it. So that one threshold serves every method, a
    model's score is the probability of its class given that either it or the reference is the
    best, p / (p + p_reference): at 1/2 whatever is likelier the best than the reference
    qualifies. That is the logistic function of a difference of logits, so the router is one of
    linear heads. Arguments and errors are those of `Trainer`.
    """
    arms = single_sample_arms(outcomes)
    reference = outcomes.reference.model
    if len(arms) < 2:
        raise ConfigError("there is no model to route to but the reference")
    classes = _best(
        grid_of(arms, outcomes, outcomes.quality), grid_of(arms, outcomes, outcomes.cost)
    )
    raw = raw_inputs(outcomes.queries, encoder)
    heads = unfitted(raw, encoder.dimension)
    inputs = heads.standardise(raw)
    l2 = _choose(inputs, classes, seed)
    weight, bias = softmax_regression(inputs, classes, l2)
    anchor = arms.index(outcomes.reference)
    heads = replace(
        heads,
        weight=np.delete(weight, anchor, axis=1) - weight[:, [anchor]],
        bias=np.delete(bias, anchor) - bias[anchor],
    )
    training = {"l2": l2, "queries": len(outcomes), "seed": seed}
    return among_all(MultiHeadRouter(arms, reference, encoder, heads, training=training), outcomes)


def _best(quality: Floats, cost: Floats) -> Floats:
    """One-hot class [Q, K] of the best model, ties to the cheapest on average."""
    by_cost = np.argsort(cost.mean(axis=0), kind="stable")
    best = by_cost[quality[:, by_cost].argmax(axis=1)]
    one_hot: Floats = np.eye(quality.shape[1])[best]
    return one_hot


def _choose(inputs: Floats, classes: Floats, seed: int) -> float:
    losses = np.empty((len(L2_GRID), len(inputs)))
    for held_out in held_out_folds(len(inputs), None, seed):
        for row, l2 in enumerate(L2_GRID):
            weight, bias = softmax_regression(inputs[~held_out], classes[~held_out], l2)
            predicted = softmax(inputs[held_out] @ weight + bias)
            losses[row, held_out] = -np.log((predicted * classes[held_out]).sum(axis=1))
    return L2_GRID[within_one_error(losses)]


def softmax(logits: Floats) -> Floats:
    """Probabilities [B, K] of logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def softmax_regression(inputs: Floats, targets: Floats, l2: float) -> tuple[Floats, Floats]:
    """Minimise mean cross-entropy + l2 / 2 |W|^2; the biases are free.

    Half a query's worth of the uniform distribution is mixed into the targets, so that a class
    that is never seen has a finite bias.

    Args:
        inputs: [B, D].
        targets: Distributions over the classes [B, K].
        l2: Penalty, above 0.

    Returns:
        Weights [D, K] and biases [K].
    """
    optimize = require("scipy.optimize", feature="N-class training", extra="train")
    rows, count = targets.shape
    share = 0.5 / rows
    soft = (1 - share) * targets + share / count
    design = np.hstack([inputs, np.ones((rows, 1))])
    penalty = np.append(np.full(inputs.shape[1], l2), 0.0)[:, None]

    def loss(flat: Floats) -> tuple[float, Floats]:
        solution = flat.reshape(-1, count)
        predicted = softmax(design @ solution)
        value = -(soft * np.log(predicted + 1e-300)).sum() / rows
        gradient = design.T @ (predicted - soft) / rows + penalty * solution
        return float(value + (penalty * solution**2).sum() / 2), gradient.ravel()

    start = np.zeros((design.shape[1], count))
    start[-1] = np.log(soft.mean(axis=0))
    solution = optimize.minimize(loss, start.ravel(), jac=True, method="L-BFGS-B").x
    solution = solution.reshape(-1, count)
    return solution[:-1], solution[-1]
