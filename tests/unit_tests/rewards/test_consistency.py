"""Agreement between the samples of one query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.errors import ArtifactError, ScoreError
from bestroute.rewards import SelfConsistency, agreement, load_reward


class Vectors:
    """An encoder that knows its texts by heart."""

    dimension = 2

    def __init__(self, vectors: dict[str, tuple[float, float]]) -> None:
        self._vectors = vectors

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self._vectors[text] for text in texts], dtype=np.float32)

    def config(self) -> dict[str, object]:
        return {"kind": "by heart"}


def test_the_share_of_equal_answers() -> None:
    scores = SelfConsistency().score("6 * 7?", ["The answer is 42.", "41", "**42**", ""])
    assert scores.tolist() == [0.5, 0.25, 0.5, 0]


def test_one_response_agrees_with_itself() -> None:
    assert SelfConsistency().score("", ["42"]).tolist() == [1]
    assert SelfConsistency(encoder=Vectors({"a": (1, 0)})).score("", ["a"]).tolist() == [1]


def test_no_responses_no_scores() -> None:
    assert SelfConsistency().score("", []).shape == (0,)


def test_the_users_extractor_decides() -> None:
    by_initial = SelfConsistency(extract=lambda text: text[:1] or None)
    assert by_initial.score("", ["apple", "ape", "bee"]).tolist() == pytest.approx(
        [2 / 3, 2 / 3, 1 / 3]
    )


def test_similarity_to_the_others() -> None:
    known = {"a": (1.0, 0.0), "b": (2.0, 0.0), "c": (0.0, 3.0), "d": (-1.0, 0.0), "": (1.0, 0.0)}
    soft = SelfConsistency(encoder=Vectors(known))
    assert soft.score("", ["a", "b", "c"]).tolist() == pytest.approx([0.5, 0.5, 0])
    assert soft.score("", ["a", "d"]).tolist() == [0, 0]
    assert soft.score("", ["a", "", "b"]).tolist() == pytest.approx([0.5, 0, 0.5])


def test_a_broken_encoder_is_an_error() -> None:
    broken = SelfConsistency(encoder=Vectors({"a": (float("nan"), 0), "b": (1, 0)}))
    with pytest.raises(ScoreError, match="NaN"):
        broken.score("", ["a", "b"])


@given(st.lists(st.sampled_from(["1", "2", "3", "", "cat"]), min_size=1, max_size=8), st.randoms())
def test_order_does_not_matter(responses: list[str], random) -> None:
    order = list(range(len(responses)))
    random.shuffle(order)
    scores = SelfConsistency().score("", responses)
    shuffled = SelfConsistency().score("", [responses[i] for i in order])
    assert shuffled.tolist() == scores[order].tolist()
    assert agreement(responses) == scores.max()


def test_agreement_of_a_set() -> None:
    assert agreement(["42", "42.", "41", "x"]) == 0.5
    assert agreement(["", ""]) == 0
    assert agreement([]) == 0


def test_it_can_be_saved_and_built_again() -> None:
    built = load_reward(SelfConsistency().config())
    assert built.score("", ["42", "42.", "1"]).tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3])


def test_a_users_extractor_cannot_be_saved() -> None:
    assert SelfConsistency(extract=str.lower).config() is None


@pytest.mark.parametrize(
    "config", [{}, {"kind": "os.system"}, {"kind": []}, {"kind": "consistency", "encoder": 3}]
)
def test_damaged_descriptions_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(ArtifactError):
        load_reward(config)
