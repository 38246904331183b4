"""The clustering router: nearest centre by words; damaged state is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers import ClusterRouter, Router, load_router

ARMS = (Arm("small", 1), Arm("big", 1))
WORDS = ["cake", "rice", "sum", "product"]
MATCH = np.array([[0.9, 1.0], [0.2, 1.0]])


def router(**changed):
    parts = {
        "vocabulary": WORDS,
        "idf": np.array([1.0, 2.0, 1.0, 2.0]),
        "centroids": np.array([[0.6, 0.6, 0, 0], [0, 0, 0.6, 0.6]]),
        "match": MATCH,
        "quality": MATCH / 2,
    }
    return ClusterRouter(ARMS, "big", **{**parts, **changed})


def test_a_query_gets_what_its_cluster_was_worth():
    built = router()
    assert isinstance(built, Router) and built.arms == ARMS
    queries = ["A product, or a SUM?", "rice cake", "cake cake cake sum"]
    assert built.cluster(queries).tolist() == [1, 0, 0]
    prediction = built.predict(queries)
    assert prediction.match.tolist() == [[0.2, 1], [0.9, 1], [0.9, 1]]
    assert prediction.quality is not None and prediction.quality[0].tolist() == [0.1, 0.5]


def test_the_nearest_centre_is_the_nearest_by_distance_and_not_by_angle():
    # Same direction as the first, but the second is closer to a short vector of that word.
    far = router(centroids=np.array([[9.0, 0, 0, 0], [0.9, 0.3, 0, 0]]))
    assert far.cluster(["cake"]).tolist() == [1]


def test_unknown_words_and_no_queries():
    built = router()
    assert built.predict(["zebra", ""]).match.shape == (2, 2)
    assert built.predict([]).match.shape == (0, 2)


def test_it_comes_back_from_its_state():
    config, tensors = router().state()
    again = load_router(json.loads(json.dumps(config)), tensors)
    queries = ["sum of a product", "rice"]
    assert np.array_equal(again.predict(queries).match, router().predict(queries).match)


def test_shapes_must_fit():
    with pytest.raises(ConfigError, match="must be"):
        router(idf=np.ones(3))
    with pytest.raises(ConfigError, match="must be"):
        router(quality=MATCH[:1])


@pytest.mark.parametrize(
    ("field", "value"), [("vocabulary", None), ("vocabulary", ["cake"]), ("arms", ["small"] * 2)]
)
def test_a_damaged_config_is_refused(field, value):
    config, tensors = router().state()
    with pytest.raises(ArtifactError):
        load_router({**config, field: value}, tensors)


@pytest.mark.parametrize("name", ["idf", "centroids", "match", "quality"])
def test_damaged_tensors_are_refused_by_name(name):
    config, tensors = router().state()
    with pytest.raises(ArtifactError, match=name):
        load_router(config, {**tensors, name: tensors[name] * np.nan})
    del tensors[name]
    with pytest.raises(ArtifactError, match=name):
        load_router(config, tensors)
