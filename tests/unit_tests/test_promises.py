"""Promises at run time: from the artifact's table to the decision, and what voids them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bestroute import Arm, BestRoute, Cascade, ModelPool, OneShot, Prediction
from bestroute.artifact import CARD_FILE, CONFIG_FILE, update
from bestroute.calibration import CalibrationTable, CostRow, Promise
from bestroute.errors import ConfigError, NotCertifiedError, RouterNotTrained
from bestroute.policy import Adaptive
from bestroute.routers import Heads, MultiHeadRouter, StaticEncoder
from bestroute.routers.features import FEATURE_NAMES
from bestroute.source import Source
from tests.servers import ChatServer
from tests.small_belief import small_belief

TABLE = CalibrationTable(
    n_queries=900,
    promises=(
        Promise(max_drop=0.02, confidence=0.95, threshold=0.8, cost_per_1k=5),
        Promise(max_drop=0.1, confidence=0.95, threshold=0.6, cost_per_1k=4),
    ),
    budgets=(
        CostRow(cost_per_1k=10, threshold=1.01),
        CostRow(cost_per_1k=6, threshold=0.75),
        CostRow(cost_per_1k=3, threshold=0.5),
    ),
)


class Fixed:
    """A router that gives the small model 0.7 for every query."""

    def __init__(self, pool: ModelPool) -> None:
        self.arms = pool.arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        return Prediction(self.arms, np.array([[0.7, 1.0]] * len(queries)))


def pool(small_price: float = 1, **params: Any) -> ModelPool:
    models: list[dict[str, Any]] = [
        {"name": "small", "price": {"input": small_price, "output": small_price}},
        {"name": "big", "price": {"input": 50, "output": 50}, "reference": True},
    ]
    return ModelPool.from_dict(
        {"models": [{**m, "model": f"openai/{m['name']}", "params": params} for m in models]}
    )


def engine(**options: Any) -> BestRoute:
    models = options.pop("pool", pool())
    given = {"router": Fixed(models), "calibration": TABLE, **options}
    return BestRoute(models, **given)


SMALL, BIG = Arm("small", 1), Arm("big", 1)


@pytest.mark.parametrize(
    ("asked", "arm", "threshold", "promised"),
    [
        ({"max_drop": 0.02}, BIG, 0.8, (0.02, 0.95, None)),
        ({"max_drop": 0.09}, BIG, 0.8, (0.02, 0.95, None)),
        ({"max_drop": 0.1}, SMALL, 0.6, (0.1, 0.95, None)),
        ({"target_cost": 7}, BIG, 0.75, (None, None, 7)),
        ({"target_cost": 3}, SMALL, 0.5, (None, None, 3)),
        ({"max_drop": 0.01, "on_uncertified": "reference"}, BIG, 1.01, (0, None, None)),
    ],
)
def test_of_a_call_or_of_the_engine(
    asked: dict[str, Any], arm: Arm, threshold: float, promised: tuple
) -> None:
    of_call = engine(threshold=0.1).route("hi", **asked)
    assert of_call == engine(**asked).route("hi")
    assert (of_call.arm, of_call.threshold, of_call.calibrated) == (arm, threshold, True)
    assert (of_call.max_drop, of_call.confidence, of_call.target_cost) == promised


def test_the_engines_own_policy_stays() -> None:
    both = engine(max_drop=0.1)
    assert both.route("hi", threshold=0.9).max_drop is None
    assert both.route("hi").max_drop == 0.1


ADAPTIVE = Adaptive(0.5, small_belief(reference_cost=1e-5), max_waves=2)


def test_a_knob_is_the_threshold_of_whichever_policy_has_one() -> None:
    table = TABLE.model_copy(update={"policy": ADAPTIVE.family})
    for given in ({"policy": ADAPTIVE}, {"policy": ADAPTIVE, "max_drop": 0.02}):
        serving = engine(calibration=table, **given)
        decision = serving.route("hi", max_drop=0.1)
        assert (decision.policy, decision.threshold) == ("adaptive", 0.6)
        assert (decision.max_drop, decision.confidence, decision.calibrated) == (0.1, 0.95, True)
        assert serving.route("hi", target_cost=3).target_cost == 3
        assert serving.route("hi", threshold=0.9).max_drop is None
    reference = serving.route("hi", max_drop=0.001, on_uncertified="reference")
    assert (reference.arm, reference.policy, reference.max_drop) == (BIG, "adaptive", 0)
    assert serving.route("hi").max_drop == 0.02
    assert engine(policy=OneShot(0.5), max_drop=0.1).route("hi").threshold == 0.6
    # What has no threshold gives way for a call, to the rule that the table is of.
    assert engine(policy=Cascade()).route("hi", max_drop=0.1).policy == "one-shot"


@pytest.mark.parametrize("door", ["complete", "acomplete", "stream", "astream"])
async def test_every_door_takes_them(chat_server: ChatServer, door: str) -> None:
    serving = engine(pool=pool(**chat_server.params), threshold=0.1)
    asked = getattr(serving, door)("hi", max_drop=0.02)
    if door == "acomplete":
        response = await asked
    elif door == "astream":
        response = [item async for item in asked][-1]
    else:
        response = asked if door == "complete" else list(asked)[-1]
    assert (response.model, response.summary()["max_drop"]) == ("big", 0.02)
    assert response.summary()["confidence"] == 0.95


def test_what_cannot_be_promised_is_refused_before_any_call() -> None:
    with pytest.raises(NotCertifiedError, match="0.50%"):
        engine(max_drop=0.005)
    with pytest.raises(NotCertifiedError, match="0.50%"):
        engine(threshold=0.5).route("hi", max_drop=0.005)
    with pytest.raises(ConfigError, match="cheapest threshold costs"):
        engine(threshold=0.5).route("hi", target_cost=1)
    with pytest.raises(ConfigError, match="threshold and max_drop"):
        engine(threshold=0.5).route("hi", max_drop=0.1, threshold=0.2)
    with pytest.raises(ConfigError, match="'cascade' has no threshold.*not both"):
        engine(policy=Cascade(), max_drop=0.1)
    with pytest.raises(ConfigError, match="'one-shot', and 'adaptive, max_waves=2' is asked"):
        engine(policy=ADAPTIVE).route("hi", max_drop=0.1)
    with pytest.raises(ConfigError, match="bestroute calibrate"):
        engine(threshold=0.5, calibration=None).route("hi", max_drop=0.1)
    with pytest.raises(RouterNotTrained):
        BestRoute(pool()).route("hi", max_drop=0.1)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    models = pool()
    encoder = StaticEncoder()
    inputs = encoder.dimension + len(FEATURE_NAMES)
    zeros = Heads(
        centre=np.zeros(inputs),
        scale=np.ones(inputs),
        weight=np.zeros((inputs, 1)),
        bias=np.zeros(1),
    )
    router = MultiHeadRouter(models.arms, "big", encoder, zeros)
    made = BestRoute(models, router=router, threshold=0.3)
    return made.save_pretrained(tmp_path / "router", card="## Evaluation")


def test_a_calibration_is_written_into_a_saved_router(saved: Path) -> None:
    weights = (saved / "router.safetensors").read_bytes()
    update(saved, calibration=TABLE, policy=OneShot(0.6, calibrated=True, max_drop=0.1))
    loaded = BestRoute.from_pretrained(saved)
    assert loaded.calibration == TABLE
    assert loaded.route("hi").max_drop == 0.1
    assert BestRoute.from_pretrained(saved, max_drop=0.05).route("hi").threshold == 0.8
    assert (saved / "router.safetensors").read_bytes() == weights
    card = (saved / CARD_FILE).read_text(encoding="utf-8")
    assert "threshold 0.6, calibrated True, max_drop 0.1" in card
    assert card.endswith("## Evaluation\n")
    assert sorted(path.name for path in saved.iterdir()) == sorted(
        ["README.md", "bestroute.json", "router.safetensors"]
    )


def test_a_card_of_someones_own_is_left_alone(saved: Path) -> None:
    (saved / CARD_FILE).write_text("Mine.", encoding="utf-8")
    update(saved, calibration=TABLE, policy=OneShot(0.6))
    assert (saved / CARD_FILE).read_text(encoding="utf-8") == "Mine."


def test_another_pool_voids_the_promise(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    update(saved, calibration=TABLE, policy=OneShot(0.6, calibrated=True, max_drop=0.1))
    same = BestRoute.from_pretrained(saved, pool=pool(api_base="http://127.0.0.1:9/v1"))
    assert same.route("hi").max_drop == 0.1
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        dearer = BestRoute.from_pretrained(saved, pool=pool(small_price=2))
    assert "other arms or prices" in caplog.text
    assert dearer.calibration is None
    assert (dearer.route("hi").threshold, dearer.route("hi").max_drop) == (0.6, None)


def test_a_new_calibration_is_another_saved_router(saved: Path) -> None:
    before = Source.of(artifact=saved)
    config = json.loads((saved / CONFIG_FILE).read_text(encoding="utf-8"))
    assert config["calibration"] is None
    update(saved, calibration=TABLE, policy=before.engine.policy)
    assert Source.of(artifact=saved).digest != before.digest
