"""Clusters of words: each keeps its own mean, rare words stay out of the saved router."""

from __future__ import annotations

import numpy as np
import pytest

from bestroute.errors import DataError
from bestroute.learning.baselines.clusters import CLUSTERS, train_clusters

from .conftest import make_outcomes


def test_a_cluster_keeps_the_mean_of_its_queries_and_of_all_as_one_more(encoder):
    queries = ["apples and pears"] * 9 + ["cars or trains"] * 9
    match = np.repeat([[1.0, 1, 1, 1, 1], [0, 0, 0, 0, 1]], 9, axis=0)
    router = train_clusters(make_outcomes(queries, match), encoder=encoder)
    prediction = router.predict(["pears", "trains"])
    assert prediction.match[:, 0] == pytest.approx([9.5 / 10, 0.5 / 10])
    assert (prediction.match[:, 4] == 1).all()
    assert prediction.quality is not None
    assert prediction.quality[:, 0] == pytest.approx([9.5 / 10, 0.5 / 10])


def test_there_are_at_most_50_clusters_and_no_word_of_one_query_alone(topics, encoder):
    outcomes = topics(200)
    queries = [*outcomes.queries[:-1], "my password is hunter2xyz, compute the total"]
    router = train_clusters(make_outcomes(queries, outcomes.match), encoder=encoder)
    assert len(router.centroids) == CLUSTERS == 50
    assert {"compute", "total"} <= set(router.vocabulary)
    assert "hunter2xyz" not in router.vocabulary


@pytest.mark.filterwarnings("error")
def test_queries_that_share_no_word_cannot_be_clustered(encoder):
    match = np.ones((3, 5))
    with pytest.raises(DataError, match="no word"):
        train_clusters(make_outcomes(["apples", "cars", "!!"], match), encoder=encoder)
