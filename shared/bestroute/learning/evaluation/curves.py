"""Cost-quality curves: the router's sweep of thresholds, the random mix, and the oracle.

The router's curve interpolates linearly between neighbouring sweep points: a random mix of two
thresholds, and no hull, which would pick the best thresholds by looking at the very outcomes
that it is judged by. The random mix and the oracle are concave by definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bestroute.errors import DataError
from bestroute.learning.bestofn import Floats
from bestroute.learning.evaluation.replay import Replayed
from bestroute.learning.outcomes import Outcomes
from bestroute.policy.threshold import ALWAYS_REFERENCE

ANY_WORD = 1e-9
"""A threshold that every match probability reaches but 0: there a router has no word on the arm."""

_MOST_THRESHOLDS = 501


@dataclass(frozen=True)
class Curve:
    """What a method costs and gives at each setting of its knob, in realised costs.

    Attributes:
        thresholds: The knob, ascending [T]; the threshold of most methods.
        costs: Expected realised cost in $ [T, Q].
        qualities: Expected oracle score [T, Q].
        error: Monte Carlo standard error of the mean qualities [T]; `None` when they are exact.
        waves: Expected waves of samples, the reference's among them [T, Q].
        tokens: Expected completion tokens of all samples, the reference's among them [T, Q].
    """

    thresholds: Floats
    costs: Floats
    qualities: Floats
    error: Floats | None = None
    waves: Floats | None = None
    tokens: Floats | None = None

    @classmethod
    def of_choices(cls, thresholds: Floats, choices: NDArray[np.intp], outcomes: Outcomes) -> Curve:
        """Of the column of the chosen arm [T, Q] at each threshold [T]."""
        queries = np.arange(len(outcomes))
        return cls(
            thresholds,
            outcomes.cost[queries, choices],
            outcomes.quality[queries, choices],
            waves=np.ones(choices.shape),
            tokens=outcomes.sampled_tokens[queries, choices],
        )

    @classmethod
    def of_replays(cls, thresholds: Sequence[float], played: Sequence[Replayed]) -> Curve:
        """Of what was replayed at each threshold [T]."""
        return cls(
            np.array(thresholds),
            np.array([each.cost for each in played]),
            np.array([each.quality for each in played]),
            np.array([each.error for each in played]),
            waves=np.array([each.waves for each in played]),
            tokens=np.array([each.tokens for each in played]),
        )

    @property
    def cost(self) -> Floats:
        """Mean realised cost of a query in $ [T]."""
        return np.asarray(self.costs.mean(axis=1))

    @property
    def quality(self) -> Floats:
        """Mean expected oracle score [T]."""
        return np.asarray(self.qualities.mean(axis=1))

    def at(self, cost: ArrayLike) -> Floats:
        """Quality at these mean costs in $, linear between points sorted by cost.

        NaN below the cheapest point, flat above the dearest; points of equal cost are averaged.
        """
        return _interpolate(cost, *line(self.cost, self.quality))


@dataclass(frozen=True)
class Frontier:
    """The best quality that a mean budget buys: concave and never falling.

    Attributes:
        cost: Corners, ascending [K], mean cost of a query in $.
        quality: Mean expected oracle score at the corners [K].
    """

    cost: Floats
    quality: Floats

    def at(self, cost: ArrayLike) -> Floats:
        """Quality at a mean cost of at most this many $; NaN below the cheapest corner."""
        return _interpolate(cost, self.cost, self.quality)


@dataclass(frozen=True)
class Upgrades:
    """Every query's way from its cheapest arm up its own hull, best value for money first.

    Buying the upgrades in this order solves the Lagrangian of "largest mean quality at mean cost
    <= c" for every c at once; a random mix of two arms is allowed on the one query at the margin.

    Attributes:
        cost, quality: Those of the cheapest arm [Q].
        query: Query that an upgrade belongs to [S].
        extra_cost, extra_quality: What it adds, both positive [S].
    """

    cost: Floats
    quality: Floats
    query: NDArray[np.intp]
    extra_cost: Floats
    extra_quality: Floats

    @classmethod
    def of(cls, cost: Floats, quality: Floats) -> Upgrades:
        """Of the arms' costs in $ and qualities [Q, A]."""
        hulls = [_hull(c, q) for c, q in zip(cost, quality, strict=True)]
        first = np.array([hull[0] for hull in hulls])
        steps = [np.diff(hull, axis=0) for hull in hulls]
        query = np.repeat(np.arange(len(hulls)), [len(step) for step in steps])
        extra = np.concatenate(steps)
        order = np.argsort(-extra[:, 1] / extra[:, 0], kind="stable")
        return cls(first[:, 0], first[:, 1], query[order], extra[order, 0], extra[order, 1])

    @classmethod
    def of_orders(cls, cost: Floats, quality: Floats) -> Upgrades:
        """Of the arms' costs in $ and qualities in each of P equally likely orders [Q, P, A]."""
        queries, orders, arms = cost.shape
        each = cls.of(cost.reshape(-1, arms), quality.reshape(-1, arms))
        return cls(
            each.cost.reshape(queries, orders).mean(axis=1),
            each.quality.reshape(queries, orders).mean(axis=1),
            each.query // orders,
            each.extra_cost / orders,
            each.extra_quality / orders,
        )

    def frontier(self, counts: Floats) -> Frontier:
        """The frontier of a population that holds each query so many times [Q]."""
        times, total = counts[self.query], counts.sum()
        added = np.cumsum([times * self.extra_cost, times * self.extra_quality], axis=1)
        start = np.array([[counts @ self.cost], [counts @ self.quality]])
        cost, quality = np.hstack([start, start + added]) / total
        return Frontier(cost, quality)


