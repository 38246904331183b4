"""Best-of-n weights against brute force over all draws, ties and silent samples included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.errors import DataError
from bestroute.learning.bestofn import (
    NO_ANSWER,
    Floats,
    agreement_weights,
    expected_quality,
    match_probability,
    rank_weights,
    selection_weights,
    self_match_probability,
    subset_weights,
)
from bestroute.rewards.consistency import SelfConsistency

Scorer = Callable[[tuple[int, ...]], Floats]

drawn_scores = st.lists(st.integers(-2, 2), min_size=1, max_size=7).flatmap(
    lambda scores: st.tuples(st.just(scores), st.integers(1, len(scores)))
)
drawn_answers = st.lists(st.integers(NO_ANSWER, 2), min_size=1, max_size=6).flatmap(
    lambda answers: st.tuples(st.just(answers), st.integers(1, len(answers)))
)


def every_order(score: Scorer, total: int, n: int) -> Floats:
    """Draw in every order; of the best scores the first drawn is kept, as at run time."""
    kept = np.zeros(total)
    for order in permutations(range(total), n):
        kept[order[int(np.argmax(score(order)))]] += 1
    return kept / kept.sum()


def agreeing(answers: Sequence[int]) -> Scorer:
    def score(subset: tuple[int, ...]) -> Floats:
        drawn = [answers[i] for i in subset]
        return np.array([0 if a == NO_ANSWER else drawn.count(a) / len(drawn) for a in drawn])

    return score


@given(st.integers(1, 8), st.data())
def test_rank_weights_count_the_draws_in_which_a_rank_is_best(total: int, data) -> None:
    n = data.draw(st.integers(1, total))
    best = [min(subset) for subset in combinations(range(total), n)]
    expected = [best.count(rank) / comb(total, n) for rank in range(total)]
    assert rank_weights(total, n) == pytest.approx(expected)


@given(drawn_scores)
def test_selection_weights_are_what_drawing_in_every_order_gives(case) -> None:
    scores, n = case
    brute = every_order(lambda order: np.array([scores[i] for i in order]), len(scores), n)
    assert selection_weights(np.array(scores), n) == pytest.approx(brute)


@given(drawn_answers)
def test_agreement_weights_are_what_drawing_in_every_order_gives(case) -> None:
    answers, n = case
    brute = every_order(agreeing(answers), len(answers), n)
    assert agreement_weights(np.array(answers), n) == pytest.approx(brute)


@given(drawn_answers)
def test_subset_weights_agree_with_the_reward_model_that_runs(case) -> None:
    answers, n = case
    texts = ["" if a == NO_ANSWER else f"The answer is {a}" for a in answers]
    reward = SelfConsistency()
    found = subset_weights(
        lambda subset: reward.score("", [texts[i] for i in subset]), len(texts), n
    )
    assert found.exact
    assert found.weights == pytest.approx(agreement_weights(np.array(answers), n))


def test_large_sets_stay_exact() -> None:
    answers = np.array([0] * 7 + [1] * 5 + [2, 3] + [NO_ANSWER] * 2)
    weights = agreement_weights(answers, 8)
    assert weights.sum() == pytest.approx(1)
    brute = subset_weights(agreeing(answers.tolist()), 16, 8).weights
    assert weights == pytest.approx(brute)


def test_more_agreement_by_more_draws() -> None:
    answers = np.array([0, 0, 0, 1, 2])
    majority = [agreement_weights(answers, n)[:3].sum() for n in range(1, 6)]
    assert majority == pytest.approx([0.6, 0.6, 0.8, 1.0, 1.0])


def test_sampled_subsets_come_with_an_honest_standard_error() -> None:
    answers = [0, 0, 0, 1, 1, 2, NO_ANSWER, 3]
    exact = agreement_weights(np.array(answers), 4)
    runs = [subset_weights(agreeing(answers), 8, 4, limit=60, seed=s) for s in range(300)]
    assert not any(run.exact for run in runs)
    misses = np.array([run.weights - exact for run in runs])
    errors = np.array([run.standard_error for run in runs])
    assert np.abs(misses.mean(axis=0)).max() < 4 * errors.mean() / np.sqrt(300)
    assert errors.mean(axis=0) == pytest.approx(misses.std(axis=0), rel=0.2)


def test_the_seed_decides_the_subsets() -> None:
    first, again, other = (
        subset_weights(agreeing([0, 0, 1, 1, 2, 3]), 6, 3, limit=5, seed=seed).weights.tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


@given(drawn_scores, st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(0, 2))
def test_match_probability_counts_pairs_of_a_draw_and_a_reference_sample(
    case, reference, margin
) -> None:
    scores, n = case
    oracle = [(3 * score) % 4 for score in scores]  # a proxy that often disagrees
    wins = []
    for order in permutations(range(len(scores)), n):
        kept = max(order, key=lambda i: scores[i])
        wins += [oracle[kept] >= other - margin for other in reference]
    weights = selection_weights(np.array(scores), n)
    found = match_probability(weights, np.array(oracle), np.array(reference), margin)
    assert found == pytest.approx(np.mean(wins))


@given(drawn_scores)
def test_expected_quality_is_the_mean_over_draws(case) -> None:
    scores, n = case
    oracle = [(3 * score) % 4 for score in scores]
    kept = [
        oracle[max(order, key=lambda i: scores[i])] for order in permutations(range(len(scores)), n)
    ]
    weights = selection_weights(np.array(scores), n)
    assert expected_quality(weights, np.array(oracle)) == pytest.approx(np.mean(kept))


@given(drawn_answers.filter(lambda case: case[1] < len(case[0])), st.booleans())
def test_self_match_pairs_a_draw_only_with_samples_outside_it(case, by_agreement: bool) -> None:
    answers, n = case
    total = len(answers)
    oracle = np.array([(5 * a + 2) % 3 for a in answers], dtype=float)

    def plain(subset: Sequence[int]) -> Floats:
        return np.array([float(answers[i]) for i in subset])

    score = agreeing(answers) if by_agreement else plain
    weigh = agreement_weights if by_agreement else selection_weights
    wins = []
    for order in permutations(range(total), n):
        kept = order[int(np.argmax(score(order)))]
        wins += [oracle[kept] >= oracle[j] for j in range(total) if j not in order]
    found = self_match_probability(lambda rest: weigh(np.array(answers)[rest], n), oracle)
    assert found == pytest.approx(np.mean(wins))


@pytest.mark.parametrize("n", [0, 4])
def test_a_draw_must_fit_the_samples(n: int) -> None:
    for call in (
        lambda: rank_weights(3, n),
        lambda: selection_weights(np.zeros(3), n),
        lambda: agreement_weights(np.zeros(3, dtype=int), n),
        lambda: subset_weights(agreeing([0, 0, 0]), 3, n),
    ):
        with pytest.raises(DataError, match=f"cannot draw {n} of 3"):
            call()


def test_self_match_needs_one_sample_more_than_n() -> None:
    with pytest.raises(DataError, match="cannot draw 3 of 2"):
        self_match_probability(lambda rest: selection_weights(rest * 1.0, 3), np.ones(3))


def test_nan_scores_are_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        selection_weights(np.array([1.0, np.nan]), 1)
    with pytest.raises(DataError, match="scored"):
        subset_weights(lambda subset: np.array([np.nan, 1.0]), 3, 2)
    with pytest.raises(DataError, match="scored"):
        subset_weights(lambda subset: np.ones(3), 3, 2)
    with pytest.raises(DataError, match="limit"):
        subset_weights(agreeing([0, 0, 0]), 3, 2, limit=1)
