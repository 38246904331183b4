"""What samples show beyond their answers: log-probabilities, and how alike open texts are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.policy import likeness as likeness_module
from bestroute.policy.evidence import Evidence
from bestroute.policy.likeness import is_open, likeness, similarity
from bestroute.rewards.answers import extract_answer
from bestroute.samples import Sample
from bestroute.selection import evidence_of

ALIKE = (
    "Bread rises because yeast eats the sugar of the dough and gives off gas, which it holds.",
    "Yeast feeds on sugar in the dough; the gas that it gives off is held, and so bread rises.",
)
OTHER = "The tides follow the moon, whose pull on the sea is stronger on the side that is nearer."


def says(text: str, *logprobs: float) -> Sample:
    content = [{"token": "t", "logprob": each} for each in logprobs]
    given = {"content": content} if logprobs else None
    return Sample(model="small", message={"content": text}, completion_tokens=5, logprobs=given)


def alike(*texts: str) -> float:
    return likeness(texts, [extract_answer(text) for text in texts])


# Log-probabilities


@pytest.mark.parametrize(
    ("logprobs", "mean"),
    [
        ({"content": [{"logprob": -1.0}, {"logprob": -3.0}]}, -2.0),
        ({"content": [{"logprob": -1.0}, {"logprob": None}, "odd"]}, -1.0),
        ({"content": []}, None),
        ({"content": None}, None),
        ({"token_logprobs": [-1.0]}, None),
        (None, None),
    ],
)
def test_the_mean_over_a_sample_s_tokens(logprobs: Any, mean: float | None) -> None:
    assert Sample(model="m", message={}, logprobs=logprobs).logprob == mean


def test_samples_without_log_probabilities_are_no_evidence_of_them() -> None:
    seen = evidence_of([says("4", -1.0, -2.0), says("4"), says("5", -0.5)], {})
    assert seen.logprob == pytest.approx(-1.0)
    assert math.isnan(evidence_of([says("4"), says("5")], {}).logprob)
    assert math.isnan(Evidence.of(["4"], [1], logprobs=[math.nan]).logprob)


# Open answers


def test_texts_that_say_the_same_are_more_alike() -> None:
    assert alike(*ALIKE) > alike(ALIKE[0], OTHER) + 0.2
    assert alike(*ALIKE) > alike(*ALIKE, OTHER) > alike(ALIKE[0], OTHER)
    assert alike(OTHER, OTHER) == pytest.approx(1)


def test_where_answers_can_be_compared_nothing_is_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Any:
        raise AssertionError("embedded")

    monkeypatch.setattr(likeness_module, "likeness_encoder", never)
    long = "Let me see: nine and nine and some more make a lot of it. The answer is 42."
    assert math.isnan(alike(long, "The answer is 41.", "42"))
    assert math.isnan(alike(OTHER, "42"))  # one text is alike to nothing
    assert math.isnan(evidence_of([says(each) for each in ALIKE], {}).similarity)
    with pytest.raises(AssertionError, match="embedded"):
        evidence_of([says(each) for each in ALIKE], {}, alike=True)


def test_only_open_answers_are_looked_at() -> None:
    assert alike(*ALIKE, "42") == alike(*ALIKE)
    assert not is_open(None)
    assert not is_open(extract_answer("Paris"))
    assert is_open(extract_answer(OTHER))


UNITS = st.integers(0, 1000).map(lambda seed: _units(np.random.default_rng(seed)))


def _units(rng: np.random.Generator) -> Any:
    found = rng.normal(size=(rng.integers(2, 7), 5))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@given(UNITS)
def test_it_is_the_mean_over_pairs(vectors: Any) -> None:
    pairs: Sequence[float] = [
        float(one @ two) for i, one in enumerate(vectors) for two in vectors[:i]
    ]
    assert similarity(vectors) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_one_text_has_no_pair() -> None:
    assert math.isnan(similarity(np.ones((1, 1), dtype=np.float32)))
    assert math.isnan(similarity(np.ones((0, 1), dtype=np.float32)))
