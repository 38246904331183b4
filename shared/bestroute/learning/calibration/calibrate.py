"""Calibration: the threshold that saves most for a tolerated drop, on queries set aside for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from bestroute.calibration import CalibrationTable, CostRow, Limit, Promise, check_promise
from bestroute.errors import ConfigError, DataError
from bestroute.learning.bestofn import Floats
from bestroute.learning.calibration.certify import FixedSequence
from bestroute.learning.evaluation.curves import Curve, sweep
from bestroute.learning.outcomes import Outcomes
from bestroute.policy.threshold import ALWAYS_REFERENCE

DROPS = (0.005, 0.01, 0.02, 0.05, 0.1)
CONFIDENCES = (0.9, 0.95, 0.99)

_ROUNDING = 1e-9
"""One wrong answer in 50 is a drop of 0.02, and in floats a hair more."""


Knob = Literal["threshold", "worth"]


class Calibration(BaseModel):
    """A threshold, or a worth, and what it did on the calibration queries.

    Attributes:
        threshold: The threshold, above 1 is always-reference; or the worth in $.
        knob: Which of the two.
        drop: Relative quality drop (q_ref - q) / q_ref; negative is a gain.
        cost_cut: Share saved of what always-reference costs; 0 when that is free.
        n_queries: Calibration queries.
        promise: Whether the drop is certified for other queries: a point estimate never is.
        note: What the figures do and do not say.
    """

    model_config = ConfigDict(frozen=True)

    threshold: float
    knob: Knob = "threshold"
    drop: float
    cost_cut: float
    n_queries: int
    promise: Literal[False] = False
    note: str

    @property
    def setting(self) -> str:
        """The knob and where it stands, in words."""
        if self.knob == "worth":
            return f"a worth of ${self.threshold:.3g} a unit of quality"
        return f"threshold {self.threshold:.3f}"


def pick_threshold(
    match: Floats, estimated: Floats, outcomes: Outcomes, *, max_drop: float = 0.02
) -> Calibration:
    """The threshold of the smallest realised mean cost whose drop is at most `max_drop`.

    Always-reference is among the candidates, so there is always an answer. Ties in cost go to
    the smaller drop, then to the higher threshold.

    Args:
        match: The router's match probabilities [Q, A].
        estimated: Estimated costs [Q, A] in $.
        outcomes: What the arms were worth on the calibration queries.
        max_drop: Largest relative drop against always-reference, in [0, 1].

    Raises:
        ConfigError: `max_drop` is out of range.
        DataError: The shapes disagree, a match probability is NaN, or the reference's mean
            quality is not positive: a relative drop then means nothing.
    """
    return pick_setting(sweep(match, estimated, outcomes), outcomes, max_drop=max_drop)


def pick_setting(
    curve: Curve, outcomes: Outcomes, *, max_drop: float = 0.02, knob: Knob = "threshold"
) -> Calibration:
    """The setting of the smallest realised mean cost whose drop is at most `max_drop`.

    Args:
        curve: What each setting costs and gives on the calibration queries.
        outcomes: What the arms were worth on them.
        max_drop: Largest relative drop against always-reference, in [0, 1].
        knob: What is set.

    Raises:
        ConfigError: `max_drop` is out of range, or no setting keeps it.
        DataError: The reference's mean quality is not positive.
    """
    if not 0 <= max_drop <= 1:
        raise ConfigError(f"max_drop is {max_drop}; expected a share in [0, 1], such as 0.02")
    quality, cost = _always_reference(curve, outcomes)
    if quality <= 0:
        raise DataError(f"the reference's mean quality is {quality:g}: no drop relative to it")
    drops = (quality - curve.quality) / quality
    allowed = np.flatnonzero(drops <= max_drop + _ROUNDING)
    if not len(allowed):
        raise ConfigError(
            f"no {knob} keeps the drop at {max_drop:.1%} on {len(outcomes)} calibration queries "
            f"(the smallest is {drops.min():.1%}): allow more, or use the threshold"
        )
    best = min(allowed, key=lambda t: (curve.cost[t], drops[t], -curve.thresholds[t]))
    return Calibration(
        threshold=float(curve.thresholds[best]),
        knob=knob,
        drop=float(drops[best]),
        cost_cut=float(1 - curve.cost[best] / cost) if cost > 0 else 0.0,
        n_queries=len(outcomes),
        note=(
            f"a point estimate on {len(outcomes)} calibration queries: it carries no promise "
            "for other queries"
        ),
    )


def _always_reference(curve: Curve, outcomes: Outcomes) -> tuple[float, float]:
    """Mean quality and cost of the reference; of the same draws, where the curve holds it."""
    if curve.thresholds[-1] == ALWAYS_REFERENCE:
        return float(curve.quality[-1]), float(curve.cost[-1])
    reference = outcomes.reference_index
    quality, cost = outcomes.quality[:, reference], outcomes.cost[:, reference]
    return float(quality.mean()), float(cost.mean())


def calibrate(
    curve: Curve,
    *,
    policy: str = "one-shot",
    max_drops: Sequence[float] = DROPS,
    confidences: Sequence[float] = CONFIDENCES,
    score_range: tuple[float, float] | None = None,
    seed: int = 0,
) -> CalibrationTable:
    """What callers may ask for at run time: thresholds by promised drop and by cost.

    Every row is a sequence of tests of its own (see `certify`): each promise holds on its own
    with its confidence, not all of them at once.

    Args:
        curve: What the policy did on the calibration queries; see `certify`.
        policy: Its family.
        max_drops: Drops to certify, relative to always-reference, in [0, 1].
        confidences: Confidences to certify them at, in (0, 1).
        score_range: Lowest and highest quality; see `certify`.
        seed: Of the order of the queries.

    Raises:
        ConfigError: An option is out of range.
        DataError: As in `certify`.
    """
    pairs = [(drop, level) for level in sorted(set(confidences)) for drop in sorted(set(max_drops))]
    for drop, level in pairs:
        check_promise(drop, level)
    played = FixedSequence.of(curve, score_range=score_range, seed=seed)
    found = [played.certify(drop, level) for drop, level in pairs]
    return CalibrationTable(
        n_queries=len(played.reference),
        policy=policy,
        score_range=played.score_range,
        promises=tuple(
            Promise(
                max_drop=each.max_drop,
                confidence=each.confidence,
                threshold=each.threshold,
                cost_per_1k=each.cost_per_1k,
            )
            for each in found
            if each.threshold is not None
        ),
        limits=tuple(
            Limit(confidence=level, max_drop=played.smallest_drop(level))
            for level in sorted(set(confidences))
        ),
        budgets=_budgets(played),
    )


def _budgets(played: FixedSequence) -> tuple[CostRow, ...]:
    """Costs from always-reference downwards, each once, none dearer than always-reference."""
    highest: dict[float, float] = {played.reference_cost: ALWAYS_REFERENCE}
    for threshold, cost in zip(played.thresholds, played.cost, strict=True):
        if cost < played.reference_cost:
            highest.setdefault(float(cost), float(threshold))
    return tuple(
        CostRow(cost_per_1k=1000 * cost, threshold=threshold) for cost, threshold in highest.items()
    )
