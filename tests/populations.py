"""Made-up populations of queries whose truth is known, to draw calibration sets from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bestroute.learning.calibration.sequence import REPLAYED
from bestroute.learning.evaluation.curves import Curve, sweep
from bestroute.learning.outcomes import Outcomes
from bestroute.policy.threshold import ALWAYS_REFERENCE
from bestroute.pool import Arm

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """All queries there are, a router's predictions on them, and what the arms are worth."""

    match: Floats
    estimated: Floats
    outcomes: Outcomes

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Floats, Floats, Outcomes]:
        """n queries with replacement: predictions, estimated costs, outcomes."""
        rows = rng.integers(len(self.outcomes), size=n)
        return self.match[rows], self.estimated[rows], self.outcomes.take(rows)

    def drops(self, thresholds: list[float]) -> dict[float, float]:
        """The true relative drop at each threshold."""
        played = sweep(self.match, self.estimated, self.outcomes, thresholds)
        reference = self.outcomes.quality[:, self.outcomes.reference_index].mean()
        drops = 1 - played.quality / reference
        return dict(zip(played.thresholds.tolist(), drops.tolist(), strict=True))


def population(match: Floats, small: Floats, big: Floats) -> Population:
    """Two arms: a small model at a tenth of the reference's price, matched with `match` [Q]."""
    count = len(match)
    arms = (Arm("small", 1), Arm("big", 1))
    cost = np.tile([0.0001, 0.001], (count, 1))
    names = tuple(map(str, range(count)))
    quality = np.column_stack([small, big]).astype(np.float64)
    outcomes = Outcomes(
        arms=arms,
        reference=arms[1],
        query_ids=names,
        queries=names,
        prompts=names,
        tasks=names,
        splits=("calibration",) * count,
        match=np.column_stack([match, np.ones(count)]),
        quality=quality,
        cost=cost,
        prompt_tokens=np.ones_like(cost),
        output_tokens=np.ones_like(cost),
    )
    return Population(outcomes.match, cost, outcomes)


def easy_and_hard(seed: int = 0, count: int = 20_000) -> Population:
    """Right or wrong, three in five queries easy; the router tells easy from hard fairly well.

    The reference is right on 9 in 10. On easy queries the small model is right on the same ones
    and a few others are swapped; on hard ones it is right on 3 in 10.
    """
    rng = np.random.default_rng(seed)
    easy = rng.random(count) < 0.6
    big = rng.random(count) < 0.9
    swapped = rng.random(count) < 0.02
    small = np.where(easy, np.where(swapped, rng.random(count) < 0.9, big), rng.random(count) < 0.3)
    match = np.where(easy, rng.beta(12, 2, count), rng.beta(3, 4, count))
    return population(match, small, big)


def just_too_bad(max_drop: float, seed: int = 0, count: int = 20_000) -> Population:
    """The router trusts the small model everywhere alike, and the true drop is a hair too large."""
    rng = np.random.default_rng(seed)
    big = np.ones(count)
    small = np.ones(count)
    small[: int(np.ceil(count * max_drop)) + 1] = 0
    return population(np.full(count, 0.9), rng.permutation(small), big)


@dataclass(frozen=True)
class Looking:
    """All queries there are, and a policy that stops at a cheap answer in some orders only.

    Attributes:
        sure: Probability that the cheap samples make it as sure as this [Q], uniform around.
        small: Probability that the cheap answer is right [Q].
        big: That the reference's is.
    """

    sure: Floats
    small: Floats
    big: Floats

    @classmethod
    def easy_and_hard(cls, seed: int = 0, count: int = 20_000) -> Looking:
        """The cheap answer is as good where the policy is sure, and much worse where it is not."""
        rng = np.random.default_rng(seed)
        sure = rng.beta(2, 1, count)
        big = np.full(count, 0.9)
        return cls(sure, np.where(sure > 0.5, 0.9, 0.3), big)

    @classmethod
    def just_too_bad(cls, max_drop: float, count: int = 20_000) -> Looking:
        """Sure of everything, and a hair worse than is allowed."""
        return cls(np.full(count, 2.0), np.full(count, 1 - max_drop - 1e-5), np.ones(count))

    def stops(self, threshold: float) -> Floats:
        """Probability that it stops at the cheap answer [Q]."""
        return np.clip(self.sure + _NOISE - threshold, 0, 2 * _NOISE) / (2 * _NOISE)

    def drop(self, threshold: float) -> float:
        """The true relative drop at a threshold."""
        lost = self.stops(threshold) * (self.big - self.small)
        return float(lost.mean() / self.big.mean())

    def draw(self, n: int, orders: int, rng: np.random.Generator) -> Curve:
        """n queries, each in so many orders: what they cost and give on average."""
        rows = rng.integers(len(self.big), size=n)
        shape = (n, orders)
        looks = (self.sure[rows, None] + rng.uniform(-_NOISE, _NOISE, shape))[None]
        small = rng.random(shape) < self.small[rows, None]
        big = rng.random(shape) < self.big[rows, None]
        steps = np.array([*REPLAYED[::-1], ALWAYS_REFERENCE])
        stopped = (looks >= steps[:, None, None]) & (steps <= 1)[:, None, None]
        quality = np.where(stopped, small, big).mean(axis=2)
        cost = np.where(stopped, 0.0001, 0.0011).mean(axis=2)
        cost[-1] = 0.001
        return Curve(steps, cost, quality)


_NOISE = 0.15
"""How much the order of its samples moves what the policy believes of a query."""
