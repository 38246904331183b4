"""Training finds what is there, invents nothing where there is nothing, and is repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bestroute.errors import ConfigError, DataError
from bestroute.learning.training.logistic import log_loss, soft_logistic
from bestroute.learning.training.train import L2_GRID, train_router
from bestroute.pool import Arm
from bestroute.routers import StaticEncoder
from bestroute.routers.features import FEATURE_NAMES
from bestroute.routers.heads import raw_inputs, sigmoid

ARMS = (Arm("small", 1), Arm("small", 3), Arm("big", 1))
ENCODER = StaticEncoder()
NOUNS = ("apples", "rivers", "planets", "poems", "taxes", "cats", "bridges", "songs")


def easy_and_hard(rows, seed=0):
    """Long arithmetic is hard for the small model; short questions are not."""
    rng = np.random.default_rng(seed)
    queries, labels = [], []
    for _ in range(rows):
        hard = rng.random() < 0.5
        noun = rng.choice(NOUNS)
        numbers = ", ".join(str(n) for n in rng.integers(100, 9999, 6))
        queries.append(f"Compute the total of {numbers} {noun}." if hard else f"Name two {noun}.")
        labels.append([0.2, 0.4, 1.0] if hard else [0.9, 0.95, 1.0])
    return queries, np.array(labels)


def test_it_tells_hard_from_easy_on_queries_it_has_not_seen():
    queries, labels = easy_and_hard(200)
    router = train_router(queries, labels, ARMS, "big", encoder=ENCODER)
    unseen, truth = easy_and_hard(60, seed=1)
    match = router.predict(unseen).match
    assert np.abs(match - truth).max() < 0.15
    assert (match[:, 2] == 1).all()


def test_without_a_signal_every_query_gets_about_the_mean():
    rng = np.random.default_rng(0)
    queries, _ = easy_and_hard(280)
    labels = (rng.random((280, 3)) < 0.7).astype(float)
    router = train_router(queries, labels, ARMS, "big", encoder=ENCODER)
    unseen, _ = easy_and_hard(60, seed=1)
    assert np.abs(router.predict(unseen).match[:, :2] - labels[:, :2].mean(axis=0)).max() < 0.12


def test_equal_seeds_give_equal_routers():
    queries, labels = easy_and_hard(60)
    one, two = (train_router(queries, labels, ARMS, "big", encoder=ENCODER) for _ in range(2))
    for name, tensor in one.heads.tensors().items():
        assert np.array_equal(tensor, two.heads.tensors()[name])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_labels_give_that_constant(value):
    queries, labels = easy_and_hard(50)
    labels[:, 0] = value
    match = train_router(queries, labels, ARMS, "big", encoder=ENCODER).predict(queries).match
    assert np.abs(match[:, 0] - value).max() < 0.02


def test_identical_queries_do_not_crash():
    labels = np.tile([0.3, 0.6, 1.0], (8, 1))
    router = train_router(["same"] * 8, labels, ARMS, "big", encoder=ENCODER)
    assert router.predict(["same"]).match[0].tolist() == pytest.approx([0.3, 0.6, 1.0], abs=1e-3)


def test_an_l2_that_is_given_is_used_and_a_stronger_one_shrinks():
    queries, labels = easy_and_hard(80)
    weak, strong = (
        train_router(queries, labels, ARMS, "big", encoder=ENCODER, l2=l2) for l2 in (0.01, 10.0)
    )
    assert weak.training["l2"] == 0.01
    assert np.linalg.norm(strong.heads.weight) < np.linalg.norm(weak.heads.weight)


def test_groups_are_not_divided_by_cross_validation():
    # Each group has its own word and its own label at random: known words give labels away,
    # so that only folds that keep the groups whole see that nothing can be learnt.
    rng = np.random.default_rng(3)
    names = [str(name) for name in rng.choice(100_000, 30, replace=False)]
    queries = [f"{name} {name} {noun}" for name in names for noun in NOUNS]
    labels = np.repeat((rng.random((30, 3)) < 0.5).astype(float), len(NOUNS), axis=0)
    groups = [query.split()[0] for query in queries]
    whole = train_router(queries, labels, ARMS, "big", encoder=ENCODER, groups=groups)
    divided = train_router(queries, labels, ARMS, "big", encoder=ENCODER)
    assert whole.training["l2"] > divided.training["l2"]


def test_progress_is_told():
    queries, labels = easy_and_hard(20)
    calls = []
    train_router(
        queries, labels, ARMS, "big", encoder=ENCODER, progress=lambda *step: calls.append(step)
    )
    assert calls == [(i, 5) for i in range(1, 6)]


def test_output_tokens_follow_the_query_and_the_model():
    queries, labels = easy_and_hard(120)
    long = labels[:, :1] < 0.5
    tokens = np.where(long, [[300.0, 300.0, 600.0]], [[20.0, np.nan, 60.0]])
    router = train_router(queries, labels, ARMS, "big", encoder=ENCODER, output_tokens=tokens)
    predicted = router.predict(queries).output_tokens
    assert np.array_equal(predicted[:, 0], predicted[:, 1])
    for column in (0, 2):
        assert predicted[:, column].mean() == pytest.approx(tokens[:, column].mean(), rel=0.1)
        assert np.abs(np.log(predicted[:, column] / tokens[:, column])).max() < 0.5


def test_output_tokens_are_means_not_medians():
    queries, labels = easy_and_hard(400)
    draws = np.exp(np.random.default_rng(0).normal(4, 1, size=400))
    tokens = np.tile(draws[:, None], (1, 3))
    router = train_router(
        queries, labels, ARMS, "big", encoder=ENCODER, l2=10.0, output_tokens=tokens
    )
    predicted = router.predict(queries).output_tokens
    assert predicted[:, 0].mean() == pytest.approx(draws.mean(), rel=0.05)
    assert draws.mean() > 1.4 * np.median(draws)


def test_the_embedding_weighs_as_much_as_the_surface_features():
    queries, labels = easy_and_hard(100)
    router = train_router(queries, labels, ARMS, "big", encoder=ENCODER, l2=1.0)
    inputs = router.heads.standardise(raw_inputs(queries, ENCODER))
    variance = inputs.var(axis=0)
    assert variance[: ENCODER.dimension].sum() == pytest.approx(len(FEATURE_NAMES), rel=0.01)
    assert variance[ENCODER.dimension :].max() <= 1 + 1e-9


def test_impossible_data_is_refused():
    queries, labels = easy_and_hard(10)

    def train(changed, **kwargs):
        return train_router(queries, changed, ARMS, "big", encoder=ENCODER, **kwargs)

    for bad in (np.nan, -0.1, 1.1, np.inf):
        changed = labels.copy()
        changed[3, 1] = bad
        with pytest.raises(DataError, match=r"query 3, arm 1"):
            train(changed)
    for shape in (labels[:, :2], labels[:5], labels.ravel()):
        with pytest.raises(DataError, match="shape"):
            train(shape)
    with pytest.raises(DataError, match="groups"):
        train(labels, groups=["a"] * 9)
    with pytest.raises(DataError, match="two groups"):
        train(labels, groups=["a"] * 10)
    for tokens, word in ((-labels, "negative"), (labels * np.inf, "finite"), (labels[:4], "shape")):
        with pytest.raises(DataError, match=word):
            train(labels, output_tokens=tokens)
    with pytest.raises(DataError, match="no output tokens"):
        train(labels, output_tokens=np.full_like(labels, np.nan))
    with pytest.raises(DataError, match="two training"):
        train_router(["one"], labels[:1], ARMS, "big", encoder=ENCODER)
    with pytest.raises(ConfigError, match="huge"):
        train_router(queries, labels, ARMS, "huge", encoder=ENCODER)
    with pytest.raises(ConfigError, match="l2"):
        train(labels, l2=0.0)
    with pytest.raises(ConfigError, match="no arm"):
        train_router(queries, labels[:, 2:], ARMS[2:], "big", encoder=ENCODER)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 6),
    st.sampled_from(L2_GRID),
    st.integers(0, 2**32 - 1),
)
def test_soft_logistic_stands_at_the_minimum(rows, width, l2, seed):
    rng = np.random.default_rng(seed)
    inputs, targets = rng.normal(size=(rows, width)), rng.uniform(0.05, 0.95, size=(rows, 2))
    targets = np.clip(targets, 0.5 / rows, 1 - 0.5 / rows)

    def loss(weight, bias):
        fit = log_loss(sigmoid(inputs @ weight + bias), targets).mean(axis=0)
        return fit + l2 / 2 * (weight**2).sum(axis=0)

    weight, bias = soft_logistic(inputs, targets, l2)
    best = loss(weight, bias)
    for _ in range(5):
        other = loss(
            weight + rng.normal(size=weight.shape) * 0.05, bias + rng.normal(size=2) * 0.05
        )
        assert (best <= other + 1e-9).all()


def test_soft_logistic_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(80, 4)), rng.uniform(0.1, 0.9, size=(80, 1))
    weight, bias = soft_logistic(inputs, targets, 0.1)
    theirs = linear_model.LogisticRegression(C=1 / (0.1 * 80), tol=1e-10, max_iter=5000).fit(
        np.vstack([inputs, inputs]),
        np.repeat([1, 0], 80),
        sample_weight=np.concatenate([targets[:, 0], 1 - targets[:, 0]]),
    )
    assert weight[:, 0] == pytest.approx(theirs.coef_[0], abs=1e-4)
    assert bias[0] == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_quality_heads_predict_quality_and_stay_in_its_range():
    queries, labels = easy_and_hard(200)
    quality = labels * [4.0, 5.0, 6.0]
    router = train_router(queries, labels, ARMS, "big", encoder=ENCODER, quality=quality)
    unseen, truth = easy_and_hard(60, seed=1)
    predicted = router.predict(unseen).quality
    assert np.abs(predicted - truth * [4.0, 5.0, 6.0]).max() < 0.6
    assert predicted.min() >= quality.min() and predicted.max() <= quality.max()
    with pytest.raises(DataError, match="quality"):
        train_router(queries, labels, ARMS, "big", encoder=ENCODER, quality=quality[:, :2])


def test_predictions_rise_in_n_where_asked():
    queries, labels = easy_and_hard(60)
    labels[:, [0, 1]] = labels[:, [1, 0]]  # three samples are worse than one
    plain, ordered = (
        train_router(queries, labels, ARMS, "big", encoder=ENCODER, monotone=each).predict(queries)
        for each in (False, True)
    )
    assert (plain.match[:, 1] < plain.match[:, 0]).any()
    assert (ordered.match[:, 1] >= ordered.match[:, 0]).all()
    assert (ordered.match[:, 2] == 1).all()


def test_a_temperature_makes_an_overconfident_head_humbler():
    rng = np.random.default_rng(0)
    queries, labels = easy_and_hard(150)
    labels = (rng.random(labels.shape) < labels).astype(float)  # coins, learnt by heart
    plain, tempered = (
        train_router(queries, labels, ARMS, "big", encoder=ENCODER, l2=0.001, temperature=each)
        for each in (False, True)
    )
    assert tempered.training["temperature"] > 1.5
    unseen, truth = easy_and_hard(300, seed=1)
    losses = [
        log_loss(router.predict(unseen).match[:, :2], truth[:, :2]).mean()
        for router in (plain, tempered)
    ]
    assert losses[1] < losses[0]
