"""The evaluation: a router at one threshold, beside every baseline at equal realised cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from bestroute.learning.bestofn import Floats, Indices
from bestroute.learning.evaluation.curves import Frontier, Upgrades, decide, mix_of
from bestroute.learning.evaluation.intervals import Interval, bootstrap, clean, interval, tails
from bestroute.learning.evaluation.replay import Replayed
from bestroute.learning.outcomes import Outcomes

_ROUTER, _MIX, _ORACLE = range(3)
_LEADING = 3
_TINY = 1e-12


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class Row(_Result):
    """One line of the table.

    Attributes:
        name: always_reference, random_mix, router, oracle, or `fixed:<model>:<n>`.
        quality: Mean expected oracle score, with its bootstrap interval lo, hi.
        cost_per_1k: Realised $ for 1,000 queries.
        cost_cut: Share saved of what always-reference costs; 0 when that is free.
    """

    name: str
    quality: float
    quality_lo: float
    quality_hi: float
    cost_per_1k: float
    cost_cut: float


class Effort(_Result):
    """What looking at the samples took, replayed in random orders.

    Attributes:
        waves: Waves of samples a query, the reference's among them.
        tokens: Completion tokens of all samples a query, the reference's among them.
        seconds_p50, seconds_p95: Of a request, over queries and orders.
        seconds_recorded: Whether seconds were recorded; else they are `SECONDS_PER_TOKEN` x the
            tokens of the longest sample of each wave.
        error: Monte Carlo standard error of the mean quality.
    """

    waves: float
    tokens: float
    seconds_p50: float
    seconds_p95: float
    seconds_recorded: bool
    error: float

    @classmethod
    def of(cls, played: Replayed) -> Effort:
        """Of a replay."""
        middle, tail = np.quantile(played.seconds, [0.5, 0.95])
        return cls(
            waves=float(played.waves.mean()),
            tokens=float(played.tokens.mean()),
            seconds_p50=float(middle),
            seconds_p95=float(tail),
            seconds_recorded=played.recorded,
            error=played.error,
        )


class Evaluation(_Result):
    """What a router is worth on a set of queries.

    Attributes:
        n_queries: Queries.
        threshold: The threshold played, if it was one.
        rows: always_reference, random_mix, router, oracle, then every other fixed arm; the
            random mix and the oracle spend what the router spends.
        router_minus_random_mix: Difference in quality at the router's cost; paired.
        gap_recovered: (router - random mix) / (oracle - random mix); `None`, read "n/a", when
            the interval of the denominator holds 0.
        arm_shares: Share of the queries that each arm answers, by `name:n`.
        effort: Of a policy that looks at the samples; `None` where all sums are exact.
        level, resamples, seed: Of the bootstrap over queries.
    """

    n_queries: int
    threshold: float | None
    rows: tuple[Row, ...]
    router_minus_random_mix: Interval
    gap_recovered: Interval | None
    arm_shares: dict[str, float]
    effort: Effort | None = None
    level: float
    resamples: int
    seed: int

    def row(self, name: str) -> Row:
        """The row of that name.

        Raises:
            KeyError: There is none.
        """
        found = {row.name: row for row in self.rows}
        return found[name]

    @property
    def drop(self) -> float | None:
        """Relative quality drop of the router against always-reference."""
        reference = self.row("always_reference").quality
        return (reference - self.row("router").quality) / reference if reference > 0 else None

    @property
    def verdict(self) -> str:
        """The comparison with the random mix, in words."""
        gain, level = self.router_minus_random_mix, f"{self.level:.0%} interval"
        if gain.lo > 0:
            words = "better than"
        else:
            words = "worse than" if gain.hi < 0 else "not distinguishable from"
        text = (
            f"At a cost cut of {self.row('router').cost_cut:.0%} the router is {words} a random "
            f"mix of fixed arms: {gain.value:+.3f} in quality ({level} {gain.lo:+.3f} to "
            f"{gain.hi:+.3f}, {self.n_queries} queries); "
        )
        if (gap := self.gap_recovered) is None:
            return text + "gap to the oracle recovered: n/a."
        return text + (
            f"gap to the oracle recovered: {gap.value:.0%} ({level} {gap.lo:.0%} to {gap.hi:.0%})."
        )


def evaluate(
    match: Floats, estimated: Floats, outcomes: Outcomes, threshold: float, **options: Any
) -> Evaluation:
    """Compare a router at one threshold with always-reference, the random mix and the oracle.

    Decisions are made on estimated costs and charged the realised ones.

    Args:
        match: The router's match probabilities [Q, A].
        estimated: Estimated costs [Q, A] in $.
        outcomes: What the arms were worth on queries that the router was not trained on.
        threshold: The router's threshold, picked elsewhere.
        **options: Those of `evaluate_choice`.

    Raises:
        ConfigError: There is no resample, or the level is not between 0 and 1.
        DataError: The shapes disagree, or a match probability is NaN.
    """
    _, (choice,) = decide(match, estimated, outcomes, [threshold])
    return evaluate_choice(outcomes, choice, threshold=threshold, **options)


def evaluate_choice(
    outcomes: Outcomes,
    choice: Indices,
    *,
    threshold: float | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compare what was chosen with always-reference, the random mix, the oracle and fixed arms.

    Intervals resample the queries; everything that looks at outcomes, the mix's hull and the
    oracle included, is built anew on every resample.

    Args:
        outcomes: What the arms were worth on queries that the router was not trained on.
        choice: Column of the chosen arm [Q].
        threshold: The threshold that led to it, if one did.
        resamples: Bootstrap resamples.
        level: Level of the intervals.
        seed: Seed of the bootstrap.
        progress: Called with the number of resamples done and of all resamples.

    Raises:
        ConfigError: There is no resample, or the level is not between 0 and 1.
    """
    queries = np.arange(len(outcomes))
    return _evaluate(
        outcomes,
        _Run(outcomes.cost[queries, choice], outcomes.quality[queries, choice], choice[:, None]),
        threshold=threshold,
        resamples=resamples,
        level=level,
        seed=seed,
        progress=progress,
    )


