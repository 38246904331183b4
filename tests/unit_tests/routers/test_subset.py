"""A router of some arms among all: columns keep their arms, the others match with 0."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers import (
    Heads,
    MultiHeadRouter,
    Router,
    StaticEncoder,
    SubsetRouter,
    load_router,
)
from bestroute.routers.features import FEATURE_NAMES

SOME = (Arm("big", 1), Arm("small", 1))
ALL = (Arm("small", 1), Arm("small", 2), Arm("big", 1), Arm("big", 2))
ENCODER = StaticEncoder()
INPUTS = ENCODER.dimension + len(FEATURE_NAMES)
QUERIES = ["What is 2 + 2?", "Write a sonnet about rain."]


def inner(lengths=True):
    rng = np.random.default_rng(0)
    optional = {
        "length_weight": rng.normal(size=(INPUTS, 2)) / 20,
        "length_bias": np.array([3.0, 4.0]),
        "length_range": np.log([[5.0, 50.0], [500.0, 900.0]]),
    }
    heads = Heads(
        centre=np.zeros(INPUTS),
        scale=np.ones(INPUTS),
        weight=rng.normal(size=(INPUTS, 1)) / 20,
        bias=np.zeros(1),
        **(optional if lengths else {}),
    )
    return MultiHeadRouter(SOME, "big", ENCODER, heads)


def test_columns_keep_their_arms_and_the_rest_match_with_0():
    built, known = SubsetRouter(inner(), ALL, "big"), inner().predict(QUERIES)
    prediction = built.predict(QUERIES)
    assert isinstance(built, Router) and prediction.arms == built.arms == ALL
    assert np.array_equal(prediction.match[:, 0], known.match[:, 1])
    assert (prediction.match[:, 2] == 1).all()
    assert (prediction.match[:, [1, 3]] == 0).all()


def test_lengths_are_one_model_s_for_all_its_arms():
    known, prediction = inner().predict(QUERIES), SubsetRouter(inner(), ALL, "big").predict(QUERIES)
    assert known.output_tokens is not None and prediction.output_tokens is not None
    assert np.array_equal(prediction.output_tokens, known.output_tokens[:, [1, 1, 0, 0]])


def test_lengths_of_some_models_only_are_left_out():
    more = (*ALL, Arm("other", 1))
    assert SubsetRouter(inner(), more, "big").predict(QUERIES).output_tokens is None
    assert SubsetRouter(inner(lengths=False), ALL, "big").predict(QUERIES).output_tokens is None


def test_it_comes_back_from_its_state():
    config, tensors = SubsetRouter(inner(), ALL, "big").state()
    again = load_router(json.loads(json.dumps(config)), tensors)
    before = SubsetRouter(inner(), ALL, "big").predict(QUERIES)
    assert again.arms == ALL
    assert np.array_equal(again.predict(QUERIES).match, before.match)


@pytest.mark.parametrize(("arms", "reference"), [(ALL[:2], "big"), (ALL, "small:2")])
def test_the_router_s_arms_must_be_among_all(arms, reference):
    with pytest.raises(ConfigError, match="some of all"):
        SubsetRouter(inner(), arms, reference)


def test_a_damaged_config_is_refused():
    config, tensors = SubsetRouter(inner(), ALL, "big").state()
    changes = ({"router": None}, {"router": {}}, {"arms": ["x"]}, {"arms": ["big:1"]})
    for change in changes:
        with pytest.raises(ArtifactError):
            load_router({**config, **change}, tensors)
