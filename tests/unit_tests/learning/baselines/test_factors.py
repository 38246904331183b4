"""Matrix factorisation: heads of low rank, at the minimum of the penalty they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from bestroute.learning.baselines.factors import RANKS, low_rank_logistic, train_factors
from bestroute.routers.heads import sigmoid

from .conftest import ARMS


def planted(rows, width, heads, rank, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, width))
    weight = rng.normal(size=(width, rank)) @ rng.normal(size=(rank, heads))
    return inputs, sigmoid(inputs @ weight), weight


@pytest.mark.parametrize("rank", [1, 2])
def test_it_finds_the_heads_of_that_rank(rank):
    inputs, labels, truth = planted(400, 6, 5, rank)
    weight, bias = low_rank_logistic(inputs, labels, rank, 1e-4)
    assert np.linalg.matrix_rank(weight, tol=1e-8) == rank
    assert np.abs(sigmoid(inputs @ weight + bias) - labels).max() < 0.05
    assert np.corrcoef(weight.ravel(), truth.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("penalty", [0.3, 0.03])
def test_at_full_rank_no_other_heads_have_a_smaller_penalised_loss(penalty):
    # |P|^2 + |D|^2 is twice the sum of the singular values of P D at its smallest.
    inputs, labels, _ = planted(60, 4, 3, 3, seed=1)
    soft = np.clip(labels, 0.5 / 60, 1 - 0.5 / 60)

    def loss(weight, bias):
        logits = inputs @ weight + bias
        fit = (np.logaddexp(0, logits) - soft * logits).sum() / 60
        return fit + penalty * np.linalg.svd(weight, compute_uv=False).sum()

    weight, bias = low_rank_logistic(inputs, labels, 3, penalty)
    best = loss(weight, bias)
    rng = np.random.default_rng(2)
    for size in (0.3, 0.03, 0.003):
        for _ in range(20):
            other = weight + rng.normal(size=weight.shape) * size
            assert best <= loss(other, bias + rng.normal(size=3) * size) + 1e-5


def test_constant_labels_have_finite_heads():
    inputs = np.random.default_rng(0).normal(size=(20, 3))
    weight, bias = low_rank_logistic(inputs, np.tile([0.0, 1.0], (20, 1)), 1, 0.1)
    assert np.isfinite(weight).all()
    assert sigmoid(inputs @ weight + bias).mean(axis=0) == pytest.approx([0, 1], abs=0.05)


def test_the_router_says_what_it_chose(topics, encoder):
    router = train_factors(topics(60), encoder=encoder)
    assert router.training["rank"] in RANKS and router.training["rank"] < len(ARMS)
    assert np.linalg.matrix_rank(router.heads.weight, tol=1e-8) <= router.training["rank"]
