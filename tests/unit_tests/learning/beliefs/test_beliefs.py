"""Beliefs learnt from recorded samples: what counts, what is missing, and from how many queries."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bestroute import ModelPool, Prediction
from bestroute.learning.beliefs.episodes import Episodes, replay
from bestroute.learning.beliefs.train import ENOUGH, learn, train_belief
from bestroute.learning.outcomes import Outcomes
from bestroute.policy import Adaptive
from bestroute.policy.belief import FEATURES
from bestroute.policy.evidence import Evidence
from bestroute.rewards.answers import extract_answer

KEPT = {"agreement": extract_answer}
POOL = ModelPool.from_dict(
    {
        "models": [
            {"model": "openai/s", "name": "s", "max_samples": 2, "price": {"input": 0, "output": 1}}
            | {"native_n": True},
            {"model": "openai/b", "name": "b", "reference": True}
            | {"price": {"input": 0, "output": 9}},
        ]
    }
)
AT = {name: place for place, name in enumerate(FEATURES)}


class Mean:
    """A prior that reads no query."""

    def __init__(self, seen: Outcomes) -> None:
        self.arms, self._mean = seen.arms, seen.match.mean(axis=0)

    def predict(self, queries: Sequence[str]) -> Prediction:
        return Prediction(self.arms, np.tile(self._mean, (len(queries), 1)))


def table(
    count: int, *, logprobs: bool = True, responses: Sequence[str] = ("so", "no")
) -> pa.Table:
    """The small model is right where it is sure of its words; the reference is always right."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        shared = {"query_id": f"q{i}", "query": f"Name river {i}.", "split": "train"}
        shared |= {"prompt_tokens": 10, "completion_tokens": 5}
        right = rng.random(2) < 0.5
        for k, good in enumerate(right):
            sure = float(rng.normal(-0.5 if good else -1.5, 0.3))
            own = {"model": "s", "sample": k, "oracle_score": float(good)}
            rows.append({**shared, **own, "response": responses[k % len(responses)]})
            if logprobs:
                rows[-1]["logprob"] = sure if i % 3 else None
        rows.append({**shared, "model": "b", "sample": 0, "response": "so", "oracle_score": 1.0})
    return pa.Table.from_pylist(rows)


def episodes(samples: pa.Table) -> Episodes:
    outcomes = Outcomes.from_samples(samples, POOL, **KEPT)
    return replay(samples, POOL, outcomes, outcomes.match, selection=KEPT, permutations=3)["s"]


def believed(samples: pa.Table) -> Any:
    outcomes = Outcomes.from_samples(samples, POOL, **KEPT)
    return learn(samples, POOL, outcomes, Mean, selection=KEPT, permutations=3)


def test_log_probabilities_are_read_where_they_were_recorded() -> None:
    samples = table(30)
    seen = episodes(samples).seen[..., AT["logprob"]]
    told = {
        i: [row["logprob"] for row in samples.to_pylist() if row["query_id"] == f"q{i}"][:2]
        for i in range(30)
    }
    for i in range(30):
        if i % 3 == 0:
            assert np.isnan(seen[i]).all()
        else:
            assert seen[i, :, 1] == pytest.approx(np.mean(told[i]))
            assert set(seen[i, :, 0]) <= set(told[i])


def test_they_are_evidence() -> None:
    model = believed(table(120)).models["s"]
    sure, unsure, unknown = (
        model.after(0.5, Evidence.of(["so"], [5], logprobs=[logprob]))
        for logprob in (-0.4, -1.6, None)
    )
    assert sure > 0.85 and unsure < 0.15
    assert unsure < unknown < sure


@pytest.mark.parametrize("name", ["logprob", "similarity", "best"])
def test_what_no_sample_has_weighs_nothing(name: str) -> None:
    model = believed(table(60, logprobs=False)).models["s"]
    assert not model.weight[:, AT[name]].any()
    seen = Evidence.of(["so"], [5.0])
    change = {name: 7.0}
    assert model.after(0.3, replace(seen, **change)) == model.after(0.3, seen)


def test_missing_evidence_is_like_none() -> None:
    """As good as the mean of those that have it."""
    found = train_belief(episodes(table(60)))
    centre = float(found.centre[0, AT["logprob"]])
    known = Evidence.of(["so"], [5.0], logprobs=[centre])
    assert found.after(0.3, known) == pytest.approx(found.after(0.3, Evidence.of(["so"], [5.0])))


OPEN = (
    "Bread rises since the yeast in it gives off gas that the dough then holds inside.",
    "Rivers bend because the water on the outside of any curve runs faster and cuts more.",
)


def test_open_answers_are_compared_by_how_alike_they_are() -> None:
    both = episodes(table(20, responses=OPEN)).seen[..., AT["similarity"]]
    same = episodes(table(20, responses=OPEN[:1])).seen[..., AT["similarity"]]
    assert np.isnan(both[:, :, 0]).all()  # one text has no other
    assert (both[:, :, 1] < 0.9).all()
    assert same[:, :, 1] == pytest.approx(1)
    assert np.isnan(episodes(table(20)).seen[..., AT["similarity"]]).all()


def test_texts_are_embedded_live_only_where_that_was_learnt() -> None:
    assert not Adaptive(0.5, believed(table(20))).reads_similarity
    mixed = pa.concat_tables(
        [table(20, responses=OPEN), _renamed(table(20, responses=OPEN[:1]), "other")]
    )
    assert Adaptive(0.5, believed(mixed)).reads_similarity


def _renamed(samples: pa.Table, prefix: str) -> pa.Table:
    ids = [f"{prefix} {each}" for each in samples["query_id"].to_pylist()]
    at = samples.column_names.index("query_id")
    return samples.set_column(at, "query_id", pa.array(ids))


def test_too_few_queries_are_said_with_the_number_that_is_wanting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        believed(table(ENOUGH - 40))
        (told,) = (record.getMessage() for record in caplog.records)
        assert str(ENOUGH - 40) in told and str(ENOUGH) in told and "40 more" in told
        caplog.clear()
        believed(table(ENOUGH))
        assert not caplog.records
