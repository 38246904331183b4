"""Artifacts that carry model weights: moved elsewhere, they load and decide as before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bestroute import BestRoute, ModelPool, OneShot
from bestroute.artifact import CONFIG_FILE, artifact_digest
from bestroute.bundle import bundle, unbundle
from bestroute.errors import ArtifactError
from bestroute.learning.reward_training.pairs import Pair
from bestroute.learning.reward_training.train_reward import (
    train_classifier_reward,
    train_static_reward,
)
from bestroute.learning.training.finetune import fine_tune
from bestroute.learning.training.train import train_router
from bestroute.rewards import RewardModel
from bestroute.routers import MultiHeadRouter, TransformerEncoder
from tests.tiny_bert import save_tiny_bert

PRICE = {"input": 1, "output": 2}
POOL = ModelPool.from_dict(
    {
        "models": [
            {"model": "openai/small", "name": "small", "max_samples": 2, "price": PRICE},
            {"model": "openai/big", "name": "big", "reference": True, "price": PRICE},
        ]
    }
)
WORDS = ["red", "green", "blue", "good", "bad", "say"]
QUERIES = [f"say {a} {b}" for a in WORDS for b in WORDS]
LABELS = np.random.default_rng(0).random((len(QUERIES), len(POOL.arms)))
PAIRS = [Pair(query, query, f"good {query}", f"bad {query}") for query in QUERIES]
RESPONSES = ["good red", "bad green", "blue", ""]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything trained in a folder that is gone when the artifact is loaded."""
    folder = tmp_path_factory.mktemp("work")
    base = save_tiny_bert(folder / "base", WORDS)
    encoder = TransformerEncoder(base, device="cpu")
    router = train_router(QUERIES, LABELS, POOL.arms, "big", encoder=encoder, l2=0.1)
    options: dict[str, Any] = {"epochs": 1, "learning_rate": 3e-3}
    return {
        "folder": folder,
        "router": fine_tune(router, QUERIES, LABELS, output=folder / "encoder", **options),
        "static": train_static_reward(PAIRS, folder / "static").reward,
        "classifier": train_classifier_reward(PAIRS, base, folder / "classifier", **options).reward,
    }


def engine(router: MultiHeadRouter, reward: RewardModel) -> BestRoute:
    return BestRoute(POOL, router=router, policy=OneShot(0.5), reward=reward)


def digest(of: BestRoute) -> str | None:
    return artifact_digest(
        router=of.router, policy=of.policy, reward=of.reward, cost_model=of.cost_model
    )


@pytest.mark.parametrize("kind", ["static", "classifier"])
def test_a_moved_artifact_scores_and_routes_as_before(
    trained: dict[str, Any], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = engine(trained["router"], trained[kind])
    scores = before.reward.score("say red", RESPONSES).tolist()
    decisions = [before.route(query) for query in QUERIES]
    saved, identity = before.save_pretrained(tmp_path / "saved"), digest(before)
    moved = Path(shutil.move(saved, tmp_path / "moved"))
    away = trained["folder"].rename(trained["folder"].with_name("away"))
    try:
        after = BestRoute.from_pretrained(moved)
        again = BestRoute.from_pretrained(after.save_pretrained(tmp_path / "again"))
    finally:
        away.rename(trained["folder"])
    for loaded in (after, again):
        assert loaded.reward.score("say red", RESPONSES).tolist() == pytest.approx(scores)
        assert [loaded.route(query) for query in QUERIES] == decisions
        assert digest(loaded) == identity
    assert str(trained["folder"]) not in (moved / CONFIG_FILE).read_text(encoding="utf-8")
    files = {path.suffix for path in moved.rglob("*") if path.is_file()}
    assert files == {".json", ".safetensors", ".md"}


def test_saving_over_another_model_leaves_nothing_of_it(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    folder = engine(trained["router"], trained["classifier"]).save_pretrained(tmp_path)
    engine(trained["router"], trained["static"]).save_pretrained(tmp_path)
    names = {path.name for path in (folder / "reward").iterdir()}
    assert names == {"reward.json", "reward.safetensors"}


def test_saving_what_was_loaded_in_place_keeps_its_models(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    engine(trained["router"], trained["static"]).save_pretrained(tmp_path)
    BestRoute.from_pretrained(tmp_path).save_pretrained(tmp_path)
    scores = BestRoute.from_pretrained(tmp_path).reward.score("say red", RESPONSES)
    assert scores.tolist() == trained["static"].score("say red", RESPONSES).tolist()


def test_other_weights_are_another_router(trained: dict[str, Any], tmp_path: Path) -> None:
    one = engine(trained["router"], trained["static"])
    other = train_static_reward(PAIRS[6:], tmp_path / "other").reward
    assert digest(one) != digest(engine(trained["router"], other))


def models(folder: Path, *names: str) -> list[dict[str, Any]]:
    for name in names:
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(name))
    return [{"encoder": {"name": str(folder / name)}} for name in names]


def test_two_encoders_do_not_overwrite_each_other(tmp_path: Path) -> None:
    config = {"routers": models(tmp_path, "one", "two"), "encoder": {"name": "hub/id"}}
    opened = unbundle(bundle(config, tmp_path / "artifact"), tmp_path / "artifact")
    kept = [
        json.loads((Path(r["encoder"]["name"]) / "config.json").read_text())
        for r in opened["routers"]
    ]
    assert kept == ["one", "two"]
    assert opened["encoder"] == {"name": "hub/id"}


def test_code_and_pickles_stay_behind(tmp_path: Path) -> None:
    config = models(tmp_path, "one")[0]
    for name in ("modeling.py", "pytorch_model.bin"):
        (tmp_path / "one" / name).write_text("x")
    bundle(config, tmp_path / "artifact")
    assert [path.name for path in (tmp_path / "artifact" / "encoder").iterdir()] == ["config.json"]


@pytest.mark.parametrize("name", ["./../secret", "./encoder/../../secret"])
def test_a_name_that_leads_out_of_the_artifact_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="leads out"):
        unbundle({"encoder": {"name": name}}, tmp_path / "artifact")
