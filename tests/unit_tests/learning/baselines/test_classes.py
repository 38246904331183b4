"""N-class and N-label: the labels of the papers' code, and a softmax at its minimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bestroute.learning.baselines.classes import (
    one_draw,
    softmax,
    softmax_regression,
    train_n_class,
)

from .conftest import make_outcomes


def test_the_score_is_the_class_s_share_of_it_and_the_reference(encoder):
    # Of identical queries, half are best answered by cook, a quarter each by count and big.
    quality = np.array([[9, 0, 1, 0, 2], [9, 0, 1, 0, 2], [1, 0, 9, 0, 2], [1, 0, 2, 0, 9.0]] * 50)
    outcomes = make_outcomes(["same"] * 200, np.ones((200, 5)), quality=quality)
    match = train_n_class(outcomes, encoder=encoder).predict(["same"]).match[0]
    assert match == pytest.approx([2 / 3, 0, 1 / 2, 0, 1], abs=0.01)


def test_models_equally_good_leave_the_class_to_the_cheapest(encoder):
    outcomes = make_outcomes(["same"] * 50, np.ones((50, 5)))
    match = train_n_class(outcomes, encoder=encoder).predict(["same"]).match[0]
    assert match[0] > 0.95
    assert match[2] == pytest.approx(0.5, abs=0.05)  # as seldom the cheapest as the reference


def test_one_draw_is_a_coin_of_the_match_probability():
    match = np.tile([0.0, 0.3, 1.0], (20_000, 1))
    labels = one_draw(match, 0)
    assert set(np.unique(labels)) == {0.0, 1.0}
    assert labels.mean(axis=0) == pytest.approx([0, 0.3, 1], abs=4 * np.sqrt(0.21 / 20_000))
    assert (labels[:, 0] == 0).all() and (labels[:, 2] == 1).all()
    assert not np.array_equal(labels, one_draw(match, 1))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(2, 5), st.sampled_from([1.0, 0.1, 0.01]), st.integers(0, 99))
def test_softmax_regression_stands_at_the_minimum(rows, classes, l2, seed):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, 3))
    targets = np.eye(classes)[rng.integers(classes, size=rows)]
    soft = (1 - 0.5 / rows) * targets + 0.5 / rows / classes

    def loss(weight, bias):
        fit = -(soft * np.log(softmax(inputs @ weight + bias))).sum(axis=1).mean()
        return fit + l2 / 2 * (weight**2).sum()

    weight, bias = softmax_regression(inputs, targets, l2)
    best = loss(weight, bias)
    for _ in range(5):
        steps = rng.normal(size=weight.shape) * 0.05, rng.normal(size=classes) * 0.05
        assert best <= loss(weight + steps[0], bias + steps[1]) + 1e-6


def test_softmax_regression_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 4))
    classes = softmax(inputs @ rng.normal(size=(4, 3))).argmax(axis=1)
    weight, bias = softmax_regression(inputs, np.eye(3)[classes], 0.1)
    theirs = linear_model.LogisticRegression(C=1 / (0.1 * 400), tol=1e-8, max_iter=5000)
    expected = theirs.fit(inputs, classes).predict_proba(inputs)
    assert np.abs(softmax(inputs @ weight + bias) - expected).max() < 0.01
