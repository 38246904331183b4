"""A saved router: it comes back as it was, holds no secret, and is refused when it is not sound."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from bestroute import BestRoute, Cascade, ModelPool, OneShot
from bestroute.artifact import (
    CARD_FILE,
    CONFIG_FILE,
    POLICY_FILE,
    WEIGHTS_FILE,
    artifact_digest,
    update,
)
from bestroute.bundle import BUNDLED
from bestroute.calibration import CalibrationTable
from bestroute.cost import CostModel, TokenStats
from bestroute.errors import ArtifactError, ConfigError, PoolMismatchError, RouterNotTrained
from bestroute.policy import Adaptive
from bestroute.rewards import FunctionReward, SelfConsistency
from bestroute.routers import Heads, MultiHeadRouter, StaticEncoder
from bestroute.routers.features import FEATURE_NAMES
from tests.small_belief import small_belief

SMALL: dict[str, Any] = {
    "model": "openai/small",
    "name": "small",
    "max_samples": 3,
    "price": {"input": 1, "output": 2},
    "native_n": True,
    "params": {"api_base": "http://127.0.0.1:1/v1", "api_key": "sk-secret", "temperature": 0.8},
}
BIG: dict[str, Any] = {
    "model": "openai/big",
    "name": "big",
    "price": {"input": 5, "output": 15},
    "reference": True,
}
QUERIES = ["What is 2 + 2?", "Write a sonnet.", ""]


def pool(small: dict[str, Any] | None = None, big: dict[str, Any] | None = None) -> ModelPool:
    return ModelPool.from_dict({"models": [{**SMALL, **(small or {})}, {**BIG, **(big or {})}]})


def engine(**options: Any) -> BestRoute:
    models = pool()
    encoder = StaticEncoder()
    inputs = encoder.dimension + len(FEATURE_NAMES)
    rng = np.random.default_rng(0)
    heads = Heads(
        centre=rng.normal(size=inputs),
        scale=rng.uniform(0.5, 2, size=inputs),
        weight=rng.normal(size=(inputs, 3)) / 20,
        bias=np.zeros(3),
    )
    given: dict[str, Any] = {
        "router": MultiHeadRouter(models.arms, "big", encoder, heads),
        "policy": OneShot(0.4, calibrated=True),
        "cost_model": CostModel(models, {"small": TokenStats(prompt_base=3, output_tokens=40)}),
        "label_sampling": {"small": {"temperature": 0.8}},
    }
    return BestRoute(models, **{**given, **options})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return engine().save_pretrained(tmp_path / "router", card="## Evaluation\n\nAll well.")


def edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = folder / CONFIG_FILE
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_it_decides_as_before_in_every_detail(saved: Path) -> None:
    before, after = engine(), BestRoute.from_pretrained(saved)
    for query in QUERIES[:2]:
        assert after.route(query) == before.route(query)
    assert after.policy.calibrated
    assert after.cost_model.stats == before.cost_model.stats
    assert after.label_sampling == before.label_sampling
    assert isinstance(after.reward, SelfConsistency)
    assert before.router is not None and after.router is not None
    predictions = (before.router.predict(QUERIES).match, after.router.predict(QUERIES).match)
    assert np.array_equal(*predictions)


def test_weights_in_fortran_s_order_come_back_in_place(tmp_path: Path) -> None:
    before = engine()
    router = before.router
    assert isinstance(router, MultiHeadRouter)
    heads = replace(router.heads, weight=np.asfortranarray(router.heads.weight))
    turned = engine(router=MultiHeadRouter(router.arms, "big", router.encoder, heads))
    after = BestRoute.from_pretrained(turned.save_pretrained(tmp_path / "turned"))
    assert after.router is not None
    assert np.array_equal(after.router.predict(QUERIES).match, router.predict(QUERIES).match)


def test_saving_what_was_loaded_changes_nothing(saved: Path, tmp_path: Path) -> None:
    again = BestRoute.from_pretrained(saved).save_pretrained(tmp_path / "again")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


def test_the_card_shows_the_pool_and_the_evaluation(saved: Path) -> None:
    card = (saved / CARD_FILE).read_text(encoding="utf-8")
    assert "| small | `openai/small` | 3 | 1.0 / 2.0 |" in card
    assert card.endswith("## Evaluation\n\nAll well.\n")
    assert card.startswith("---\nlibrary_name: bestroute")


def test_no_key_no_address_and_no_call_parameter_is_saved(saved: Path) -> None:
    for path in saved.iterdir():
        raw = path.read_bytes()
        assert b"sk-secret" not in raw and b"127.0.0.1" not in raw
    models = json.loads((saved / CONFIG_FILE).read_text(encoding="utf-8"))["models"]
    assert all("params" not in model for model in models)
    assert BestRoute.from_pretrained(saved).pool["small"].params == {}


def test_the_user_s_pool_brings_keys_addresses_and_prices(saved: Path) -> None:
    mine = pool({"price": {"input": 9, "output": 9}})
    loaded = BestRoute.from_pretrained(saved, pool=mine)
    assert loaded.pool is mine
    assert loaded.cost_model.price("small").input == 9


def test_the_threshold_can_be_replaced_and_is_then_uncalibrated(saved: Path) -> None:
    loaded = BestRoute.from_pretrained(saved, threshold=0.7)
    assert loaded.route("hi").threshold == 0.7 and not loaded.policy.calibrated
    with pytest.raises(ConfigError, match="not both"):
        BestRoute.from_pretrained(saved, threshold=0.7, policy=Cascade())


def test_always_reference_survives(tmp_path: Path) -> None:
    folder = engine(policy=OneShot(math.inf)).save_pretrained(tmp_path)
    assert str(BestRoute.from_pretrained(folder).route("hi").arm) == "big:1"


def test_a_part_of_the_pool_will_do(saved: Path) -> None:
    fewer = pool({"max_samples": 2})
    assert str(BestRoute.from_pretrained(saved, pool=fewer, threshold=0).route("hi").arm) == (
        "small:1"
    )
    alone = ModelPool.from_dict({"models": [BIG]})
    # The labels of `small` are no longer of interest, and no trouble either.
    assert str(BestRoute.from_pretrained(saved, pool=alone).route("hi").arm) == "big:1"


def test_another_provider_of_the_same_model_will_do(saved: Path) -> None:
    BestRoute.from_pretrained(saved, pool=pool({"model": "hosted_vllm/small"}))


@pytest.mark.parametrize(
    ("small", "big", "said"),
    [
        ({"max_samples": 4}, {}, "no head for small:4"),
        ({"name": "tiny"}, {}, "no head for tiny:1"),
        ({}, {"max_samples": 2}, "no head for big:2"),
        ({}, {"name": "huge"}, "reference 'big'.*'huge'"),
        ({"reference": True}, {"reference": False}, "reference 'big'.*'small'"),
        ({"model": "openai/other"}, {}, "openai/other in the pool and was openai/small"),
    ],
)
def test_another_pool_is_refused(
    saved: Path, small: dict[str, Any], big: dict[str, Any], said: str
) -> None:
    with pytest.raises(PoolMismatchError, match=said):
        BestRoute.from_pretrained(saved, pool=pool(small, big))


# Not sound


@pytest.mark.parametrize(
    "extra",
    [
        {"params": {"api_base": "https://evil.example/v1"}},
        {"params": {}},
        {"api_base": "https://evil.example/v1"},
        {"model": "huggingface/https://evil.example/x"},
    ],
)
def test_an_artifact_cannot_send_keys_elsewhere(saved: Path, extra: dict[str, Any]) -> None:
    edited(saved, lambda data: data["models"][0].update(extra))
    with pytest.raises(ArtifactError, match="no artifact may hold"):
        BestRoute.from_pretrained(saved)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_damaged(saved: Path, name: str, keep: float) -> None:
    raw = (saved / name).read_bytes()
    (saved / name).write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(ArtifactError, match="damaged"):
        BestRoute.from_pretrained(saved)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_an_absent_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        BestRoute.from_pretrained(saved)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 1),
        ("version", None),
        ("policy", {"kind": "one-shot", "threshold": -1}),
        ("policy", {"kind": "one-shot", "threshold": "NaN"}),
        ("policy", {"kind": "one-shot"}),
        ("policy", {"kind": "os.system"}),
        ("models", []),
        ("models", [{"model": "openai/x"}]),
        ("router", {}),
        ("surprise", 1),
        ("token_stats", {"small": {"output_tokens": "NaN"}}),
        ("reward", {"kind": "os.system"}),
        ("reward", {}),
    ],
)
def test_a_damaged_description_is_refused(saved: Path, field: str, value: Any) -> None:
    edited(saved, lambda data: data.update({field: value}))
    with pytest.raises(ArtifactError):
        BestRoute.from_pretrained(saved)


def test_a_description_that_is_no_mapping_is_refused(saved: Path) -> None:
    (saved / CONFIG_FILE).write_text("[]", encoding="utf-8")
    with pytest.raises(ArtifactError, match="version None"):
        BestRoute.from_pretrained(saved)


def test_weights_of_another_shape_are_refused(saved: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(str(saved / WEIGHTS_FILE))
    save_file({**tensors, "bias": np.zeros(7)}, str(saved / WEIGHTS_FILE))
    with pytest.raises(ArtifactError, match="bias"):
        BestRoute.from_pretrained(saved)


def test_a_router_of_the_version_before_is_still_read(saved: Path) -> None:
    before = BestRoute.from_pretrained(saved).route("hi")
    edited(saved, lambda data: data.update({"version": 2}))
    assert BestRoute.from_pretrained(saved).route("hi") == before
    update(saved, calibration=CalibrationTable(n_queries=1), policy=OneShot(0.5))
    assert BestRoute.from_pretrained(saved).route("hi").threshold == 0.5


# A policy that has learnt something


def adaptive(seed: int = 0, threshold: float = 0.6) -> Adaptive:
    belief = small_belief(seed=seed, reference_cost=0.01)
    return Adaptive(threshold, belief, max_waves=2, calibrated=True, max_drop=0.1, confidence=0.9)


def digest(of: BestRoute) -> str | None:
    return artifact_digest(
        router=of.router, policy=of.policy, reward=of.reward, cost_model=of.cost_model
    )


def test_a_belief_travels_with_the_router(tmp_path: Path) -> None:
    before = engine(policy=adaptive())
    folder = before.save_pretrained(tmp_path / "router")
    after = BestRoute.from_pretrained(folder)
    assert isinstance(after.policy, Adaptive)
    assert (after.policy.max_waves, after.policy.look_ahead) == (2, None)
    for query in QUERIES[:2]:
        assert after.route(query) == before.route(query)
    assert digest(after) == digest(before)
    again = after.save_pretrained(tmp_path / "again")
    for name in (CONFIG_FILE, WEIGHTS_FILE, POLICY_FILE):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    assert "Policy: kind adaptive, threshold 0.6, max_waves 2," in card
    assert "belief" not in card


def test_another_belief_is_another_saved_router() -> None:
    one, same, other = (digest(engine(policy=adaptive(seed))) for seed in (0, 0, 1))
    assert one == same != other


def test_a_calibration_keeps_the_belief_or_takes_it_away(tmp_path: Path) -> None:
    folder = engine(policy=adaptive()).save_pretrained(tmp_path / "router", card="## Evaluation")
    belief = (folder / POLICY_FILE).read_bytes()
    table = CalibrationTable(n_queries=9, policy="adaptive, max_waves=2")
    update(folder, calibration=table, policy=adaptive(threshold=0.3))
    assert (folder / POLICY_FILE).read_bytes() == belief
    assert BestRoute.from_pretrained(folder).route("hi").threshold == 0.3
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    assert "threshold 0.3" in card and card.endswith("## Evaluation\n")
    update(folder, calibration=CalibrationTable(n_queries=9), policy=OneShot(0.3))
    assert BestRoute.from_pretrained(folder).route("hi").policy == "one-shot"
    assert sorted(path.name for path in folder.iterdir()) == [CARD_FILE, CONFIG_FILE, WEIGHTS_FILE]


def test_a_knob_keeps_the_belief(tmp_path: Path) -> None:
    folder = engine(policy=adaptive()).save_pretrained(tmp_path / "router")
    loaded = BestRoute.from_pretrained(folder, threshold=0.8)
    decision = loaded.route("hi")
    assert (decision.policy, decision.threshold, decision.calibrated) == ("adaptive", 0.8, False)
    assert isinstance(loaded.policy, Adaptive) and loaded.policy.max_waves == 2


def test_a_threshold_means_the_same_at_other_prices(tmp_path: Path) -> None:
    folder = engine(policy=adaptive()).save_pretrained(tmp_path / "router")
    dear = {"price": {"input": 10, "output": 30}}
    dearer = pool({"price": {"input": 2, "output": 4}}, dear)
    same, twice = (BestRoute.from_pretrained(folder, pool=each) for each in (pool(), dearer))
    assert isinstance(same.policy, Adaptive) and isinstance(twice.policy, Adaptive)
    assert same.policy.belief.reference_cost == 0.01
    assert twice.policy.belief.reference_cost == pytest.approx(0.02)
    for query in QUERIES[:2]:
        assert twice.route(query).arm == same.route(query).arm


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_damaged_belief_is_refused(tmp_path: Path, keep: float) -> None:
    folder = engine(policy=adaptive()).save_pretrained(tmp_path / "router")
    raw = (folder / POLICY_FILE).read_bytes()
    (folder / POLICY_FILE).write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(ArtifactError, match=f"{POLICY_FILE} is damaged"):
        BestRoute.from_pretrained(folder)
    (folder / POLICY_FILE).unlink()
    with pytest.raises(ArtifactError, match=f"holds no {POLICY_FILE}"):
        BestRoute.from_pretrained(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": -1},
        {"max_waves": 0},
        {"max_waves": "two"},
        {"look_ahead": [1]},
        {"max_drop": "all"},
        {"target_cost": {}},
        {"dollars_per_second": -1},
        {"seconds": 1},
        {"seconds": {"small": "long"}},
        {"seconds": {"small": -1}},
        {"deadline": "soon"},
        {"deadline": 0},
        {"belief": None},
        {"belief": {}},
        {"kind": "one-shot"},
        {"surprise": 1},
    ],
)
def test_a_damaged_description_of_the_policy_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = engine(policy=adaptive()).save_pretrained(tmp_path / "router")
    edited(folder, lambda data: data["policy"].update(change))
    with pytest.raises(ArtifactError):
        BestRoute.from_pretrained(folder)


def test_a_belief_without_a_model_of_the_pool_is_refused(tmp_path: Path) -> None:
    other = Adaptive(0.5, small_belief(["tiny"]))
    with pytest.raises(PoolMismatchError, match="learnt nothing of 'small'; it was made for tiny"):
        engine(policy=other)


# What can be saved


def test_without_a_router_there_is_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(RouterNotTrained):
        BestRoute(pool()).save_pretrained(tmp_path)


def test_another_policy_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cascade"):
        engine(policy=Cascade()).save_pretrained(tmp_path)


def test_a_reward_of_the_user_s_own_is_asked_for_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = FunctionReward(lambda query, text: float(len(text)))
    folder = engine(reward=own).save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, logger="bestroute"):
        assert BestRoute.from_pretrained(folder, reward=own).reward is own
        assert not caplog.records
        BestRoute.from_pretrained(folder)
    assert "give it as reward=" in caplog.text


# The hub


def test_a_hub_id_is_downloaded_at_its_revision_and_only_what_is_read(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def download(repo: str, **options: Any) -> str:
        seen.update(options, repo=repo)
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert BestRoute.from_pretrained("someone/router", revision="v1").route("hi")
    assert (seen["repo"], seen["revision"]) == ("someone/router", "v1")
    bundled = {f"*/{pattern}" for pattern in BUNDLED}
    assert set(seen["allow_patterns"]) == {CONFIG_FILE, WEIGHTS_FILE, POLICY_FILE} | bundled


@pytest.mark.parametrize("name", ["no/such/dir", "someone/router", "a b", "/absent", "router/"])
def test_what_is_neither_a_directory_nor_on_the_hub(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ArtifactError, match="neither a directory nor a hub id"):
        BestRoute.from_pretrained(name)


@pytest.mark.parametrize("name", ["router", "router/", "./router", "../some/router", "pool.yaml"])
def test_a_path_with_a_typo_asks_no_hub(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked.append)
    with pytest.raises(ArtifactError, match="neither a directory nor a hub id"):
        BestRoute.from_pretrained(name)
    assert not asked
