"""Which pairs of responses a reward model learns from."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.errors import DataError
from bestroute.learning.reward_training.pairs import Pair, preference_pairs
from bestroute.learning.samples import schema


def table(*groups: tuple[str, str, str, list[float | None]]) -> pa.Table:
    """Samples of (query id, model, split) with these oracle scores; a response tells its own."""
    rows: list[dict[str, Any]] = [
        {
            "query_id": query_id,
            "query": f"ask {query_id}",
            "model": model,
            "split": split,
            "sample": sample,
            "response": f"{model} {sample} {score}",
            "oracle_score": score,
        }
        for query_id, model, split, scores in groups
        for sample, score in enumerate(scores)
    ]
    return pa.Table.from_pylist(rows, schema=schema())


def test_best_beats_median_and_median_beats_worst_within_each_model() -> None:
    pairs = preference_pairs(
        table(("q1", "a", "train", [0.5, 0.1, 0.9]), ("q1", "b", "train", [0.2, 0.3]))
    )
    assert pairs == [
        Pair("q1", "ask q1", "a 2 0.9", "a 0 0.5"),
        Pair("q1", "ask q1", "a 0 0.5", "a 1 0.1"),
        Pair("q1", "ask q1", "b 1 0.3", "b 0 0.2"),
    ]


def test_equal_scores_give_no_pair() -> None:
    samples = table(
        ("q1", "a", "train", [1.0, 1.0, 1.0, 0.0]),
        ("q2", "a", "train", [1.0, 1.0]),
        ("q3", "a", "train", [0.0]),
    )
    assert preference_pairs(samples) == [Pair("q1", "ask q1", "a 1 1.0", "a 3 0.0")]


def test_only_its_split_and_only_scored_rows() -> None:
    samples = table(
        ("q1", "a", "train", [0, None, 1]),
        ("q2", "a", "calibration", [0, 1]),
        ("q3", "a", "test", [1, 0]),
    )
    assert [pair.query_id for pair in preference_pairs(samples)] == ["q1"]
    assert [pair.query_id for pair in preference_pairs(samples, "calibration")] == ["q2"]


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=6), min_size=1))
def test_order_of_the_rows_does_not_matter_and_better_is_better(scores: list[list[float]]) -> None:
    samples = table(*((f"q{i}", "a", "train", each) for i, each in enumerate(scores)))
    if all(len(set(each)) == 1 for each in scores):
        with pytest.raises(DataError, match="no query of split 'train'"):
            preference_pairs(samples)
        return
    pairs = preference_pairs(samples)
    assert preference_pairs(samples.take(list(range(len(samples)))[::-1])) == pairs
    assert all(float(p.better.split()[-1]) > float(p.worse.split()[-1]) for p in pairs)
    assert {pair.query_id for pair in pairs} == {
        f"q{i}" for i, each in enumerate(scores) if len(set(each)) > 1
    }


def test_a_table_without_splits_is_refused() -> None:
    with pytest.raises(DataError, match="split"):
        preference_pairs(table(("q1", "a", "train", [0, 1])).drop_columns(["split"]))
