"""Every method of the papers as a curve: what the evaluation compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bestroute.cost import CostModel
from bestroute.errors import ConfigError
from bestroute.learning.baselines import TRAINERS
from bestroute.learning.bestofn import Floats
from bestroute.learning.evaluation.curves import Curve, Upgrades, sweep
from bestroute.learning.evaluation.replay import Replay, Replayed
from bestroute.learning.outcomes import Outcomes
from bestroute.policy import Cascade, Policy
from bestroute.policy.adaptive import Adaptive
from bestroute.policy.belief import Belief
from bestroute.policy.early_stop import EarlyStop
from bestroute.policy.threshold import ALWAYS_REFERENCE
from bestroute.policy.utility import choose_by_utility
from bestroute.pool import ModelPool
from bestroute.routers.base import Prediction, Router
from bestroute.routers.encoder import Encoder

if TYPE_CHECKING:
    import pyarrow as pa

CASCADES = (3, 5, 10)
"""Samples that the cascades draw before they look; those that the pool allows are played."""

BASELINES: tuple[str, ...] = (*TRAINERS, "cascade")
"""Names of the methods that can stand beside a router."""

ADAPTIVE_THRESHOLDS: tuple[float, ...] = (
    *(0.0, 0.2, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9),
    *(0.93, 0.95, 0.97, 0.98, 0.99, 0.995, ALWAYS_REFERENCE),
)

_WORTHS = 201
_STOPS = 24
"""Thresholds that early stopping is replayed at."""


@dataclass(frozen=True)
class Bench:
    """What methods are tried on: the same queries, prices and selection for all.

    Attributes:
        test: Outcomes of queries that no method was trained on.
        cost_model: Prices, and token statistics of the training split.
        train: Outcomes of the training split; only baselines that are learnt need it.
        table: The samples table; the cascade replays it.
        pool: The model pool; the cascade needs it.
        selection: How best-of-n selects: the arguments of `Outcomes.from_samples`.
        seed: Of everything that is random.
        reward_price: $ per token that the reward model reads, charged in replays;
            `with_reward_cost` charges it in outcomes.
    """

    test: Outcomes
    cost_model: CostModel
    train: Outcomes | None = None
    table: pa.Table | None = None
    pool: ModelPool | None = None
    selection: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    reward_price: float = 0.0

    def router(self, router: Router) -> Curve:
        """A router under the paper's rule, at every threshold."""
        prediction = router.predict(self.test.queries)
        return sweep(
            prediction.match, self.test.estimated_costs(self.cost_model, prediction), self.test
        )

    def utility(self, router: Router) -> Curve:
        """A router that predicts quality, under quality x worth - cost, at every worth.

        Raises:
            ConfigError: It predicts no quality.
        """
        prediction = router.predict(self.test.queries)
        if prediction.quality is None:
            raise ConfigError("the utility policy needs a router that predicts quality")
        costs = self.test.estimated_costs(self.cost_model, prediction)
        return utility_curve(prediction.quality, costs, self.test)

    def baseline(self, name: str, encoder: Encoder) -> dict[str, Curve]:
        """One of `BASELINES`, by the names of its curves; the cascade has one for each n.

        Raises:
            ConfigError: The name is unknown, or what the method needs is missing.
            DataError: There is too little to learn from.
        """
        if name == "cascade":
            return self.cascades()
        if name not in TRAINERS or self.train is None:
            raise ConfigError(f"cannot train {name!r}; known: {', '.join(BASELINES)}")
        router = TRAINERS[name](self.train, encoder=encoder, samples=self.table, seed=self.seed)
        return {name: self.router(router)}

    def adaptive(
        self,
        router: Router,
        belief: Belief,
        *,
        thresholds: Sequence[float] = ADAPTIVE_THRESHOLDS,
        permutations: int = 50,
        progress: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> Curve:
        """The adaptive policy on a router's match probabilities, replayed at every threshold.

        Args:
            router: What it reads first.
            belief: What it makes of the samples.
            thresholds: Ascending.
            permutations: Orders of the samples of each query.
            progress: Told of the number of thresholds done and of all.
            **options: Those of `Adaptive`.

        Raises:
            ConfigError: There is no table or no pool to replay.
        """
        return self.replays(
            lambda threshold: Adaptive(threshold, belief, **options),
            router,
            thresholds=thresholds,
            permutations=permutations,
            progress=progress,
        )

    def early_stop(
        self,
        router: Router,
        *,
        permutations: int = 50,
        progress: Callable[[int, int], None] | None = None,
    ) -> Curve:
        """The paper's choice as a cap, replayed at thresholds spread over those of its curve.

        Arguments and errors are those of `replays`.
        """
        every = self.router(router).thresholds
        some = np.unique(every[np.linspace(0, len(every) - 1, _STOPS).astype(int)])
        return self.replays(
            EarlyStop,
            router,
            thresholds=some.tolist(),
            permutations=permutations,
            progress=progress,
        )

    def replays(
        self,
        policy_at: Callable[[float], Policy],
        router: Router | None = None,
        *,
        thresholds: Sequence[float],
        permutations: int = 50,
        progress: Callable[[int, int], None] | None = None,
    ) -> Curve:
        """Any policy on a router's match probabilities, replayed at every threshold.

        Args:
            policy_at: Threshold -> the policy.
            router: What it reads first; `None` for one that needs none.
            thresholds: Ascending.
            permutations: Orders of the samples of each query.
            progress: Told of the number of thresholds done and of all.

        Raises:
            ConfigError: There is no table or no pool to replay.
        """
        prediction = None if router is None else router.predict(self.test.queries)
        played = []
        for threshold in thresholds:
            played.append(self.play(policy_at(threshold), prediction, permutations=permutations))
            if progress is not None:
                progress(len(played), len(thresholds))
        return Curve.of_replays(thresholds, played)

    def play(
        self,
        policy: Policy,
        prediction: Prediction | None,
        *,
        permutations: int = 100,
        progress: Callable[[int, int], None] | None = None,
    ) -> Replayed:
        """One policy on what a router predicts, replayed; arguments are those of `Replay.play`.

        Raises:
            ConfigError: There is no table or no pool to replay.
        """
        first, again = (
            self.test.estimated_costs(self.cost_model, prediction, again=again)
            for again in (False, True)
        )
        return self.replay.play(
            policy,
            first,
            again=again,
            match=None if prediction is None else prediction.match,
            permutations=permutations,
            seed=self.seed,
            progress=progress,
        )

    def clairvoyant(self, *, permutations: int = 50) -> Upgrades:
        """What one may choose from who knows every draw of the replayed orders.

        Raises:
            ConfigError: There is no table or no pool to replay.
        """
        return Upgrades.of_orders(*self.replay.arms(permutations=permutations, seed=self.seed))

    @cached_property
    def replay(self) -> Replay:
        """The recorded samples of these queries.

        Raises:
            ConfigError: There is no table or no pool to replay.
        """
        if self.table is None or self.pool is None:
            raise ConfigError("looking at samples is replayed: it needs the table and the pool")
        return Replay(
            self.table,
            self.pool,
            self.test,
            reward_price=self.reward_price,
            **self.selection,
        )

    def cascades(
        self, *, permutations: int = 100, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Curve]:
        """The model cascade on the samples' consistency, replayed at every agreement.

        None where the cheap models have one sample, or are kept by a proxy score.

        Raises:
            ConfigError: There is no table or no pool to replay.
        """
        if self.pool is None:
            raise ConfigError("the cascade replays samples: it needs the table and the pool")
        several = [m.max_samples for m in self.pool.models if not m.reference and m.max_samples > 1]
        if not several or "agreement" not in self.selection:
            return {}
        most = min(several)  # whichever of them is the cheapest, it has so many
        sizes = [n for n in CASCADES if n <= most] or [most]
        curves = {}
        for done, n in enumerate(sizes):
            curves[f"cascade-{n}"] = self.replays(
                partial(_cascade, n),
                thresholds=(np.arange(1, n + 1) / n).tolist(),
                permutations=permutations,
            )
            if progress is not None:
                progress(done + 1, len(sizes))
        return curves


def _cascade(n: int, agreement: float) -> Cascade:
    return Cascade(n=n, agreement=agreement)


def utility_curve(quality: Floats, costs: Floats, outcomes: Outcomes) -> Curve:
    """Predicted quality [Q, A] x worth - estimated cost [Q, A] in $, at every worth."""
    worths = _worths(costs)
    reference = outcomes.reference_index
    choices = np.array([choose_by_utility(quality, costs, reference, worth) for worth in worths])
    return Curve.of_choices(worths, choices, outcomes)


def with_reward_cost(outcomes: Outcomes, dollars_per_token: float) -> Outcomes:
    """Charge best-of-n for the reward model too: it reads every prompt and response once.

    Args:
        outcomes: What the arms were worth without.
        dollars_per_token: Price of what the reward model reads.
    """
    read = outcomes.prompt_tokens + outcomes.output_tokens
    samples = np.array([arm.n if arm.n > 1 else 0 for arm in outcomes.arms])
    return replace(outcomes, cost=outcomes.cost + dollars_per_token * samples * read)


def _worths(costs: Floats) -> Floats:
    """$ a unit of quality, from nothing to far more than any arm costs."""
    dearest = float(np.nanmax(costs)) or 1.0
    return np.array([0.0, *np.geomspace(dearest * 1e-4, dearest * 1e4, _WORTHS - 1)])


def known_baselines(names: Iterable[str]) -> tuple[str, ...]:
    """The names of baselines asked for; `all` stands for every one.

    Raises:
        ConfigError: A name is unknown.
    """
    wanted = tuple(names)
    if "all" in wanted:
        return BASELINES
    unknown = [name for name in wanted if name not in BASELINES]
    if unknown:
        raise ConfigError(f"unknown baseline {unknown[0]!r}; known: all, {', '.join(BASELINES)}")
    return wanted