def evaluate_replay(outcomes: Outcomes, played: Replayed, **options: Any) -> Evaluation:
    """Compare a policy that was replayed, as `evaluate_choice` compares what was chosen.

    Args:
        outcomes: What the arms were worth on the queries that were replayed.
        played: What the policy cost and gave.
        **options: Those of `evaluate_choice`.

    Raises:
        ConfigError: There is no resample, or the level is not between 0 and 1.
    """
    run = _Run(played.cost, played.quality, played.answered)
    found = _evaluate(outcomes, run, **options)
    return found.model_copy(update={"effort": Effort.of(played)})


@dataclass(frozen=True)
class _Run:
    """Cost in $ [Q], quality [Q], and the column of the arm that answered [Q, P]."""

    cost: Floats
    quality: Floats
    answered: Indices


def _evaluate(
    outcomes: Outcomes,
    run: _Run,
    *,
    threshold: float | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    quantiles = tails(resamples, level)
    point, drawn = bootstrap(
        _measure(outcomes, run), len(outcomes), resamples=resamples, seed=seed, progress=progress
    )
    lo, hi = np.quantile(drawn, quantiles, axis=0)
    budget = float(run.cost.mean())
    shares = np.bincount(run.answered.ravel(), minlength=len(outcomes.arms)) / run.answered.size
    return Evaluation(
        n_queries=len(outcomes),
        threshold=threshold,
        rows=_rows(outcomes, budget, point, lo, hi),
        router_minus_random_mix=interval(
            point[_ROUTER] - point[_MIX], drawn[:, _ROUTER] - drawn[:, _MIX], quantiles
        ),
        gap_recovered=_gap_recovered(point, drawn, quantiles),
        arm_shares={str(a): float(s) for a, s in zip(outcomes.arms, shares, strict=True) if s},
        level=level,
        resamples=resamples,
        seed=seed,
    )


def _measure(outcomes: Outcomes, run: _Run) -> Callable[[Floats], Floats]:
    """What gives the qualities [3 + A] of router, random mix, oracle and all arms."""
    count = len(outcomes)
    upgrades = Upgrades.of(outcomes.cost, outcomes.quality)

    def measure(counts: Floats) -> Floats:
        arms = counts @ outcomes.quality / count
        budget = float(counts @ run.cost) / count
        mix = mix_of(counts @ outcomes.cost / count, arms)
        best = upgrades.frontier(counts)
        router = counts @ run.quality / count
        return np.array([router, _spend(mix, budget), _spend(best, budget), *arms])

    return measure


def _spend(frontier: Frontier, budget: float) -> float:
    """Quality for a budget; one that buys nothing is raised to the cheapest corner.

    A router may be cheaper than every fixed arm (each query has its own cheapest arm): then the
    random mix is given the difference.
    """
    return float(frontier.at(max(budget, frontier.cost[0])))


def _rows(
    outcomes: Outcomes, budget: float, quality: Floats, lo: Floats, hi: Floats
) -> tuple[Row, ...]:
    costs = outcomes.cost.mean(axis=0)
    reference = outcomes.reference_index

    def row(name: str, column: int, cost: float) -> Row:
        return Row(
            name=name,
            quality=float(quality[column]),
            quality_lo=float(lo[column]),
            quality_hi=float(hi[column]),
            cost_per_1k=1000 * cost,
            cost_cut=clean(1 - cost / float(costs[reference])) if costs[reference] > 0 else 0.0,
        )

    fixed = [
        row(f"fixed:{arm}", _LEADING + column, float(costs[column]))
        for column, arm in enumerate(outcomes.arms)
        if column != reference
    ]
    return (
        row("always_reference", _LEADING + reference, float(costs[reference])),
        row("random_mix", _MIX, max(budget, float(costs.min()))),
        row("router", _ROUTER, budget),
        row("oracle", _ORACLE, budget),
        *fixed,
    )


def _gap_recovered(point: Floats, drawn: Floats, quantiles: list[float]) -> Interval | None:
    gap, gaps = point[_ORACLE] - point[_MIX], drawn[:, _ORACLE] - drawn[:, _MIX]
    if min(gap, interval(gap, gaps, quantiles).lo) <= _TINY:
        return None
    won, wins = point[_ROUTER] - point[_MIX], drawn[:, _ROUTER] - drawn[:, _MIX]
    ratios = np.divide(wins, gaps, out=np.full_like(wins, np.nan), where=gaps > _TINY)
    return interval(won / gap, ratios, quantiles)
