"""The nearest-neighbour router against a plain loop; damaged state is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers import KNNRouter, Router, StaticEncoder, load_router

ARMS = (Arm("small", 1), Arm("small", 2), Arm("big", 1))
ENCODER = StaticEncoder()
KNOWN = ["Bake a cake", "Fry an egg", "Boil some rice", "Add 2 and 3", "Multiply 4 by 7", "Halve 9"]
MATCH = np.array([[1, 0.5, 1], [0.75, 1, 1], [1, 1, 1], [0, 0, 1], [0, 0.25, 1], [0, 0.5, 1]])


def router(k=3, match=MATCH):
    vectors = ENCODER.encode(KNOWN)
    return KNNRouter(ARMS, "big", ENCODER, vectors=vectors, match=match, quality=2 * match, k=k)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_the_mean_of_the_most_similar_and_of_all_as_one_more(k):
    queries = ["Roast a chicken", "Subtract 5 from 8", "", "x" * 50_000]
    prediction = router(k).predict(queries)
    assert isinstance(router(k), Router) and prediction.arms == ARMS
    assert prediction.output_tokens is None and prediction.quality is not None
    known = [vector.astype(np.float64) for vector in ENCODER.encode(KNOWN)]
    for row, query in enumerate(queries[:2]):
        vector = ENCODER.encode([query])[0].astype(np.float64)
        similar = sorted(range(len(KNOWN)), key=lambda i: -float(vector @ known[i]))[:k]
        for column in range(len(ARMS)):
            labels = [MATCH[i, column] for i in similar] + [float(MATCH[:, column].mean())]
            expected = sum(labels) / (k + 1)
            assert prediction.match[row, column] == pytest.approx(expected)
            assert prediction.quality[row, column] == pytest.approx(2 * expected)
    assert (prediction.match[:, 2] == 1).all()
    assert ((prediction.match >= 0) & (prediction.match <= 1)).all()


def test_the_reference_stays_at_exactly_one_for_any_number_of_queries():
    for rows in range(1, 60):
        vectors = np.tile(ENCODER.encode(["a"]), (rows, 1))
        ones = np.ones((rows, 3))
        built = KNNRouter(
            ARMS, "big", ENCODER, vectors=vectors, match=ones, quality=ones, k=rows // 2 + 1
        )
        assert (built.predict(["b"]).match == 1).all()


def test_no_queries_give_no_rows():
    assert router().predict([]).match.shape == (0, 3)


def test_it_comes_back_from_its_state_and_holds_no_text():
    config, tensors = router().state()
    text = json.dumps(config)
    assert not any(query in text for query in KNOWN)
    again = load_router(json.loads(text), tensors)
    queries = ["Peel an onion", "Divide 10 by 2"]
    assert np.array_equal(again.predict(queries).match, router().predict(queries).match)


@pytest.mark.parametrize("k", [0, 7])
def test_k_must_be_among_the_known(k):
    with pytest.raises(ConfigError, match="6 training queries"):
        router(k)


def test_shapes_must_fit():
    with pytest.raises(ConfigError, match="must be"):
        router(match=MATCH[:, :2])


@pytest.mark.parametrize(
    ("field", "value"),
    [("k", "3"), ("k", 99), ("arms", None), ("arms", ["small:1"]), ("encoder", {}), ("kind", "x")],
)
def test_a_damaged_config_is_refused(field, value):
    config, tensors = router().state()
    with pytest.raises(ArtifactError):
        load_router({**config, field: value}, tensors)


@pytest.mark.parametrize("name", ["vectors", "match", "quality"])
def test_damaged_tensors_are_refused_by_name(name):
    config, tensors = router().state()
    for value in (tensors[name][:, :1], tensors[name][0], tensors[name] * np.nan):
        with pytest.raises(ArtifactError, match=name):
            load_router(config, {**tensors, name: value})
    del tensors[name]
    with pytest.raises(ArtifactError, match=name):
        load_router(config, tensors)
