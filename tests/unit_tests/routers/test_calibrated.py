"""A router with corrected probabilities, in memory and in an artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bestroute import BestRoute, ModelPool
from bestroute.errors import ArtifactError, ConfigError
from bestroute.learning.training.train import train_router, with_isotonic
from bestroute.routers import Prediction, StaticEncoder, load_router
from bestroute.routers.calibrated import CalibratedRouter

CHEAP, DEAR = {"input": 1, "output": 1}, {"input": 9, "output": 9}
POOL = ModelPool.from_dict(
    {
        "models": [
            {
                "model": "openai/s",
                "name": "s",
                "max_samples": 2,
                "price": {"input": 1, "output": 1},
            },
            {
                "model": "openai/b",
                "name": "b",
                "reference": True,
                "price": {"input": 9, "output": 9},
            },
        ]
    }
)
QUERIES = [f"What is {i} times {i + 1}?" for i in range(40)]
LABELS = np.column_stack([np.arange(40) % 2, np.arange(40) % 3 > 0, np.ones(40)]).astype(float)


@pytest.fixture(scope="module")
def router():
    return train_router(QUERIES, LABELS, POOL.arms, "b", encoder=StaticEncoder())


def test_curves_are_applied_arm_by_arm(router) -> None:
    halved = np.column_stack([np.linspace(0, 0.5, 3), np.linspace(0, 1, 3), np.linspace(0, 1, 3)])
    before, after = router.predict(QUERIES).match, CalibratedRouter(router, halved).predict(QUERIES)
    np.testing.assert_allclose(after.match, before * [0.5, 1, 1])


def test_isotonic_keeps_the_reference_and_every_arm_s_order(router) -> None:
    corrected = with_isotonic(router, QUERIES, LABELS)
    before, after = router.predict(QUERIES).match, corrected.predict(QUERIES).match
    assert (after[:, 2] == 1).all()
    for column in range(2):
        order = np.argsort(before[:, column])
        assert (np.diff(after[order, column]) >= 0).all()


def test_it_survives_an_artifact(router, tmp_path: Path) -> None:
    engine = BestRoute(POOL, router=with_isotonic(router, QUERIES, LABELS), threshold=0.5)
    engine.save_pretrained(tmp_path)
    loaded = BestRoute.from_pretrained(tmp_path)
    assert loaded.route(QUERIES[0]) == engine.route(QUERIES[0])


def test_curves_that_are_none_are_refused(router) -> None:
    for curves in (np.ones((2, 2)), np.full((2, 3), 1.5), np.array([[1.0] * 3, [0.0] * 3])):
        with pytest.raises(ConfigError):
            CalibratedRouter(router, curves)
    config, tensors = with_isotonic(router, QUERIES, LABELS).state()
    del tensors["curves"]
    with pytest.raises(ArtifactError, match="curves"):
        load_router(config, tensors)


def test_a_monotone_router_stays_monotone() -> None:
    inner = train_router(
        QUERIES, LABELS, POOL.arms, "b", encoder=StaticEncoder(), monotone=True, seed=1
    )
    falling = np.column_stack([np.linspace(0, 1, 3), np.linspace(0, 0.2, 3), np.linspace(0, 1, 3)])
    match = CalibratedRouter(inner, falling).predict(QUERIES).match
    assert (match[:, 0] <= match[:, 1]).all()
    assert (match[:, 2] == 1).all()


@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_curves_are_linear_in_between(points: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    curves = np.sort(rng.random((points, 3)), axis=0)
    match = np.concatenate([rng.random((50, 3)), np.linspace(0, 1, points)[:, None].repeat(3, 1)])
    after = CalibratedRouter(Fixed(match), curves).predict([""] * len(match)).match
    grid = np.linspace(0, 1, points)
    for column in range(3):
        expected = np.interp(match[:, column], grid, curves[:, column])
        np.testing.assert_allclose(after[:, column], expected, atol=1e-12)
    assert (after[-1] == curves[-1]).all()


class Fixed:
    """A router that says what it is told to."""

    arms = POOL.arms

    def __init__(self, match: NDArray[np.float64]) -> None:
        self.match = match

    def predict(self, queries) -> Prediction:
        return Prediction(self.arms, self.match)
