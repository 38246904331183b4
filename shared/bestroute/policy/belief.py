"""Pr[best sample so far >= reference], from prior and evidence, and how it will move.

Both are learnt by replaying recorded samples (`bestroute.learning.beliefs`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from bestroute.policy.evidence import Evidence

Floats = NDArray[np.float64]

FEATURES = (
    *("prior", "agreement", "runner_up", "distinct", "best", "margin", "spread", "length"),
    *("logprob", "similarity"),
)
"""What the estimator reads: logits, shares, reward scores, log tokens, nats a token, cosines."""

_EDGE = 1e-3
"""A prior is never quite sure."""


def features(prior: float, seen: Evidence) -> Floats:
    """The evidence as numbers [len(FEATURES)]; NaN where there is none."""
    p = min(max(prior, _EDGE), 1 - _EDGE)
    shares = np.array([seen.top, seen.second, seen.distinct]) / seen.n
    scores = (seen.best, seen.best - seen.mean, seen.spread)
    rest = (np.log1p(seen.tokens), seen.logprob, seen.similarity)
    return np.array([np.log(p / (1 - p)), *shares, *scores, *rest])


@dataclass(frozen=True, eq=False)
class ModelBelief:
    """What is believed of one model.

    Attributes:
        levels: Numbers of samples at which it was learnt, ascending [L].
        centre, scale: Of the features at each level [L, D].
        weight: Logistic regression at each level [L, D].
        bias: Of it [L].
        edges: Inner edges of the bins of the belief before any sample, and at each level
            [L + 1, B - 1].
        moves: From a bin at one level to the beliefs at a later one: S equally likely ones
            [L + 1, L + 1, B, S]; level 0 is before any sample.
    """

    levels: tuple[int, ...]
    centre: Floats
    scale: Floats
    weight: Floats
    bias: Floats
    edges: Floats
    moves: Floats

    def level(self, n: int) -> int:
        """Index in `moves` of the last level of at most n samples; 0 before the first."""
        return bisect_right(self.levels, n)

    def after(self, prior: float, seen: Evidence) -> float:
        """Probability that the best of the samples seen matches the reference."""
        row = max(self.level(seen.n) - 1, 0)
        raw = (features(prior, seen) - self.centre[row]) / self.scale[row]
        logit = float(np.where(np.isnan(raw), 0, raw) @ self.weight[row] + self.bias[row])
        return float(1 / (1 + np.exp(-logit)))

    def below(self, n: int, later: int, now: float, value: float) -> float:
        """Probability that the belief after `later` samples is below a value.

        Args:
            n: Samples seen.
            later: Samples seen then, one of `levels`.
            now: The belief now.
            value: The value.
        """
        start, end = self.level(n), self.level(later)
        return float((self.moves[start, end, int(self.bins(start, now))] < value).mean())

    @cached_property
    def places(self) -> NDArray[np.intp]:
        """Bin of every move, at the level that it leads to [L + 1, L + 1, B, S]."""
        found = np.zeros(self.moves.shape, dtype=np.intp)
        for end in range(1, len(self.levels) + 1):
            found[:end, end] = self.bins(end, self.moves[:end, end])
        return found

    def bins(self, level: int, belief: NDArray[np.float64] | float) -> NDArray[np.intp]:
        """Bin of beliefs at a level."""
        return np.asarray(np.searchsorted(self.edges[level], belief, side="right"))


@dataclass(frozen=True)
class Belief:
    """What is believed of every model but the reference.

    Attributes:
        models: By name in the pool.
        reference_cost: $ that one request of the reference typically costs.
    """

    models: Mapping[str, ModelBelief]
    reference_cost: float


Prices = tuple[tuple[int, float], ...]
"""What a wave of so many samples costs, in matches; sizes that are absent cannot be had."""


def best_wave(
    model: ModelBelief,
    prices: Prices,
    later: Prices,
    outside: float,
    waves: int,
    n: int,
    now: float,
) -> tuple[float, int]:
    """Expected value of the best further wave, less its price, and its size.

    Args:
        model: What is believed.
        prices: Of this wave.
        later: Of the waves after it.
        outside: The best that is to be had without this model, in matches.
        waves: Waves that its worth is reckoned with, at least 1.
        n: Samples seen.
        now: The belief now.

    Returns:
        (-inf, 0) where no wave is left.
    """
    start = model.level(n)
    sizes = [count - n for count in model.levels[start:]]
    costs = dict(prices)
    price = np.array([costs.get(size, np.inf) for size in sizes])
    if not np.isfinite(price).any():
        return -np.inf, next((size for size in sizes if size in costs), 0)
    place = int(model.bins(start, now))
    values = worths(model, later, outside, waves)[start][:, place] - price
    best = int(values.argmax())
    return float(values[best]), sizes[best]


@lru_cache(maxsize=4096)
def worths(model: ModelBelief, later: Prices, outside: float, waves: int) -> tuple[Floats, ...]:
    """From every level: expected value at each later one, from every bin [levels, B].

    Solved backwards: to stop is worth the larger of the belief and `outside`. Arguments are
    those of `best_wave`; the price of the first wave is not yet paid.
    """
    counts, costs = (0, *model.levels), dict(later)
    last = len(model.levels)
    value = np.full((last + 1, model.moves.shape[2]), -np.inf)
    endless = waves >= last  # then one pass does: later levels are solved before earlier ones
    found = [np.zeros(0)] * last
    for _ in range(1 if endless else waves):
        before, value = value, np.full_like(value, -np.inf)
        for start in reversed(range(last)):
            sizes = [count - counts[start] for count in counts[start + 1 :]]
            price = np.array([[costs.get(size, np.inf)] for size in sizes])
            found[start] = _values(model, start, outside, value if endless else before)
            value[start] = (found[start] - price).max(axis=0)
    return tuple(found)


def _values(model: ModelBelief, start: int, outside: float, later: Floats) -> Floats:
    """Expected value at each later level, from every bin [levels, B]: stop there, or draw on."""
    moved, places = model.moves[start, start + 1 :], model.places[start, start + 1 :]
    levels = np.arange(start + 1, len(later))[:, None, None]
    stopped = np.maximum(moved, outside)
    return np.asarray(np.maximum(stopped, later[levels, places]).mean(axis=2))
