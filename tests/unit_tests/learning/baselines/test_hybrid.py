"""HybridLLM's labels: the small model, the margin t*, and agreement with the exact outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bestroute
from bestroute import ModelPool
from bestroute.errors import DataError
from bestroute.learning.baselines.hybrid import (
    relaxed_labels,
    small_arm,
    spreading_margin,
    train_probabilistic,
    train_transformed,
)
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import read_samples
from bestroute.pool import Arm
from bestroute.rewards.answers import extract_answer

from .conftest import make_outcomes

DATA = Path(bestroute.__file__).parent / "data"
GAPS = st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 2.0]), min_size=1), min_size=1)


def test_the_small_model_is_the_one_that_matches_most_with_one_sample():
    match = np.array([[0.5, 1.0, 0.6, 0.6, 1.0]] * 4)  # cook is better with two samples
    assert small_arm(make_outcomes(list("abcd"), match)) == Arm("count", 1)


@given(GAPS)
def test_no_other_margin_spreads_the_labels_more(rows):
    gaps = [np.array(row) for row in rows]

    def spread(margin):
        labels = relaxed_labels(gaps, margin)
        return np.abs(labels[:, None] - labels[None, :]).mean()

    chosen = spreading_margin(gaps)
    candidates = [0.0, 0.1, 0.25, 0.4, 0.5, 1.0, 2.0, 3.0]
    assert chosen >= 0
    assert spread(chosen) >= max(map(spread, candidates)) - 1e-12


def test_the_margin_of_distances_1_to_10_parts_them_in_halves():
    assert spreading_margin([np.array([float(gap)]) for gap in range(1, 11)]) == 5


def table_of(scores):
    rows = [
        (query, model, score)
        for query, models in scores.items()
        for model, all_scores in models.items()
        for score in all_scores
    ]
    names = ("query_id", "model", "oracle_score")
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def test_a_relaxed_label_teaches_where_the_plain_one_is_always_0(topics, encoder):
    # cook never reaches the reference, but on cooking it is close.
    outcomes = topics(80)
    match = np.where(np.arange(5) == 4, 1.0, 0.0) * np.ones((80, 1))
    outcomes = make_outcomes(list(outcomes.queries), match)
    scores = {
        query: {"cook": [0.8 if row % 2 == 0 else 0.1] * 2, "big": [0.9, 0.9]}
        for row, query in enumerate(outcomes.query_ids)
    }
    unseen = topics(20, seed=1).queries
    plain = train_probabilistic(outcomes, encoder=encoder).predict(unseen).match[:, 0]
    relaxed = train_transformed(outcomes, encoder=encoder, samples=table_of(scores))
    parted = relaxed.predict(unseen).match[:, 0]
    assert plain.max() < 0.1
    assert parted[0::2].min() > 0.7 and parted[1::2].max() < 0.3


def test_without_a_margin_the_labels_are_the_exact_match_probabilities(encoder):
    table = read_samples(DATA / "demo_samples.parquet", scored=True)
    pool = ModelPool.from_yaml(DATA / "demo_pool.yaml")
    train = Outcomes.from_samples(table, pool, agreement=extract_answer).select("train")
    # Scores of 0 and 1: no margin below 1 changes anything, and 1 makes all labels 1.
    plain = train_probabilistic(train, encoder=encoder)
    relaxed = train_transformed(train, encoder=encoder, samples=table)
    queries = train.queries[:20]
    assert np.allclose(plain.predict(queries).match, relaxed.predict(queries).match)


def test_missing_samples_are_named(topics, encoder):
    outcomes = topics(4)
    with pytest.raises(DataError, match="needs the samples"):
        train_transformed(outcomes, encoder=encoder)
    full = {query: {"cook": [0.0, 1.0], "big": [1.0]} for query in outcomes.query_ids}
    for scores in ({"cook": [0.0]}, {"cook": [None], "big": [1.0]}):
        with pytest.raises(DataError, match="'q2': no scored samples of cook and big"):
            train_transformed(outcomes, encoder=encoder, samples=table_of({**full, "q2": scores}))
