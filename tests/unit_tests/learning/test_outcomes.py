"""From a samples table to what every arm is worth: exact, complete, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.cost import CostModel, TokenStats
from bestroute.errors import DataError, PoolMismatchError
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import schema
from bestroute.pool import Arm, ModelPool
from bestroute.routers.base import Prediction

POOL = ModelPool.from_dict(
    {
        "models": [
            {
                "model": "x/small",
                "name": "small",
                "price": {"input": 1, "output": 2},
                "max_samples": 3,
                "native_n": True,
            },
            {
                "model": "x/big",
                "name": "big",
                "price": {"input": 10, "output": 20},
                "max_samples": 2,
                "native_n": False,
                "reference": True,
            },
        ]
    }
)
ORACLE = {"small": [1.0, 0.0, 0.0, 1.0], "big": [1.0, 1.0, 0.0]}
PROXY = {"small": [0.9, 0.8, 0.1, 0.1], "big": [0.1, 0.2, 0.3]}
ANSWERS = {"small": ["a", "b", "b", "a"], "big": ["a", "a", "b"]}


def rows(query_id: str = "q1", split: str = "train", query: str = "How?") -> list[dict[str, Any]]:
    return [
        {
            "query_id": query_id,
            "query": query,
            "task": "t",
            "split": split,
            "model": model,
            "sample": sample,
            "response": ANSWERS[model][sample],
            "prompt_tokens": 100,
            "completion_tokens": 10 * (sample + 1),
            "oracle_score": ORACLE[model][sample],
            "proxy_score": PROXY[model][sample],
        }
        for model in ("small", "big")
        for sample in range(len(ORACLE[model]))
    ]


def table(*groups: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([row for group in groups for row in group], schema=schema())


def column(outcomes: Outcomes, arm: str) -> int:
    return [str(a) for a in outcomes.arms].index(arm)


def test_quality_and_match_are_exact_sums() -> None:
    found = Outcomes.from_samples(table(rows()), POOL)
    assert [str(arm) for arm in found.arms] == ["small:1", "small:2", "small:3", "big:1", "big:2"]
    assert found.reference == Arm("big", 1)
    # small:2 keeps its samples in 3, 2, .5 and .5 of 6 pairs, the last two being tied; big:2
    # keeps the last, wrong sample in 2 of 3 pairs
    assert found.quality[0] == pytest.approx([1 / 2, 3.5 / 6, 3 / 4, 2 / 3, 1 / 3])
    # a wrong sample matches the reference's wrong third; big:2 meets only what it did not draw:
    # {1, 2} keeps right against wrong, {1, 3} and {2, 3} keep wrong against right
    right = np.array([1 / 2, 3.5 / 6, 3 / 4])
    assert found.match[0] == pytest.approx([*(right + (1 - right) / 3), 1, 1 / 3])


def test_agreement_looks_at_the_whole_draw() -> None:
    found = Outcomes.from_samples(table(rows()), POOL, agreement=str)
    # a and b twice each: three of four samples always hold a majority, each as often
    assert found.quality[0, :3] == pytest.approx([0.5, 0.5, 0.5])
    # big:2 draws {a, a} against b, or twice {a, b}, a coin, against a
    assert found.quality[0, 3:] == pytest.approx([2 / 3, (1 + 0.5 + 0.5) / 3])
    assert found.match[0, 4] == pytest.approx((1 + 0.5 + 0.5) / 3)


Sample = tuple[float, float, str]
"""Oracle score, proxy score, answer."""


def brute(
    drawn: list[Sample], reference: list[Sample], n: int, score: Any, margin: float
) -> tuple[float, float]:
    """Quality and match of best-of-n, drawing in every order and keeping the first best.

    The reference's own draws meet only its samples outside them.
    """
    kept, wins = [], []
    for order in permutations(range(len(drawn)), n):
        best = max(order, key=lambda i: score(drawn[i], [drawn[j] for j in order]))
        kept.append(drawn[best][0])
        others = [
            other[0]
            for j, other in enumerate(reference)
            if reference is not drawn or j not in order
        ]
        wins += [drawn[best][0] >= other - margin for other in others]
    return float(np.mean(kept)), float(np.mean(wins))


def by_proxy(own: Sample, drawn: list[Sample]) -> float:
    return own[1]


def by_agreement(own: Sample, drawn: list[Sample]) -> float:
    return 0.0 if not own[2] else [other[2] for other in drawn].count(own[2]) / len(drawn)


some_samples = st.tuples(
    st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from(["", *"ab"])
)
some_query = st.tuples(
    st.lists(some_samples, min_size=3, max_size=5), st.lists(some_samples, min_size=3, max_size=5)
)


@given(st.lists(some_query, min_size=1, max_size=3), st.sampled_from([0.0, 0.5]), st.booleans())
def test_every_arm_is_worth_what_drawing_in_every_order_gives(
    queries: list[tuple[list[Sample], list[Sample]]], margin: float, agree: bool
) -> None:
    records = [
        {
            **rows(f"q{number}")[0],
            "model": model,
            "sample": sample,
            "response": answer,
            "oracle_score": oracle,
            "proxy_score": proxy,
        }
        for number, both in enumerate(queries)
        for model, drawn in zip(("small", "big"), both, strict=True)
        for sample, (oracle, proxy, answer) in enumerate(drawn)
    ]
    found = Outcomes.from_samples(
        table(records), POOL, agreement=str if agree else None, margin=margin
    )
    score = by_agreement if agree else by_proxy
    for number, (small, big) in enumerate(queries):
        small_arms = [brute(small, big, n, score, margin) for n in (1, 2, 3)]
        once, twice = (brute(big, big, n, score, margin) for n in (1, 2))
        expected = [*small_arms, (once[0], 1.0), twice]
        assert found.quality[number] == pytest.approx([quality for quality, _ in expected])
        assert found.match[number] == pytest.approx([match for _, match in expected])


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_sample_without_an_answer_is_kept_last(nothing: str | None) -> None:
    only_a = Outcomes.from_samples(
        table(rows()), POOL, agreement=lambda text: "a" if text == "a" else nothing
    )
    # {b, b} is one of six pairs, and the only one of small:2 that keeps a wrong sample
    assert only_a.quality[0, :3] == pytest.approx([1 / 2, 5 / 6, 1])


def test_a_margin_forgives() -> None:
    strict = Outcomes.from_samples(table(rows()), POOL)
    lenient = Outcomes.from_samples(table(rows()), POOL, margin=1.0)
    assert (strict.match[0, :3] < 1).all()
    assert (lenient.match == 1).all()
    assert (lenient.quality == strict.quality).all()


def test_costs_bill_the_prompt_once_only_where_the_provider_does() -> None:
    found = Outcomes.from_samples(table(rows()), POOL)
    small = [(100 * 1 + n * 25 * 2) / 1e6 for n in (1, 2, 3)]
    big = [n * (100 * 10 + 20 * 20) / 1e6 for n in (1, 2)]
    assert found.cost[0] == pytest.approx(small + big)
    assert found.output_tokens[0] == pytest.approx([25, 25, 25, 20, 20])
    assert found.prompt_tokens[0] == pytest.approx([100] * 5)


def test_models_outside_the_pool_are_ignored_and_queries_keep_their_order() -> None:
    stranger = [{**rows()[0], "model": "stranger", "oracle_score": None}]
    found = Outcomes.from_samples(table(rows("z"), stranger, rows("a", "test", "Why?")), POOL)
    assert found.query_ids == ("z", "a")
    assert found.queries == found.prompts == ("How?", "Why?")
    assert (found.tasks, found.splits) == (("t", "t"), ("train", "test"))


def test_the_prompt_is_all_messages() -> None:
    chat = json.dumps(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How?"}]
    )
    found = Outcomes.from_samples(table([{**row, "messages": chat} for row in rows()]), POOL)
    assert found.prompts == ("Be brief.\nHow?",)
    assert found.queries == ("How?",)


def test_an_arm_of_one_sample_needs_no_proxy() -> None:
    single = ModelPool.from_dict(
        {"models": [{**m.model_dump(), "max_samples": 1} for m in POOL.models]}
    )
    bare = table([{**row, "proxy_score": None} for row in rows()])
    assert Outcomes.from_samples(bare, single).quality[0] == pytest.approx([1 / 2, 2 / 3])
    with pytest.raises(DataError, match="proxy_score"):
        Outcomes.from_samples(bare, POOL)


Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def with_first(**changed: Any) -> Change:
    return lambda rows: [{**rows[0], **changed}, *rows[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[2:], "query 'q2', model 'small': 2 samples, 3 are needed"),
        (lambda rows: rows[:4], "query 'q2', model 'big': 0 samples, 3 are needed"),
        (lambda rows: rows[:-1], "query 'q2', model 'big': 2 samples, 3 are needed"),
        (with_first(oracle_score=None), "query 'q2', model 'small': oracle_score"),
        (with_first(oracle_score=float("nan")), "query 'q2', model 'small': oracle_score"),
        (with_first(proxy_score=float("nan")), "query 'q2', model 'small': proxy_score"),
        (with_first(completion_tokens=None), "query 'q2', model 'small': completion_tokens"),
        (with_first(prompt_tokens=None), "query 'q2', model 'small': prompt_tokens"),
        (with_first(sample=1), "query 'q2', model 'small': a sample is recorded twice"),
        (with_first(split="test"), "query 'q2': split is not the same on all its rows"),
        (with_first(query="Who?"), "query 'q2': query is not the same on all its rows"),
        (
            lambda rows: [{**row, "messages": "[{"} for row in rows],
            "query 'q2': messages cannot be read",
        ),
        (
            lambda rows: [{**row, "messages": "[]"} for row in rows],
            "query 'q2': messages cannot be read",
        ),
    ],
)
def test_what_is_missing_is_named(change: Change, message: str) -> None:
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        Outcomes.from_samples(table(rows(), change(rows("q2"))), POOL)


def test_a_table_of_other_models_is_refused() -> None:
    with pytest.raises(DataError, match="no sample of small, big"):
        Outcomes.from_samples(table(), POOL)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="other_score is missing"):
        Outcomes.from_samples(table(rows()), POOL, proxy="other_score")
    with pytest.raises(DataError, match="completion_tokens is missing"):
        Outcomes.from_samples(table(rows()).drop_columns("completion_tokens"), POOL)


def test_progress_counts_the_queries() -> None:
    seen: list[tuple[int, int]] = []
    more = rows("c") + [{**rows("c")[0], "sample": 9}]
    Outcomes.from_samples(
        table(rows("a"), rows("b"), more), POOL, progress=lambda *counts: seen.append(counts)
    )
    assert seen == [(2, 3), (3, 3)]  # queries of as many samples at once


def test_select_keeps_one_split() -> None:
    both = Outcomes.from_samples(table(rows("a", "train"), rows("b", "test", "Why?")), POOL)
    test = both.select("test")
    assert (test.query_ids, test.queries, test.splits) == (("b",), ("Why?",), ("test",))
    assert test.quality.shape == test.cost.shape == (1, 5)
    with pytest.raises(DataError, match=r"calibration.*\['test', 'train'\]"):
        both.select("calibration")


def sized(query_id: str, split: str, length: int, tokens: int) -> list[dict[str, Any]]:
    return [{**row, "prompt_tokens": tokens} for row in rows(query_id, split, "x" * length)]


def test_token_stats_recover_a_line_from_the_training_split_alone() -> None:
    groups = [sized(f"q{n}", "train", n, 30 + n // 4) for n in (40, 100, 400)]
    found = Outcomes.from_samples(table(*groups, sized("t", "test", 50, 9000)), POOL)
    stats = found.token_stats()
    assert set(stats) == {"small", "big"}
    assert stats["small"].prompt_base == pytest.approx(30)
    assert stats["small"].prompt_ratio == pytest.approx(0.25)
    assert (stats["small"].output_tokens, stats["big"].output_tokens) == (25, 20)


@pytest.mark.parametrize(
    "lengths_and_tokens",
    [
        [(100, 80), (100, 80)],  # one length: no slope to see
        [(100, 300), (400, 200)],  # a falling line
        [(100, 10), (110, 900)],  # steeper than any tokenizer
        [(100, 1), (400, 100)],  # a negative base
    ],
)
def test_token_stats_stay_sane_and_keep_the_mean(lengths_and_tokens: list[tuple[int, int]]) -> None:
    groups = [sized(f"q{i}", "train", *pair) for i, pair in enumerate(lengths_and_tokens)]
    outcomes = Outcomes.from_samples(table(*groups), POOL)
    stats = outcomes.token_stats()["small"]
    assert stats.prompt_base >= 0
    assert 0 < stats.prompt_ratio <= 2
    estimates = [stats.prompt_base + stats.prompt_ratio * n for n, _ in lengths_and_tokens]
    assert np.mean(estimates) == pytest.approx(np.mean([t for _, t in lengths_and_tokens]))


def test_estimates_see_prompts_and_statistics_but_no_realised_tokens() -> None:
    outcomes = Outcomes.from_samples(table(rows("a"), rows("b", query="x" * 50)), POOL)
    model = CostModel(POOL, {"small": TokenStats(prompt_base=7, output_tokens=11)})
    found = outcomes.estimated_costs(model)
    assert found[1, 1] == pytest.approx(((7 + 50 / 4) * 1 + 2 * 11 * 2) / 1e6)
    hidden = replace(outcomes, output_tokens=outcomes.output_tokens * 9, cost=outcomes.cost * 9)
    assert (hidden.estimated_costs(model) == found).all()


def test_predicted_lengths_replace_the_mean_where_they_exist() -> None:
    outcomes = Outcomes.from_samples(table(rows()), POOL)
    tokens = np.array([[1000.0, 1000, np.nan, np.nan, 5]])
    prediction = Prediction(outcomes.arms, np.ones((1, 5)), output_tokens=tokens)
    model = CostModel(POOL)
    found, plain = outcomes.estimated_costs(model, prediction), outcomes.estimated_costs(model)
    assert found[0, 0] == pytest.approx((1 * 1 + 1000 * 2) / 1e6)
    assert found[0, 2:4] == pytest.approx(plain[0, 2:4])
    silent = Prediction(outcomes.arms, np.ones((1, 5)))
    assert (outcomes.estimated_costs(model, silent) == plain).all()
    other = Prediction(outcomes.arms[::-1], np.ones((1, 5)), output_tokens=tokens)
    with pytest.raises(PoolMismatchError):
        outcomes.estimated_costs(model, other)


def test_impossible_outcomes_are_refused() -> None:
    outcomes = Outcomes.from_samples(table(rows()), POOL)
    for change in (
        {"cost": np.full((1, 5), np.nan)},
        {"match": np.ones((1, 4))},
        {"queries": ()},
        {"reference": Arm("nobody", 1)},
    ):
        with pytest.raises(DataError):
            replace(outcomes, **change)
    assert column(outcomes, "big:1") == outcomes.reference_index
