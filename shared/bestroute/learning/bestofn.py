"""Best-of-n drawn without replacement from recorded samples, as exact finite sums.

Of N recorded samples, n are drawn and the one with the best score is kept. Each sample is kept
with a known probability, its weight, and what best-of-n is worth is a weighted sum: no Monte
Carlo, no draws with replacement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import DataError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

NO_ANSWER = -1
"""Answer code of a response that gives no answer: it agrees with nothing, not even itself."""


def rank_weights(total: int, n: int) -> Floats:
    """Probability that the sample of rank r = 1..N is the best of n: C(N-r, n-1) / C(N, n).

    Args:
        total: Recorded samples N.
        n: Samples drawn without replacement.

    Returns:
        Weights [N] from the best rank to the worst; they sum to 1.

    Raises:
        DataError: n is below 1 or above N.
    """
    _check_draw(total, n)
    draws = comb(total, n)
    return np.array([comb(total - rank, n - 1) / draws for rank in range(1, total + 1)])


def selection_weights(scores: Floats, n: int) -> Floats:
    """Probability that each sample is kept, for scores that do not depend on the set drawn.

    Args:
        scores: One score a sample [..., N], higher is better; equal scores share evenly.
        n: Samples drawn without replacement.

    Returns:
        Weights [..., N] in the order of `scores`.

    Raises:
        DataError: n is out of range, or a score is NaN.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if np.isnan(scores).any():
        raise DataError("scores hold NaN")
    up_to = np.concatenate([[0.0], np.cumsum(rank_weights(scores.shape[-1], n))])
    better = (scores[..., None, :] > scores[..., :, None]).sum(axis=-1)
    tied = (scores[..., None, :] == scores[..., :, None]).sum(axis=-1)
    return np.asarray((up_to[better + tied] - up_to[better]) / tied, dtype=np.float64)


def agreement_weights(answers: NDArray[np.integer], n: int) -> Floats:
    """Probability that each sample is kept by self-consistency, summed over all C(N, n) draws.

    A sample's score is the share of the draw that gives the same answer; `NO_ANSWER` scores 0.
    Samples that tie for the top share evenly: the first drawn of them is kept, and in a random
    order each is first equally often. The sum runs over answer-count vectors.

    Args:
        answers: One answer code a sample [..., N]: equal codes agree, `NO_ANSWER` with nothing.
        n: Samples drawn without replacement.

    Returns:
        Weights [..., N] in the order of `answers`.

    Raises:
        DataError: n is out of range.
    """
    answers = np.asarray(answers)
    total = answers.shape[-1]
    _check_draw(total, n)
    support = (answers[..., None, :] == answers[..., :, None]).sum(axis=-1)
    support[answers == NO_ANSWER] = 0
    # The weights depend on how many agree with whom alone: few patterns, many samples.
    sorted_support = np.sort(support, axis=-1).reshape(-1, total)
    patterns, which = np.unique(sorted_support, axis=0, return_inverse=True)
    kept = np.array([_kept(tuple(pattern))[n] for pattern in patterns.tolist()])
    return np.asarray(kept[which.reshape(support.shape[:-1])[..., None], support])


