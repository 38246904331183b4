"""The comparison: the whole curve of every method, at equal realised cost, on the same queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from bestroute.learning.bestofn import Floats
from bestroute.learning.evaluation.curves import Curve, Upgrades, line, mix_of
from bestroute.learning.evaluation.intervals import Interval, bootstrap, interval, tails
from bestroute.learning.outcomes import Outcomes

COST_CUTS = (0.1, 0.2, 0.4, 0.6)
"""Shares of always-reference's cost that are saved, as in the tables of arXiv 2506.22716."""

DROPS = (0.01, 0.02)
"""Relative quality drops at which the cost cut is asked."""

RANDOM_MIX, ORACLE, CLAIRVOYANT = "random mix", "oracle", "clairvoyant"

MOST_POINTS = 101
"""Points of a curve that are kept to draw it."""

_CUTS = len(COST_CUTS)
_AREA = _CUTS + len(DROPS)
_TINY = 1e-12


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class Method(_Result):
    """What one method is worth.

    `None` stands where nothing so cheap exists or the reference's mean quality is not positive.

    Attributes:
        name: The method's.
        drops: Relative quality drop (q_ref - q) / q_ref at each of `COST_CUTS`; negative is a
            gain.
        gains: Quality minus that of the random mix at the same costs; paired.
        gap_recovered: (method - random mix) / (oracle - random mix) at the same costs; `None`,
            read "n/a", also when the interval of the denominator holds 0.
        cost_cuts: Cost cut down to which the drop stays within each of `DROPS`, coming from
            always-reference.
        area: Mean quality under the curve from the cheapest fixed arm to always-reference.
        waves, tokens: Mean waves of samples, and completion tokens of all samples, of a query
            at each of `COST_CUTS`; `None` for what is no policy.
        error: Largest Monte Carlo standard error of a mean quality on the curve; `None` when
            the curve is exact.
        points: The curve itself, to be drawn: $ for 1,000 queries and mean quality, by cost.
    """

    name: str
    drops: tuple[Interval | None, ...]
    gains: tuple[Interval | None, ...]
    gap_recovered: tuple[Interval | None, ...]
    cost_cuts: tuple[Interval | None, ...]
    area: Interval | None
    waves: tuple[float | None, ...] = (None,) * _CUTS
    tokens: tuple[float | None, ...] = (None,) * _CUTS
    error: float | None = None
    points: tuple[tuple[float, float], ...] = ()


class Comparison(_Result):
    """All methods on the same queries.

    Attributes:
        n_queries: Queries.
        methods: The random mix, the methods given, the oracle, the clairvoyant if it was given.
        level, resamples, seed: Of the bootstrap over queries.
    """

    n_queries: int
    methods: tuple[Method, ...]
    level: float
    resamples: int
    seed: int

    def method(self, name: str) -> Method:
        """The method of that name.

        Raises:
            KeyError: There is none.
        """
        return {method.name: method for method in self.methods}[name]


