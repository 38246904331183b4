"""A threshold with a promise: fixed-sequence Learn-then-Test (arXiv 2110.01052).

From always-reference downwards every threshold is tested for "the drop is larger than allowed";
the first that cannot be rejected ends the sequence. So the probability of certifying any
threshold whose true drop is too large is at most 1 - confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bestroute.calibration import check_promise
from bestroute.errors import ConfigError, DataError
from bestroute.learning.bestofn import Floats
from bestroute.learning.calibration.bounds import MeanTest, betting, queries_needed
from bestroute.learning.calibration.certificate import Certificate
from bestroute.learning.evaluation.curves import Curve
from bestroute.policy.threshold import ALWAYS_REFERENCE

_ROUNDING = 1e-9
_BISECTIONS = 20


@dataclass(frozen=True)
class FixedSequence:
    """A policy at ever lower thresholds, on queries in the order of betting.

    Attributes:
        thresholds: Descending, always-reference left out [T].
        quality: Quality at each of them [T, Q].
        reference: Quality of the reference [Q].
        cost: Mean realised cost of a query at each threshold in $ [T].
        reference_cost: That of always-reference.
        score_range: Lowest and highest quality.
        test: What decides whether a mean is positive.
    """

    thresholds: Floats
    quality: Floats
    reference: Floats
    cost: Floats
    reference_cost: float
    score_range: tuple[float, float]
    test: MeanTest = betting

    @classmethod
    def of(
        cls,
        curve: Curve,
        *,
        score_range: tuple[float, float] | None = None,
        seed: int = 0,
        test: MeanTest = betting,
    ) -> FixedSequence:
        """Of what a policy did at every threshold; arguments and errors are those of `certify`."""
        if curve.thresholds[-1] != ALWAYS_REFERENCE:
            raise DataError("a sequence of thresholds starts at always-reference")
        scores, bounds = _clipped(curve.qualities, score_range)
        if not scores[-1].mean() > 0:
            raise DataError("the reference's mean quality is not positive: no drop relative to it")
        order = np.random.default_rng(seed).permutation(scores.shape[1])
        reference, *rest = scores[::-1, order]
        return cls(
            thresholds=curve.thresholds[-2::-1],
            quality=np.array(rest),
            reference=reference,
            cost=curve.cost[-2::-1],
            reference_cost=float(curve.cost[-1]),
            score_range=bounds,
            test=test,
        )

    @property
    def first_saving(self) -> int | None:
        """Index of the first threshold that saves anything; `None` if none does."""
        saves = self.cost < self.reference_cost * (1 - _ROUNDING)
        return int(saves.argmax()) if saves.any() else None

    def certify(self, max_drop: float, confidence: float) -> Certificate:
        """The cheapest certified threshold, or why there is none; of equal costs the lowest."""
        passed = self._passed(max_drop, confidence, len(self.thresholds))
        n_queries = len(self.reference)
        found = self.first_saving is not None and passed > self.first_saving
        best = passed - 1 - int(self.cost[:passed][::-1].argmin()) if found else None
        cost = self.reference_cost if best is None else float(self.cost[best])
        quality = self.reference if best is None else self.quality[best]
        needed = np.inf if found else self._queries_needed(max_drop, confidence)
        return Certificate(
            max_drop=max_drop,
            confidence=confidence,
            n_queries=n_queries,
            threshold=None if best is None else float(self.thresholds[best]),
            drop=float(1 - quality.mean() / self.reference.mean()),
            cost_per_1k=1000 * cost,
            cost_cut=1 - cost / self.reference_cost if self.reference_cost > 0 else 0.0,
            smallest_drop=None if found else self.smallest_drop(confidence),
            queries_needed=max(int(np.ceil(needed)), n_queries + 1) if needed < np.inf else None,
        )

    def smallest_drop(self, confidence: float) -> float | None:
        """The smallest drop at which a threshold that saves something passes, by bisection."""
        if not self._saves(1.0, confidence):
            return None
        low, high = 0.0, 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if self._saves(middle, confidence) else (middle, high)
        return high

    def _saves(self, max_drop: float, confidence: float) -> bool:
        """Whether a threshold that saves something passes."""
        if self.first_saving is None:
            return False
        length = self.first_saving + 1
        return self._passed(max_drop, confidence, length) == length

    def _passed(self, max_drop: float, confidence: float, length: int) -> int:
        """How many thresholds pass before the first failure, of so many."""
        lo, hi = self.score_range
        rejected = self.test(
            self._gains(max_drop, length),
            lowest=lo - (1 - max_drop) * hi,
            highest=hi - (1 - max_drop) * lo,
            delta=1 - confidence,
        )
        return length if rejected.all() else int(rejected.argmin())

    def _queries_needed(self, max_drop: float, confidence: float) -> float:
        if self.first_saving is None:
            return np.inf
        lo, hi = self.score_range
        gains = self._gains(max_drop, self.first_saving + 1)
        return queries_needed(gains, lowest=lo - (1 - max_drop) * hi, delta=1 - confidence)

    def _gains(self, max_drop: float, length: int) -> Floats:
        """Quality above what the drop allows [length, Q]: its mean is positive where it is kept."""
        return self.quality[:length] - (1 - max_drop) * self.reference


def certify(
    curve: Curve,
    *,
    max_drop: float,
    confidence: float = 0.95,
    score_range: tuple[float, float] | None = None,
    seed: int = 0,
    test: MeanTest = betting,
) -> Certificate:
    """The cheapest threshold whose drop is promised for queries like these.

    Args:
        curve: What a policy did at thresholds that were fixed beforehand, the last of them
            always-reference (`sequence`), on queries that nothing was learnt from. The quality of
            a query is a mean over draws or over orders of its samples: the promise is about the
            mean over queries, which is the same.
        max_drop: Largest relative drop of mean quality against always-reference, in [0, 1].
        confidence: Probability, over calibration sets, that the promise holds, in (0, 1).
        score_range: Lowest and highest quality; scores beyond are clipped, and the promise is
            about the clipped ones. By default [0, 1], which must hold all scores.
        seed: Of the order of the queries.
        test: `betting`, or another of `bounds`.

    Raises:
        ConfigError: An option is out of range.
        DataError: The curve does not end at always-reference, a score lies outside [0, 1] and no
            range is given, or the reference's mean quality is not positive.
    """
    check_promise(max_drop, confidence)
    played = FixedSequence.of(curve, score_range=score_range, seed=seed, test=test)
    return played.certify(max_drop, confidence)


def _clipped(
    quality: Floats, score_range: tuple[float, float] | None
) -> tuple[Floats, tuple[float, float]]:
    """The scores within their range, and that range."""
    lo, hi = score_range or (0.0, 1.0)
    if not -np.inf < lo < hi < np.inf:
        raise ConfigError(f"score_range is {score_range}; expected (lowest, highest)")
    least, most = float(quality.min()), float(quality.max())
    if score_range is None and (least < lo - _ROUNDING or most > hi + _ROUNDING):
        raise DataError(
            f"scores lie in [{least:g}, {most:g}], not in [0, 1]: say how low and how high they "
            "can be, score_range=(lowest, highest)"
        )
    return np.clip(quality, lo, hi), (lo, hi)
