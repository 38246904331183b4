"""k is chosen by what the neighbours say of a query that is not among them."""

from __future__ import annotations

import numpy as np
import pytest

from bestroute.errors import DataError
from bestroute.learning.baselines.knn import K_GRID, train_knn

from .conftest import ARMS, make_outcomes


def test_small_groups_want_few_neighbours_and_noise_wants_many(encoder):
    rng = np.random.default_rng(0)
    words = [str(word) for word in rng.choice(100_000, 20, replace=False)]
    queries = [f"{word} {word} {word} {i}" for word in words for i in range(6)]
    groups = np.repeat((rng.random((20, 5)) < 0.5).astype(float), 6, axis=0)
    groups[:, 4] = 1
    noise = (rng.random((120, 5)) < 0.5).astype(float)
    noise[:, 4] = 1
    assert train_knn(make_outcomes(queries, groups), encoder=encoder).k == min(K_GRID)
    assert train_knn(make_outcomes(queries, noise), encoder=encoder).k == max(K_GRID)


def test_a_handful_of_queries_is_all_neighbours(encoder):
    match = np.tile([0.2, 0.4, 0.6, 0.8, 1.0], (3, 1))
    router = train_knn(make_outcomes(["a", "b", "c"], match), encoder=encoder)
    assert router.k == 2
    assert router.predict(["d"]).match[0] == pytest.approx(match[0])


def test_one_query_is_too_few(encoder):
    with pytest.raises(DataError, match="two training queries"):
        train_knn(make_outcomes(["a"], np.ones((1, len(ARMS)))), encoder=encoder)