def compare(
    outcomes: Outcomes,
    curves: Mapping[str, Curve],
    *,
    clairvoyant: Upgrades | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare the curves of methods with the random mix and the oracle.

    Between neighbouring points of a curve lies a random mix of the two. Every method may be
    mixed with always-reference and with the cheapest fixed arm, as anyone could. Intervals
    resample the queries; whatever looks at outcomes is built anew on every resample.

    Args:
        outcomes: What the arms were worth on queries that no method was trained on.
        curves: By the method's name.
        clairvoyant: What one may choose from who knows what every draw will bring
            (`Replay.arms`); its frontier bounds every policy that looks at samples.
        resamples: Bootstrap resamples.
        level: Level of the intervals.
        seed: Seed of the bootstrap.
        progress: Called with the number of resamples done and of all resamples.

    Raises:
        ConfigError: There is no resample, or the level is not between 0 and 1.
    """
    quantiles = tails(resamples, level)
    upgrades = Upgrades.of(outcomes.cost, outcomes.quality)

    def lines(counts: Floats) -> tuple[_Arms, list[tuple[Floats, Floats]]]:
        shares = counts / len(outcomes)
        arms = _Arms(shares @ outcomes.cost, shares @ outcomes.quality, outcomes.reference_index)
        mix, best = mix_of(arms.cost, arms.quality), upgrades.frontier(counts)
        found = [(mix.cost, mix.quality), *(arms.line(each, shares) for each in curves.values())]
        found.append((best.cost, best.quality))
        if clairvoyant is not None:
            known = clairvoyant.frontier(counts)
            found.append((known.cost, known.quality))
        return arms, found

    def measure(counts: Floats) -> Floats:
        arms, found = lines(counts)
        return np.array([arms.figures(*each) for each in found])

    point, drawn = bootstrap(
        measure, len(outcomes), resamples=resamples, seed=seed, progress=progress
    )
    names = (RANDOM_MIX, *curves, ORACLE, *(() if clairvoyant is None else (CLAIRVOYANT,)))
    best_row = len(curves) + 1
    _, whole = lines(np.ones(len(outcomes)))
    methods = [
        _method(name, row, best_row, point, drawn, quantiles).model_copy(
            update={
                "points": _points(*whole[row]),
                **(_effort(curves[name], outcomes) if name in curves else {}),
            }
        )
        for row, name in enumerate(names)
    ]
    return Comparison(
        n_queries=len(outcomes),
        methods=tuple(methods),
        level=level,
        resamples=resamples,
        seed=seed,
    )


class _Arms:
    """Mean costs and qualities of the fixed arms [A], and what they give a curve to stand on."""

    def __init__(self, cost: Floats, quality: Floats, reference: int) -> None:
        self.cost, self.quality = cost, quality
        cheapest = np.lexsort((-quality, cost))[0]
        self._ends = [int(cheapest), reference]
        self._full, self._best = float(cost[reference]), float(quality[reference])

    def line(self, curve: Curve, shares: Floats) -> tuple[Floats, Floats]:
        """The curve's points on these queries, and its two ends."""
        cost, quality = curve.costs @ shares, curve.qualities @ shares
        ends = self.ends(cost)
        return line(np.append(cost, self.cost[ends]), np.append(quality, self.quality[ends]))

    def ends(self, cost: Floats) -> list[int]:
        """The cheapest arm and the reference, where a curve of such costs does not hold them."""
        return [end for end in self._ends if self._lies_outside(end, cost)]

    def _lies_outside(self, end: int, cost: Floats) -> bool:
        inside = cost.min() * (1 + 1e-9) <= self.cost[end] <= cost.max() * (1 - 1e-9)
        return not inside

    def figures(self, cost: Floats, quality: Floats) -> Floats:
        """(q_ref - q) / q_ref per cost cut, cost cut per drop, area, then q per cost cut."""
        if self._best <= 0 or self._full <= 0:
            return np.full(_AREA + 1 + _CUTS, np.nan)
        wanted = self._full * (1 - np.array(COST_CUTS))
        found = np.interp(wanted, cost, quality, left=np.nan)
        found[np.isclose(wanted, cost[0], rtol=1e-9, atol=0)] = quality[0]
        drops = (self._best - found) / self._best
        cuts = [self._cost_cut(cost, quality, (1 - drop) * self._best) for drop in DROPS]
        return np.array([*drops, *cuts, self._area(cost, quality), *found])

    def _cost_cut(self, cost: Floats, quality: Floats, target: float) -> float:
        """How far the cost falls, from always-reference on, before quality is below target."""
        kept = cost < self._full
        costs = np.append(cost[kept], self._full)
        qualities = np.append(quality[kept], np.interp(self._full, cost, quality))
        below = np.flatnonzero(qualities < target - _TINY)
        if not len(below):
            return 1 - float(costs[0]) / self._full
        last = below[-1]
        if last == len(costs) - 1:
            return 0.0
        share = (target - qualities[last]) / (qualities[last + 1] - qualities[last])
        return 1 - float(costs[last] + share * (costs[last + 1] - costs[last])) / self._full

    def _area(self, cost: Floats, quality: Floats) -> float:
        low = float(self.cost.min())
        if self._full <= low:
            return np.nan
        corners = np.unique(np.clip([low, *cost, self._full], low, self._full))
        heights = np.interp(corners, cost, quality)
        return float(np.diff(corners) @ (heights[1:] + heights[:-1]) / 2 / (self._full - low))


def _effort(curve: Curve, outcomes: Outcomes) -> dict[str, Any]:
    """Waves and tokens at each cost cut, and the Monte Carlo error, of a policy."""
    arms = _Arms(
        outcomes.cost.mean(axis=0), outcomes.quality.mean(axis=0), outcomes.reference_index
    )
    ends = arms.ends(curve.cost)
    cost = np.append(curve.cost, arms.cost[ends])
    wanted = arms.cost[outcomes.reference_index] * (1 - np.array(COST_CUTS))

    def at_cuts(figures: Floats | None, of_arms: Floats) -> tuple[float | None, ...]:
        if figures is None:
            return (None,) * _CUTS
        every = np.append(figures.mean(axis=1), of_arms[ends])
        found = np.interp(wanted, *line(cost, every), left=np.nan)
        return tuple(None if np.isnan(each) else float(each) for each in found)

    return {
        "waves": at_cuts(curve.waves, np.ones(len(arms.cost))),
        "tokens": at_cuts(curve.tokens, outcomes.sampled_tokens.mean(axis=0)),
        "error": None if curve.error is None else float(curve.error.max()),
    }


def _points(cost: Floats, quality: Floats) -> tuple[tuple[float, float], ...]:
    """What is drawn of a curve: evenly by rank, both ends among them."""
    kept = np.unique(np.linspace(0, len(cost) - 1, MOST_POINTS).round().astype(np.intp))
    return tuple((float(1000 * cost[i]), float(quality[i])) for i in kept)


def _method(
    name: str, row: int, best: int, point: Floats, drawn: Floats, quantiles: list[float]
) -> Method:
    own, owns = point[row], drawn[:, row]
    gain, gains = own - point[0], owns - drawn[:, 0]
    room, rooms = point[best] - point[0], drawn[:, best] - drawn[:, 0]

    def figure(column: int) -> Interval | None:
        return _known(own[column], owns[:, column], quantiles)

    def recovered(column: int) -> Interval | None:
        gap = _known(room[column], rooms[:, column], quantiles)
        if gap is None or min(gap.value, gap.lo) <= _TINY:
            return None
        wide = rooms[:, column] > _TINY
        ratios = gains[wide, column] / rooms[wide, column]
        return _known(gain[column] / room[column], ratios, quantiles)

    at_cuts = range(_AREA + 1, _AREA + 1 + _CUTS)
    return Method(
        name=name,
        drops=tuple(figure(column) for column in range(_CUTS)),
        gains=tuple(_known(gain[c], gains[:, c], quantiles) for c in at_cuts),
        gap_recovered=tuple(recovered(c) for c in at_cuts),
        cost_cuts=tuple(figure(column) for column in range(_CUTS, _AREA)),
        area=figure(_AREA),
    )


def _known(value: float, drawn: Floats, quantiles: list[float]) -> Interval | None:
    """An interval, unless the figure does not exist here or in most resamples."""
    if np.isnan(value) or np.isnan(drawn).mean() > 0.5:
        return None
    return interval(value, drawn, quantiles)
