"""Several routers as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bestroute import BestRoute, ModelPool
from bestroute.errors import ArtifactError, ConfigError
from bestroute.learning.training.train import train_router
from bestroute.routers import StaticEncoder, load_router
from bestroute.routers.ensemble import EnsembleRouter

CHEAP, DEAR = {"input": 1, "output": 1}, {"input": 9, "output": 9}
POOL = ModelPool.from_dict(
    {
        "models": [
            {"model": "openai/s", "name": "s", "max_samples": 2, "price": CHEAP},
            {"model": "openai/b", "name": "b", "reference": True, "price": DEAR},
        ]
    }
)
QUERIES = [f"What is {i} times {i + 1}?" for i in range(40)]
LABELS = np.column_stack([np.arange(40) % 2, np.arange(40) % 3 > 0, np.ones(40)]).astype(float)


def trained(l2: float, quality: bool):
    return train_router(
        QUERIES,
        LABELS,
        POOL.arms,
        "b",
        encoder=StaticEncoder(),
        l2=l2,
        quality=LABELS if quality else None,
    )


def test_it_is_the_mean_of_what_is_predicted() -> None:
    one, other = trained(0.1, quality=True), trained(3.0, quality=False)
    found = EnsembleRouter([one, other]).predict(QUERIES)
    first, second = one.predict(QUERIES), other.predict(QUERIES)
    np.testing.assert_allclose(found.match, (first.match + second.match) / 2)
    np.testing.assert_allclose(found.quality, first.quality)
    assert found.output_tokens is None


def test_it_survives_an_artifact(tmp_path: Path) -> None:
    router = EnsembleRouter([trained(0.1, quality=True), trained(3.0, quality=True)])
    engine = BestRoute(POOL, router=router, threshold=0.5)
    engine.save_pretrained(tmp_path)
    loaded = BestRoute.from_pretrained(tmp_path)
    assert loaded.route(QUERIES[0]) == engine.route(QUERIES[0])


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ConfigError):
        EnsembleRouter([])
    with pytest.raises(ArtifactError, match="lacks its routers"):
        load_router({"kind": "ensemble"}, {})
