"""Proxy reward models learn what the oracle prefers, repeatably, and go on where they stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file

from bestroute.errors import ConfigError, DataError
from bestroute.learning.reward_training.pairs import Pair
from bestroute.learning.reward_training.train_reward import (
    ranking_accuracy,
    train_classifier_reward,
    train_reward,
    train_static_reward,
)
from bestroute.learning.samples import schema
from bestroute.rewards import ClassifierReward, StaticReward, load_reward
from tests.tiny_bert import save_tiny_bert

NOUNS = ["cats", "rivers", "poems", "taxes", "songs", "planets", "apples", "bridges"]
VERBS = ["count", "name", "draw", "sell", "praise", "find", "paint", "move"]
GOOD, BAD = ["clear", "exact", "right"], ["vague", "wrong", "broken"]


def pairs(rows: int, seed: int = 0) -> list[Pair]:
    """One good word makes a response better; every other word says nothing."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(rows):
        query = f"{rng.choice(VERBS)} {rng.choice(NOUNS)}"
        better, worse = (f"{rng.choice(NOUNS)} {rng.choice(words)}" for words in (GOOD, BAD))
        made.append(Pair(f"q{seed}-{i // 2}", query, better, worse))
    return made


TRAIN, HELD_OUT = pairs(48), pairs(24, seed=1)
FAST: dict[str, Any] = {"learning_rate": 3e-3, "batch_size": 8, "epochs": 4, "max_tokens": 32}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("base"), [*NOUNS, *VERBS, *GOOD, *BAD])


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("reward")
    return folder, train_classifier_reward(TRAIN, base, folder, held_out=HELD_OUT, **FAST)


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


def test_a_classifier_learns_the_preference(trained: Any) -> None:
    reward, report = trained[1].reward, trained[1].report
    assert (report.pairs, report.held_out_pairs) == (48, 24)
    after = ranking_accuracy(reward.score_many, HELD_OUT)
    assert report.accuracy_after == pytest.approx(after)
    assert after is not None and after > 0.9 > (report.accuracy_before or 1)


def test_its_folder_holds_a_reward_model_and_nothing_to_unpickle(trained: Any) -> None:
    folder, made = trained
    loaded = load_reward({"kind": "classifier", "name_or_path": str(folder), "revision": None})
    assert isinstance(loaded, ClassifierReward)
    responses = ["cats right", "cats wrong", "poems vague"]
    assert loaded.score("count cats", responses).tolist() == pytest.approx(
        made.reward.score("count cats", responses).tolist(), abs=1e-5
    )
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_equal_seeds_give_equal_classifiers(trained: Any, base: Path, tmp_path: Path) -> None:
    folder, _ = trained
    train_classifier_reward(TRAIN, base, tmp_path / "a", **FAST)
    train_classifier_reward(TRAIN, base, tmp_path / "b", seed=1, **FAST)
    first, again, other = (weights(f) for f in (folder, tmp_path / "a", tmp_path / "b"))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["classifier.weight"], other["classifier.weight"])


def test_a_killed_training_goes_on_from_its_last_epoch(
    trained: Any, base: Path, tmp_path: Path
) -> None:
    def kill(step: str, done: int, total: int) -> None:
        if done == 15:  # of 24: in the third epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifier_reward(TRAIN, base, tmp_path, progress=kill, **FAST)
    assert not (tmp_path / "model.safetensors").exists()
    steps: list[int] = []
    train_classifier_reward(
        TRAIN, base, tmp_path, progress=lambda step, done, total: steps.append(done), **FAST
    )
    assert steps == list(range(13, 25))
    whole, resumed = weights(trained[0]), weights(tmp_path)
    assert all(np.allclose(whole[name], resumed[name], atol=1e-6) for name in whole)
    assert not (tmp_path / "checkpoints").exists()