@lru_cache(maxsize=8192)
def _kept(support: tuple[int, ...]) -> Floats:
    """Probability that a sample is kept [n, how many samples give its answer]."""
    total, silent = len(support), support.count(0)
    answers = [c for c in sorted(set(support)) if c for _ in range(support.count(c) // c)]
    ways = np.zeros((total + 1, total + 1))
    ways[:, 0] = [comb(silent, n) / max(silent, 1) for n in range(total + 1)]
    for count in set(answers):
        others = answers.copy()
        others.remove(count)
        for top in range(1, count + 1):
            rivals = _rivals(others, silent, top)
            shared = rivals @ (1 / np.arange(1, rivals.shape[1] + 1))
            ways[top : top + len(shared), count] += comb(count, top) / count * shared
    draws = np.array([[comb(total, n)] for n in range(total + 1)], dtype=np.float64)
    return np.asarray(ways / draws)


def _rivals(others: list[int], silent: int, top: int) -> Floats:
    """Ways to draw from the other answers, none above `top` [drawn, how many reach it]."""
    able = [count for count in others if count >= top]
    free = silent + sum(count for count in others if count < top)
    size = free + top * len(able) + 1
    ways = np.zeros((size, len(able) + 1))
    ways[:, 0] = [comb(free, drawn) for drawn in range(size)]
    for count in able:
        before, ways = ways, np.zeros_like(ways)
        for drawn in range(top):
            ways[drawn:] += before[: size - drawn] * comb(count, drawn)
        ways[top:, 1:] += before[: size - top, :-1] * comb(count, top)
    return ways


@dataclass(frozen=True)
class SubsetWeights:
    """Weights of the samples under a reward that looks at the whole draw.

    Attributes:
        weights: Probability that each sample is kept [N].
        standard_error: Monte Carlo error of the weights [N]; `None` when they are exact.
    """

    weights: Floats
    standard_error: Floats | None = None

    @property
    def exact(self) -> bool:
        """Whether every subset was scored."""
        return self.standard_error is None


def subset_weights(
    score_subset: Callable[[tuple[int, ...]], Floats],
    total: int,
    n: int,
    *,
    limit: int = 20_000,
    seed: int = 0,
) -> SubsetWeights:
    """Probability that each sample is kept, for any reward, by scoring subsets.

    Args:
        score_subset: Takes the indices of n drawn samples, returns their scores [n]; equal top
            scores share evenly.
        total: Recorded samples N.
        n: Samples drawn without replacement.
        limit: With more than so many subsets, so many seeded random ones are scored instead.
        seed: Seed of the random subsets.

    Raises:
        DataError: n is out of range, the limit is below 2, or scores are NaN or not n of them.
    """
    _check_draw(total, n)
    if limit < 2:
        raise DataError(f"limit is {limit}; a standard error needs at least 2 subsets")
    exact = comb(total, n) <= limit
    rng = np.random.default_rng(seed)
    subsets = (
        combinations(range(total), n)
        if exact
        else (tuple(map(int, rng.permutation(total)[:n])) for _ in range(limit))
    )
    drawn, first, second = 0, np.zeros(total), np.zeros(total)
    for subset in subsets:
        scores = np.asarray(score_subset(subset), dtype=np.float64)
        if scores.shape != (n,) or np.isnan(scores).any():
            raise DataError(f"subset {subset} was scored {scores.tolist()}; expected {n} numbers")
        kept = scores == scores.max()
        first[list(subset)] += kept / kept.sum()
        second[list(subset)] += (kept / kept.sum()) ** 2
        drawn += 1
    weights = first / drawn
    if exact:
        return SubsetWeights(weights)
    return SubsetWeights(weights, np.sqrt((second / drawn - weights**2).clip(0) / (drawn - 1)))


def expected_quality(weights: Floats, oracle: Floats) -> Floats:
    """Expected oracle score of the sample that is kept: sum of w(r) x o_r over [..., N]."""
    return np.asarray((weights * oracle).sum(axis=-1), dtype=np.float64)


def match_probability(
    weights: Floats, oracle: Floats, reference_oracle: Floats, margin: float = 0.0
) -> Floats:
    """Probability that the kept sample is at least as good as one sample of the reference.

    sum_r w(r) x (1/M) x sum_j 1[o_r >= o_ref,j - margin], the two models' samples independent
    (arXiv 2506.22716, section 3).

    Args:
        weights: Weights [..., N].
        oracle: Oracle scores [..., N] of the same samples.
        reference_oracle: Oracle scores [..., M] of the reference's samples.
        margin: How much worse still counts as a match, in units of the oracle score.

    Returns:
        Match probabilities [...].
    """
    oracle, reference_oracle = np.asarray(oracle), np.asarray(reference_oracle)
    wins = oracle[..., :, None] >= reference_oracle[..., None, :] - margin
    return _probability((weights * wins.mean(axis=-1)).sum(axis=-1))


def self_match_probability(
    weights_of: Callable[[Indices], Floats], oracle: Floats, margin: float = 0.0
) -> Floats:
    """Match probability of the reference's own best-of-n, n > 1.

    Each draw is paired only with samples outside it. Seen from the sample left outside, that is
    a draw from the other M - 1, each equally often; so it needs M >= n + 1.

    Args:
        weights_of: Takes, for each sample left outside, the indices of those to draw from
            [M, M - 1]; returns their weights [..., M, M - 1].
        oracle: Oracle scores [..., M] of the reference's samples.
        margin: How much worse still counts as a match, in units of the oracle score.

    Returns:
        Match probabilities [...].

    Raises:
        DataError: Raised by `weights_of` when fewer than n samples are left to draw from.
    """
    everyone = np.arange(oracle.shape[-1])
    rest = np.array([np.delete(everyone, outside) for outside in everyone], dtype=np.intp)
    wins = oracle[..., rest] >= oracle[..., :, None] - margin
    return _probability((weights_of(rest) * wins).sum(axis=-1).mean(axis=-1))


def _probability(value: Floats) -> Floats:
    """A sum of probabilities, without the last digits that rounding may add or take."""
    return np.asarray(np.where(np.isclose(value, 1, rtol=0, atol=1e-12), 1.0, value))


def _check_draw(total: int, n: int) -> None:
    if not 1 <= n <= total:
        raise DataError(f"cannot draw {n} of {total} recorded samples without replacement")
