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
        scores: One score a sample [N], higher is better; equal scores share evenly.
        n: Samples drawn without replacement.

    Returns:
        Weights [N] in the order of `scores`.

    Raises:
        DataError: n is out of range, or a score is NaN.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if np.isnan(scores).any():
        raise DataError(f"scores hold NaN: {scores.tolist()}")
    ranks = rank_weights(len(scores), n)
    _, place, ties = np.unique(-scores, return_inverse=True, return_counts=True)
    shares = np.bincount(np.sort(place), weights=ranks) / ties
    return np.asarray(shares[place], dtype=np.float64)


def agreement_weights(answers: NDArray[np.integer], n: int) -> Floats:
    """Probability that each sample is kept by self-consistency, summed over all C(N, n) draws.

    A sample's score is the share of the draw that gives the same answer; `NO_ANSWER` scores 0.
    Samples that tie for the top share evenly: the first drawn of them is kept, and in a random
    order each is first equally often. The sum runs over answer-count vectors.

    Args:
        answers: One answer code a sample [N]: equal codes agree, `NO_ANSWER` with nothing.
        n: Samples drawn without replacement.

    Returns:
        Weights [N] in the order of `answers`.

    Raises:
        DataError: n is out of range.
    """
    answers = np.asarray(answers)
    _check_draw(len(answers), n)
    silent = answers == NO_ANSWER
    weights = np.full(len(answers), comb(int(silent.sum()), n) / comb(len(answers), n))
    weights[silent] /= max(silent.sum(), 1)
    if not silent.all():
        _, place, counts = np.unique(answers[~silent], return_inverse=True, return_counts=True)
        order = np.argsort(counts)  # the probabilities depend on the counts alone: cache by them
        wins = np.empty(len(counts))
        wins[order] = _winning(tuple(counts[order].tolist()), int(silent.sum()), n)
        weights[~silent] = (wins / counts)[place]
    return weights


@lru_cache(maxsize=65536)
def _winning(counts: tuple[int, ...], silent: int, n: int) -> tuple[float, ...]:
    """Probability that each answer wins a draw of n, given how many samples give it."""
    draws = comb(sum(counts) + silent, n)
    wins = []
    for index, count in enumerate(counts):
        others = counts[:index] + counts[index + 1 :]
        ways = 0.0
        for top in range(1, min(count, n) + 1):
            rivals = _rivals(others, silent, top, n - top)
            ways += comb(count, top) * float(rivals @ (1 / np.arange(1, len(rivals) + 1)))
        wins.append(ways / draws)
    return tuple(wins)


def _rivals(others: tuple[int, ...], silent: int, top: int, drawn: int) -> Floats:
    """Ways to draw so many from the other answers, none above `top`, by how many reach it."""
    ways = np.zeros((drawn + 1, len(others) + 1))
    ways[:, 0] = [comb(silent, k) for k in range(drawn + 1)]
    for count in others:
        before, ways = ways, np.zeros_like(ways)
        for k in range(min(count, top, drawn) + 1):
            reached = before[: drawn + 1 - k] * comb(count, k)
            if k == top:
                ways[k:, 1:] += reached[:, :-1]
            else:
                ways[k:] += reached
    return np.asarray(ways[drawn], dtype=np.float64)


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


def expected_quality(weights: Floats, oracle: Floats) -> float:
    """Expected oracle score of the sample that is kept: sum of w(r) x o_r over [N]."""
    return float(weights @ oracle)


def match_probability(
    weights: Floats, oracle: Floats, reference_oracle: Floats, margin: float = 0.0
) -> float:
    """Probability that the kept sample is at least as good as one sample of the reference.

    sum_r w(r) x (1/M) x sum_j 1[o_r >= o_ref,j - margin], the two models' samples independent
    (arXiv 2506.22716, section 3).

    Args:
        weights: Weights [N].
        oracle: Oracle scores [N] of the same samples.
        reference_oracle: Oracle scores [M] of the reference's samples.
        margin: How much worse still counts as a match, in units of the oracle score.
    """
    wins = np.asarray(oracle)[:, None] >= np.asarray(reference_oracle)[None, :] - margin
    return min(1.0, float(weights @ wins.mean(axis=1)))  # rounding may exceed 1 by one ulp


def self_match_probability(
    weights_of: Callable[[Indices], Floats], oracle: Floats, margin: float = 0.0
) -> float:
    """Match probability of the reference's own best-of-n, n > 1.

    Each draw is paired only with samples outside it. Seen from the sample left outside, that is
    a draw from the other M - 1, each equally often; so it needs M >= n + 1.

    Args:
        weights_of: Takes indices of the M - 1 samples to draw from, returns their weights.
        oracle: Oracle scores [M] of the reference's samples.
        margin: How much worse still counts as a match, in units of the oracle score.

    Raises:
        DataError: Raised by `weights_of` when fewer than n samples are left to draw from.
    """
    everyone = np.arange(len(oracle))
    pairs = [
        match_probability(weights_of(rest), oracle[rest], oracle[[outside]], margin)
        for outside in everyone
        for rest in [np.delete(everyone, outside)]
    ]
    return float(np.mean(pairs))


def _check_draw(total: int, n: int) -> None:
    if not 1 <= n <= total:
        raise DataError(f"cannot draw {n} of {total} recorded samples without replacement")