def test_another_training_does_not_go_on_from_it(base: Path, tmp_path: Path) -> None:
    def kill(step: str, done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifier_reward(TRAIN, base, tmp_path, progress=kill, **FAST)
    steps: list[int] = []
    train_classifier_reward(
        TRAIN[2:], base, tmp_path, progress=lambda step, done, total: steps.append(done), **FAST
    )
    assert steps[0] == 1


def test_accumulated_steps_are_one_larger_batch(base: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_classifier_reward(TRAIN, _without_dropout(base, tmp_path / "b"), whole, **FAST)
    halves = {**FAST, "batch_size": 4, "accumulation_steps": 2}
    train_classifier_reward(TRAIN, tmp_path / "b", parts, **halves)
    scores = [
        ClassifierReward(str(f)).score_many([(p.query, p.better) for p in HELD_OUT])
        for f in (whole, parts)
    ]
    # The loss sees differences only: a level common to all scores drifts with rounding.
    one, other = (each - each.mean() for each in scores)
    assert np.ptp(one) > 50 * np.abs(one - other).max()


def _without_dropout(base: Path, folder: Path) -> Path:
    folder.mkdir()
    for file in base.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('dropout_prob": 0.1', 'dropout_prob": 0.0'))
    return folder


@pytest.mark.parametrize("name", ["epochs", "batch_size", "accumulation_steps", "learning_rate"])
def test_options_out_of_range_are_refused(base: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        train_classifier_reward(TRAIN, base, tmp_path, **{**FAST, name: 0})


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        train_classifier_reward(TRAIN, tmp_path / "absent", tmp_path)
    with pytest.raises(DataError, match="no pairs"):
        train_classifier_reward([], "any", tmp_path)


def test_the_light_one_learns_the_preference_and_is_repeatable(tmp_path: Path) -> None:
    made = train_static_reward(TRAIN, tmp_path / "a", held_out=HELD_OUT)
    assert made.report.accuracy_after == ranking_accuracy(made.reward.score_many, HELD_OUT)
    assert made.report.accuracy_after is not None and made.report.accuracy_after > 0.9
    train_static_reward(TRAIN, tmp_path / "b", held_out=HELD_OUT)
    for name in ("reward.json", "reward.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_light_one_finds_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = [*NOUNS, *VERBS]
    noise = [
        Pair(f"q{i}", "say a word", *(" ".join(rng.choice(words, 3)) for _ in range(2)))
        for i in range(200)
    ]
    made = train_static_reward(noise[:120], tmp_path, held_out=noise[120:])
    assert made.report.accuracy_after == pytest.approx(0.5, abs=0.17)  # 3 standard errors


def test_the_light_one_needs_queries(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="9 queries"):
        train_static_reward(TRAIN[:18], tmp_path)


def test_ties_count_half_and_no_pairs_no_accuracy() -> None:
    def score(rows: Any) -> Any:
        return np.array([float("right" in response) for _, response in rows])

    some = [Pair("q", "x", "right", "wrong"), Pair("q", "x", "same", "same")]
    assert ranking_accuracy(score, some) == 0.75
    assert ranking_accuracy(score, []) is None


def samples(*splits: str) -> pa.Table:
    rows = [
        {
            "query_id": f"{split}{i}", "query": pair.query, "model": "m", "split": split,
            "sample": sample, "response": text, "oracle_score": 1.0 - sample,
        }
        for split in splits
        for i, pair in enumerate(TRAIN)
        for sample, text in enumerate((pair.better, pair.worse))
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema())


def test_from_a_table_the_calibration_split_is_measured_on(base: Path, tmp_path: Path) -> None:
    table = samples("train", "calibration", "test")
    light = train_reward(table, tmp_path / "light")
    assert isinstance(light.reward, StaticReward)
    assert (light.report.base, light.report.pairs, light.report.held_out_pairs) == (
        "static",
        48,
        48,
    )
    heavy = train_reward(samples("train"), tmp_path / "heavy", base=str(base), epochs=1)
    assert isinstance(heavy.reward, ClassifierReward)
    assert (heavy.report.held_out_pairs, heavy.report.accuracy_after) == (0, None)
