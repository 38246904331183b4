"""Where a router errs: what it lost on each query against the best arm, known afterwards."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from bestroute.learning.bestofn import Floats, Indices
from bestroute.learning.evaluation.curves import Upgrades
from bestroute.learning.outcomes import Outcomes


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class TaskRegret(_Result):
    """Means over the queries of one task, or over all.

    Attributes:
        queries: How many.
        regret: Quality lost + money wasted at the oracle's price of quality.
        quality_lost: Quality of the best arms less that of the answers; negative where the
            router bought more than was worth it.
        overspent_per_1k: $ for 1,000 queries beyond what the best arms cost.
    """

    queries: int
    regret: float
    quality_lost: float
    overspent_per_1k: float


class QueryRegret(_Result):
    """One query.

    Attributes:
        query, task: The query.
        arm, quality, cost: The arm that answered (most often), what it gave, and its $.
        best_arm, best_quality, best_cost: The arm that would have been worth most.
        regret: As in `TaskRegret`.
    """

    query: str
    task: str
    arm: str
    quality: float
    cost: float
    best_arm: str
    best_quality: float
    best_cost: float
    regret: float


class Regrets(_Result):
    """What the oracle would have done better, at the price of quality at which it spends as much.

    That price is the slope of the oracle's frontier where it spends what the router spends; of
    an arm, quality less price x cost is its worth, and the best arm of a query has the most.

    Attributes:
        quality_per_dollar: The price: quality that one more $ buys the oracle there.
        whole: All queries.
        tasks: Task by task, the largest regret in all first.
        worst: The queries of the largest regret, where examples were asked for.
    """

    quality_per_dollar: float
    whole: TaskRegret
    tasks: dict[str, TaskRegret]
    worst: tuple[QueryRegret, ...] = ()


def regrets(
    outcomes: Outcomes, cost: Floats, quality: Floats, answered: Indices, *, examples: int = 0
) -> Regrets:
    """Compare what was done with the best arm of each query.

    Args:
        outcomes: What the arms were worth, known afterwards.
        cost: What was spent, realised $ [Q].
        quality: What it gave [Q].
        answered: Column of the arm that answered [Q].
        examples: How many of the worst queries are told in words.
    """
    price = _price(outcomes, float(cost.mean()))
    worth = outcomes.quality - price * outcomes.cost
    best = np.array([_cheapest_best(*row) for row in zip(worth, outcomes.cost, strict=True)])
    rows = np.arange(len(outcomes))
    best_quality, best_cost = outcomes.quality[rows, best], outcomes.cost[rows, best]
    lost, over = best_quality - quality, cost - best_cost
    regret = lost + price * over

    def mean(of: Indices) -> TaskRegret:
        return TaskRegret(
            queries=len(of),
            regret=float(regret[of].mean()),
            quality_lost=float(lost[of].mean()),
            overspent_per_1k=float(1000 * over[of].mean()),
        )

    tasks = np.array(outcomes.tasks)
    found = {str(task): mean(np.flatnonzero(tasks == task)) for task in np.unique(tasks)}
    in_all = sorted(found.items(), key=lambda each: -each[1].regret * each[1].queries)
    worst = np.argsort(-regret, kind="stable")[:examples]
    return Regrets(
        quality_per_dollar=price,
        whole=mean(rows),
        tasks=dict(in_all),
        worst=tuple(
            QueryRegret(
                query=outcomes.queries[row],
                task=outcomes.tasks[row],
                arm=str(outcomes.arms[answered[row]]),
                quality=float(quality[row]),
                cost=float(cost[row]),
                best_arm=str(outcomes.arms[best[row]]),
                best_quality=float(best_quality[row]),
                best_cost=float(best_cost[row]),
                regret=float(regret[row]),
            )
            for row in worst
        ),
    )


def _price(outcomes: Outcomes, budget: float) -> float:
    """Quality that one more $ buys the oracle at this mean cost; 0 where it has bought all."""
    upgrades = Upgrades.of(outcomes.cost, outcomes.quality)
    corners = upgrades.frontier(np.ones(len(outcomes))).cost
    place = int(np.searchsorted(corners, max(budget, corners[0]), side="right")) - 1
    if place >= len(upgrades.query):
        return 0.0
    return float(upgrades.extra_quality[place] / upgrades.extra_cost[place])


def _cheapest_best(worth: Floats, cost: Floats) -> int:
    """Column of the largest worth [A]; of equals, the cheapest."""
    equal = np.flatnonzero(worth >= worth.max() - 1e-12)
    return int(equal[cost[equal].argmin()])
