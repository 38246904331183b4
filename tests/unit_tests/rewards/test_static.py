"""The light reward model: what it reads, and that it comes back from a folder as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bestroute.errors import ArtifactError, ConfigError
from bestroute.rewards import StaticReward, load_reward
from bestroute.rewards.features import RESPONSE_FEATURES, pair_features
from bestroute.routers import StaticEncoder

ENCODER = StaticEncoder()
WIDTH = 2 * ENCODER.dimension + len(RESPONSE_FEATURES)
QUERY = "Give the total of 3 and 4 as JSON."
RESPONSES = [
    '{"total": 7}',
    "I'm sorry, I can't help with that.",
    "The total is 7.",
    "",
    "7 7 7 7 7",
]


def made(folder: Path | None = None) -> StaticReward:
    rng = np.random.default_rng(0)
    reward = StaticReward(
        ENCODER, rng.normal(size=WIDTH), rng.uniform(0.5, 2, WIDTH), rng.normal(size=WIDTH)
    )
    if folder is not None:
        reward.save_pretrained(folder)
    return reward


def named(query: str, response: str) -> dict[str, float]:
    row = pair_features([(query, response)], ENCODER)[0, -len(RESPONSE_FEATURES) :]
    return dict(zip(RESPONSE_FEATURES, row, strict=True))


@pytest.mark.parametrize(
    ("feature", "yes", "no"),
    [
        ("refuses", "I'm sorry, but I cannot answer.", "Paris can answer for itself."),
        ("is_json", '{"a": [1, 2]}', '{"a": [1, 2'),
        ("unbalanced", "def f(x", "def f(x): return x"),
        ("ends_with_sentence", "It is Paris.", "It is Paris and"),
        ("ends_with_digit", "x = 7", "seven"),
        ("has_fence", "```\nx\n```", "x"),
        ("says_nothing", " \n", "x"),
    ],
)
def test_what_a_response_looks_like(feature: str, yes: str, no: str) -> None:
    assert (named(QUERY, yes)[feature], named(QUERY, no)[feature]) == (1, 0)


def test_what_it_shares_with_the_query_and_repeats() -> None:
    seen = named("Add 3 and 4 apples.", "3 apples, 9 pears")
    assert seen["numbers_of_query"] == 0.5 and seen["words_of_query"] == 0.5
    assert named("q", "a b c a b c a b c")["repeats"] == pytest.approx(4 / 7)
    assert named("the same text", "the same text")["cosine"] == pytest.approx(1, abs=1e-5)


def test_scores_are_the_same_alone_and_together() -> None:
    reward = made()
    together = reward.score(QUERY, RESPONSES)
    alone = [float(reward.score(QUERY, [response])[0]) for response in RESPONSES]
    assert together.tolist() == pytest.approx(alone, abs=1e-9)
    assert len(set(together.round(6))) == len(RESPONSES)
    assert reward.score(QUERY, []).shape == (0,)
    assert not reward.set_dependent


def test_odd_texts_have_finite_scores_that_a_bound_holds() -> None:
    reward = made()
    odd = ["\ud800", "\x00", "x" * 1_000_000, "(" * 100_000, "[" * 100_000, "1" * 50_000]
    scores = reward.score("\ud800" * 3, odd)
    assert (np.abs(scores) <= 4 * np.abs(reward._weight).sum()).all()


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = made(tmp_path / "reward")
    config = json.loads(json.dumps(saved.config()))
    again = load_reward(config)
    assert again.score(QUERY, RESPONSES).tolist() == saved.score(QUERY, RESPONSES).tolist()
    assert again.config() == config
    assert {path.suffix for path in (tmp_path / "reward").iterdir()} == {".json", ".safetensors"}


def test_unsaved_it_has_no_description() -> None:
    assert made().config() is None


@pytest.mark.parametrize("name", ["reward.json", "reward.safetensors"])
def test_a_damaged_folder_is_refused(tmp_path: Path, name: str) -> None:
    made(tmp_path)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ArtifactError, match=name):
        StaticReward.from_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        StaticReward.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features_version": 0}, "version 0"),
        ({"encoder": None}, "no encoder"),
        ({"encoder": {"kind": "static", "digest": "other"}}, "not those"),
    ],
)
def test_another_version_or_encoder_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    made(tmp_path)
    path = tmp_path / "reward.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ArtifactError, match=said):
        StaticReward.from_pretrained(tmp_path)


def test_arrays_that_do_not_fit_are_refused() -> None:
    good = np.ones(WIDTH)
    with pytest.raises(ConfigError, match="weight"):
        StaticReward(ENCODER, good, good, np.ones(3))
    with pytest.raises(ConfigError, match="centre"):
        StaticReward(ENCODER, good * np.nan, good, good)
    with pytest.raises(ConfigError, match="positive"):
        StaticReward(ENCODER, good, 0 * good, good)
    with pytest.raises(ArtifactError, match="not named"):
        load_reward({"kind": "static"})
