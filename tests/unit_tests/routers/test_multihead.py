"""The multi-head router: predictions follow the arms; damaged state is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers import Heads, MultiHeadRouter, Router, StaticEncoder
from bestroute.routers.features import FEATURE_NAMES

ARMS = (Arm("small", 1), Arm("big", 1), Arm("small", 2), Arm("big", 2))
ENCODER = StaticEncoder()
INPUTS = ENCODER.dimension + len(FEATURE_NAMES)
QUERIES = ["What is 2 + 2?", "", "x" * 1_000_000, "Write a poem \ud800", "\u4f60\u597d\n" * 50]


def heads(seed=0, size=1.0, lengths=True):
    rng = np.random.default_rng(seed)
    optional = {
        "length_weight": rng.normal(size=(INPUTS, 2)) * size,
        "length_bias": np.array([3.0, 4.0]),
        "length_range": np.log([[5.0, 50.0], [500.0, 900.0]]),
    }
    return Heads(
        centre=rng.normal(size=INPUTS),
        scale=rng.uniform(0.5, 2, size=INPUTS),
        weight=rng.normal(size=(INPUTS, 3)) * size,
        bias=rng.normal(size=3),
        **(optional if lengths else {}),
    )


def router(**kwargs):
    return MultiHeadRouter(ARMS, "big", ENCODER, heads(**kwargs))


def test_columns_follow_the_arms_and_the_reference_is_one():
    bias = np.array([-2.0, 0.0, 2.0])
    plain = Heads(np.zeros(INPUTS), np.ones(INPUTS), np.zeros((INPUTS, 3)), bias)
    built = MultiHeadRouter(ARMS, "big", ENCODER, plain)
    assert isinstance(built, Router)
    prediction = built.predict(["hello"])
    assert prediction.arms == built.arms == ARMS
    expected = [1 / (1 + np.exp(2)), 1.0, 0.5, 1 / (1 + np.exp(-2))]
    assert prediction.match[0].tolist() == pytest.approx(expected)
    assert prediction.output_tokens is None


def test_output_tokens_are_one_model_s_for_all_its_arms_and_stay_in_range():
    tokens = router(size=100.0).predict(QUERIES).output_tokens
    assert tokens is not None
    assert np.array_equal(tokens[:, 0], tokens[:, 2])
    assert np.array_equal(tokens[:, 1], tokens[:, 3])
    assert (tokens[:, 0] >= 5 - 1e-9).all() and (tokens[:, 0] <= 500 + 1e-6).all()
    assert (tokens[:, 1] >= 50 - 1e-9).all() and (tokens[:, 1] <= 900 + 1e-6).all()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=())), max_size=3),
    st.integers(0, 9),
    st.sampled_from([1e-3, 1.0, 1e6]),
)
def test_match_probabilities_are_probabilities(queries, seed, size):
    prediction = router(seed=seed, size=size).predict(queries)
    assert prediction.match.shape == (len(queries), len(ARMS))
    assert ((prediction.match >= 0) & (prediction.match <= 1)).all()
    assert (prediction.match[:, 1] == 1).all()


def test_no_weight_acts_beyond_four_deviations():
    far, farther = heads().standardise(np.full((2, INPUTS), [[1e6], [1e9]]))
    assert np.array_equal(far, farther)


def test_state_gives_the_same_router():
    before = router()
    config, tensors = before.state()
    after = MultiHeadRouter.from_state(json.loads(json.dumps(config)), tensors)
    one, two = before.predict(QUERIES), after.predict(QUERIES)
    assert np.array_equal(one.match, two.match)
    assert np.array_equal(one.output_tokens, two.output_tokens)
    assert after.arms == ARMS and after.reference == "big"


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize("name", ["centre", "scale", "weight", "bias", "length_bias"])
def test_a_missing_tensor_is_named(name):
    config, tensors = router().state()
    with pytest.raises(ArtifactError, match="length" if "length" in name else name):
        MultiHeadRouter.from_state(config, without(tensors, name), ENCODER)


@pytest.mark.parametrize("name", ["centre", "scale", "weight", "bias", "length_weight"])
def test_damaged_tensors_are_named(name):
    config, tensors = router().state()
    damaged = {
        "float32": tensors[name].astype(np.float32),
        "shape": tensors[name][:-1],
        "NaN": np.full_like(tensors[name], np.nan),
        "infinity": np.full_like(tensors[name], np.inf),
    }
    for word, value in damaged.items():
        with pytest.raises(ArtifactError, match=rf"{name}.*{word}"):
            MultiHeadRouter.from_state(config, {**tensors, name: value}, ENCODER)


def test_a_scale_of_zero_and_unknown_tensors_are_refused():
    config, tensors = router().state()
    with pytest.raises(ArtifactError, match="scale"):
        MultiHeadRouter.from_state(config, {**tensors, "scale": np.zeros(INPUTS)}, ENCODER)
    with pytest.raises(ArtifactError, match="extra"):
        MultiHeadRouter.from_state(config, {**tensors, "extra": np.zeros(1)}, ENCODER)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "other"}, "other"),
        ({"features_version": 0}, "features"),
        ({"arms": None}, "arms"),
        ({"arms": ["small:1", "big:1", "small:2"]}, "weight"),
        ({"arms": ["small:1", "small:2", "small:3", "small:4"]}, "reference"),
        ({"arms": ["small:1", "small:1", "big:1", "big:2"]}, "twice"),
        ({"arms": ["small", "big:1"]}, "not an arm"),
        ({"reference": 3}, "reference"),
        ({"encoder": None}, "encoder"),
        ({"encoder": {"kind": "static", "digest": "0" * 64}}, "wordllama"),
    ],
)
def test_a_damaged_config_is_refused_by_name(change, word):
    config, tensors = router().state()
    with pytest.raises(ArtifactError, match=word):
        MultiHeadRouter.from_state({**config, **change}, tensors)


def test_an_encoder_other_than_that_trained_with_is_refused():
    config, tensors = router().state()
    other = {**config, "encoder": {**config["encoder"], "digest": "0" * 64}}
    with pytest.raises(ArtifactError, match="encoder given"):
        MultiHeadRouter.from_state(other, tensors, ENCODER)


def test_heads_that_do_not_fit_are_a_config_error():
    with pytest.raises(ConfigError, match="weight"):
        MultiHeadRouter(ARMS[:3], "big", ENCODER, heads())