def line(cost: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """Points sorted by cost, those of equal cost averaged: what is interpolated between."""
    costs, place, ties = np.unique(cost, return_inverse=True, return_counts=True)
    return costs, np.bincount(place, weights=quality) / ties


def sweep(
    match: Floats, estimated: Floats, outcomes: Outcomes, thresholds: ArrayLike | None = None
) -> Curve:
    """Play the paper's rule at every threshold: decide on estimates, charge what happened.

    Args:
        match: The router's match probabilities [Q, A].
        estimated: Estimated costs [Q, A] in $.
        outcomes: What the arms were worth.
        thresholds: By default one between any two neighbouring match probabilities (at most
            501 of them, evenly by rank), `ANY_WORD` and `ALWAYS_REFERENCE`.

    Raises:
        DataError: The shapes disagree, or a match probability is NaN.
    """
    steps, choices = decide(match, estimated, outcomes, thresholds)
    return Curve.of_choices(steps, choices, outcomes)


def decide(
    match: Floats, estimated: Floats, outcomes: Outcomes, thresholds: ArrayLike | None = None
) -> tuple[Floats, NDArray[np.intp]]:
    """The thresholds [T] of `sweep`, ascending, and the arms chosen at each [T, Q].

    Arguments and errors are those of `sweep`; one pass over all thresholds gives what
    `policy.threshold.choose` gives at each.
    """
    shape = outcomes.quality.shape
    if match.shape != shape or estimated.shape != shape or np.isnan(match).any():
        raise DataError(f"match {match.shape} and costs {estimated.shape} must be numbers {shape}")
    reference = outcomes.reference_index
    steps = (
        _default_thresholds(np.delete(match, reference, axis=1))
        if thresholds is None
        else np.sort(np.atleast_1d(np.asarray(thresholds, dtype=np.float64)))
    )
    return steps, _first_qualifying(match, estimated, reference, steps)


def _first_qualifying(
    match: Floats, estimated: Floats, reference: int, thresholds: Floats
) -> NDArray[np.intp]:
    """Column of the cheapest qualifying arm [T, Q].

    In the order in which arms are preferred, the first whose match probability reaches t is the
    first at which the running maximum does: one search a query serves all thresholds.
    """
    priority = np.array(match, dtype=np.float64)
    priority[:, reference] = 1.0 + 1e-9
    prices = np.where(np.isnan(estimated), np.inf, estimated)
    order = np.lexsort((np.broadcast_to(np.arange(match.shape[1]), match.shape), -priority, prices))
    ranked = np.take_along_axis(match, order, axis=1)
    ranked[order == reference] = np.inf
    reached = np.maximum.accumulate(ranked, axis=1)
    places = [np.searchsorted(row, thresholds, side="left") for row in reached]
    return np.take_along_axis(order, np.array(places), axis=1).T


def random_mix(outcomes: Outcomes) -> Frontier:
    """What one buys without looking at the query: a random mix of fixed arms.

    The upper concave hull of the arms' (mean cost, mean quality). It never falls: where a cheap
    arm beats a dear one, spare money is not spent.
    """
    return mix_of(outcomes.cost.mean(axis=0), outcomes.quality.mean(axis=0))


def mix_of(cost: Floats, quality: Floats) -> Frontier:
    """The random mix of arms of these mean costs in $ and mean qualities [A]."""
    return Frontier(*_hull(cost, quality).T)


def oracle(outcomes: Outcomes) -> Frontier:
    """The largest mean expected quality at mean cost <= c, the best arm known for every query.

    Over exact expectations, not over realised draws: no router can do better in expectation.
    """
    return Upgrades.of(outcomes.cost, outcomes.quality).frontier(np.ones(len(outcomes)))


def _interpolate(at: ArrayLike, cost: Floats, quality: Floats) -> Floats:
    wanted = np.asarray(at, dtype=np.float64)
    # a mean that was summed in another order is still the cheapest point
    wanted = np.where(np.isclose(wanted, cost[0], rtol=1e-9, atol=0), cost[0], wanted)
    return np.asarray(np.interp(wanted, cost, quality, left=np.nan), dtype=np.float64)


def _default_thresholds(match: Floats) -> Floats:
    values = np.unique(match)
    between = (values[1:] + values[:-1]) / 2  # no prediction sits on a threshold
    if len(between) > _MOST_THRESHOLDS:
        kept = np.linspace(0, len(between) - 1, _MOST_THRESHOLDS).round().astype(np.intp)
        between = between[kept]
    return np.array([ANY_WORD, *between, ALWAYS_REFERENCE])


def _hull(cost: Floats, quality: Floats) -> Floats:
    """Corners [K, 2] of the smallest concave, never falling curve above the points."""
    corners: list[tuple[float, float]] = []
    for index in np.lexsort((-quality, cost)):
        x, y = float(cost[index]), float(quality[index])
        if corners and y <= corners[-1][1]:
            continue  # dearer and no better
        while len(corners) > 1 and _above_chord(corners[-2], corners[-1], (x, y)):
            corners.pop()
        corners.append((x, y))
    return np.array(corners)


def _above_chord(
    left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]
) -> bool:
    """Whether the chord from left to right runs above (or through) the middle."""
    rise = (middle[1] - left[1]) * (right[0] - left[0])
    return rise <= (right[1] - left[1]) * (middle[0] - left[0])
