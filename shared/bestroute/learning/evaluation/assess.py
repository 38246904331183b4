"""The assessment of an engine: at its own setting, along its whole curve, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from bestroute.cost import CostModel
from bestroute.engine import BestRoute
from bestroute.errors import ConfigError, DataError, RouterNotTrained
from bestroute.learning.bestofn import Indices
from bestroute.learning.evaluation.compare import Comparison, compare
from bestroute.learning.evaluation.curves import Curve, decide
from bestroute.learning.evaluation.evaluate import Evaluation, evaluate_choice, evaluate_replay
from bestroute.learning.evaluation.methods import (
    ADAPTIVE_THRESHOLDS,
    Bench,
    known_baselines,
    with_reward_cost,
)
from bestroute.learning.evaluation.paths import Paths, Watched
from bestroute.learning.evaluation.regret import Regrets, regrets
from bestroute.learning.evaluation.replay import Replayed
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.progress import Progress, silent
from bestroute.learning.selection_rule import selection_of
from bestroute.learning.training.probabilities import Reliability, reliability
from bestroute.learning.training.train import train_router
from bestroute.policy.adaptive import Adaptive
from bestroute.policy.early_stop import EarlyStop
from bestroute.policy.oneshot import OneShot
from bestroute.policy.utility import Utility, choose_by_utility
from bestroute.routers.base import Prediction, Router
from bestroute.routers.encoder import Encoder
from bestroute.routers.static import StaticEncoder

if TYPE_CHECKING:
    import pyarrow as pa

ROUTER, UTILITY = "router", "utility"

_SMALLEST_TASK = 10


class Assessment(BaseModel):
    """What an engine is worth on queries that it was not trained on.

    Attributes:
        evaluation: At the engine's own setting, beside every fixed arm.
        comparison: The whole curve of the router, of baselines, random mix and oracle; of the
            engine's policy where that looks at samples, and of the clairvoyant, where any model
            may be sampled more than once.
        tasks: At the engine's own setting, task by task; tasks of fewer than 10 queries are
            left out.
        reliability: Predicted match probabilities beside the exact ones.
        transfer: Trained on all other tasks and tested on this one, task by task.
        left_out: Baselines that could not be had, and why.
        regrets: Where the engine errs at its own setting, task by task.
        paths: What its policy did after each wave, if it looks at samples.
    """

    model_config = ConfigDict(frozen=True)

    evaluation: Evaluation
    comparison: Comparison
    tasks: dict[str, Evaluation] = {}
    reliability: Reliability
    transfer: dict[str, Comparison] = {}
    left_out: dict[str, str] = {}
    regrets: Regrets
    paths: Paths | None = None


def assess(
    engine: BestRoute,
    table: pa.Table,
    *,
    outcomes: Outcomes | None = None,
    baselines: Sequence[str] = ("knn",),
    transfer: bool = False,
    reward_price: float = 0.0,
    resamples: int = 1000,
    examples: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Assessment:
    """Evaluate an engine on the test split of a scored samples table.

    Decided on estimated costs, charged the realised ones, with the engine's own router, policy,
    prices and way of selecting. Policies that look at samples are replayed in seeded random
    orders of each query's samples.

    Args:
        engine: An engine with a trained router.
        table: Scored samples table; baselines that are learnt train on its train split.
        outcomes: Those of the table, where they are at hand.
        baselines: Names of `methods.BASELINES`; those that have too little to learn from are
            left out, and the assessment says why. The cascade is there whenever the engine's
            policy looks at samples.
        transfer: Train a multi-head router on all but one task, test on that one.
        reward_price: $ per 1M tokens that the reward model reads, charged to best-of-n.
        resamples: Bootstrap resamples.
        examples: How many queries are told in words: those of the largest regret, and ways that
            requests took. None, where the assessment is to be shared.
        seed: Of everything that is random.
        progress: Told of every step.

    Raises:
        RouterNotTrained: The engine has no router.
        ConfigError: A baseline's name is unknown.
        DataError: There is no test split, or samples or scores are missing.
    """
    report = progress or silent
    selection = selection_of(engine.reward)
    if outcomes is None:
        outcomes = Outcomes.from_samples(
            table, engine.pool, progress=lambda a, b: report("outcomes", a, b), **selection
        )
    if reward_price:
        outcomes = with_reward_cost(outcomes, reward_price / 1e6)
    if engine.router is None:
        raise RouterNotTrained("there is no trained router to evaluate")
    test = outcomes.select("test")
    bench = Bench(
        test=test,
        cost_model=engine.cost_model,
        train=outcomes.select("train") if "train" in outcomes.splits else None,
        table=table,
        pool=engine.pool,
        selection=selection,
        seed=seed,
        reward_price=reward_price / 1e6,
    )
    prediction = engine.router.predict(test.queries)
    setting = _Setting.of(engine, bench, prediction, report)
    looks = ("cascade",) if getattr(engine.policy, "looks", True) else ()
    names = tuple(dict.fromkeys((*known_baselines(baselines), *looks)))
    curves, left_out = _curves(bench, engine, prediction, names, report)
    several = any(member.max_samples > 1 for member in engine.pool.models)
    headed = [i for i in range(len(test.arms)) if i != test.reference_index]
    return Assessment(
        evaluation=setting.evaluate(
            resamples=resamples,
            seed=seed,
            progress=lambda a, b: report("evaluation", a, b),
        ),
        comparison=compare(
            test,
            curves,
            clairvoyant=bench.clairvoyant() if several else None,
            resamples=resamples,
            seed=seed,
            progress=lambda a, b: report("comparison", a, b),
        ),
        tasks={
            task: setting.take(rows).evaluate(resamples=resamples, seed=seed)
            for task, rows in _tasks(test).items()
        },
        reliability=reliability(prediction.match[:, headed], test.match[:, headed]),
        left_out=left_out,
        regrets=setting.regrets(examples),
        paths=None if setting.watched is None else setting.watched.paths(examples=examples),
        transfer=transfers(outcomes, engine.cost_model, encoder_of(engine.router), seed=seed)
        if transfer
        else {},
    )


def transfers(
    outcomes: Outcomes, cost_model: CostModel, encoder: Encoder, *, seed: int = 0
) -> dict[str, Comparison]:
    """How a router does on a task that it never saw, for every task of the test split.

    Args:
        outcomes: With train and test splits of several tasks.
        cost_model: Prices; token statistics are learnt anew from the other tasks.
        encoder: What reads the queries.
        seed: Of folds and bootstrap.

    Raises:
        DataError: There are fewer than two tasks.
    """
    train, test = outcomes.select("train"), outcomes.select("test")
    found = {}
    for task, rows in _tasks(test).items():
        others = [row for row, each in enumerate(train.tasks) if each != task]
        if len(others) < 2:
            raise DataError("transfer needs queries of at least two tasks")
        seen = train.take(others)
        router = train_router(
            seen.queries,
            seen.match,
            seen.arms,
            seen.reference.model,
            encoder=encoder,
            output_tokens=seen.output_tokens,
            seed=seed,
        )
        prices = CostModel(cost_model.pool, seen.token_stats("train"))
        bench = Bench(test.take(rows), prices)
        found[task] = compare(bench.test, {ROUTER: bench.router(router)}, seed=seed)
    return found


def encoder_of(router: Router) -> Encoder:
    """The encoder that a router reads with, however deep it is wrapped; else the static one."""
    members = getattr(router, "routers", None) or (getattr(router, "router", None),)
    if (inner := members[0]) is not None:
        return encoder_of(inner)
    return getattr(router, "encoder", None) or StaticEncoder()


@dataclass(frozen=True)
class _Setting:
    """What the engine's policy did, at its own setting.

    Attributes:
        test: The queries.
        did: Column of the chosen arm [Q], or the replay of a policy that looks at samples.
        threshold: The policy's, if it has one.
        watched: The policy that looks at samples, and what it did.
    """

    test: Outcomes
    did: Indices | Replayed
    threshold: float | None
    watched: Watched | None = None

    @classmethod
    def of(
        cls, engine: BestRoute, bench: Bench, prediction: Prediction, report: Progress
    ) -> _Setting:
        """Ask the policy: once a query if that is what it does, else in many orders."""
        test, policy = bench.test, engine.policy
        estimated = test.estimated_costs(engine.cost_model, prediction)
        threshold = getattr(policy, "threshold", None)
        if isinstance(policy, Utility):
            values = prediction.match if prediction.quality is None else prediction.quality
            worth = policy.dollars_per_quality
            chosen = choose_by_utility(values, estimated, test.reference_index, worth)
            return cls(test, chosen, None)
        if isinstance(policy, OneShot) and not policy.looks:
            _, (choice,) = decide(prediction.match, estimated, test, [policy.threshold])
            return cls(test, choice, threshold)
        watched = Watched(policy)
        played = bench.play(watched, prediction, progress=lambda a, b: report("replay", a, b))
        return cls(test, played, threshold, watched)

    def take(self, rows: Indices) -> _Setting:
        """The same on some of the queries."""
        did = self.did.take(rows) if isinstance(self.did, Replayed) else self.did[rows]
        return _Setting(self.test.take(rows), did, self.threshold)

    def regrets(self, examples: int) -> Regrets:
        """Against the best arm of each query; of a replay, the arm that answers most often."""
        did, test = self.did, self.test
        if isinstance(did, Replayed):
            usual = np.array([np.bincount(row).argmax() for row in did.answered])
            return regrets(test, did.cost, did.quality, usual, examples=examples)
        rows = np.arange(len(test))
        cost, quality = test.cost[rows, did], test.quality[rows, did]
        return regrets(test, cost, quality, did, examples=examples)

    def evaluate(self, **options: Any) -> Evaluation:
        """Beside the baselines; options are those of `evaluate_choice`."""
        if isinstance(self.did, Replayed):
            return evaluate_replay(self.test, self.did, threshold=self.threshold, **options)
        return evaluate_choice(self.test, self.did, threshold=self.threshold, **options)


def _curves(
    bench: Bench,
    engine: BestRoute,
    prediction: Prediction,
    baselines: Sequence[str],
    report: Progress,
) -> tuple[dict[str, Curve], dict[str, str]]:
    """Curves by name, and the baselines that could not be had, with the reason."""
    router, policy = engine.router, engine.policy
    assert router is not None
    left_out: dict[str, str] = {}
    curves = {ROUTER: bench.router(router)}
    if prediction.quality is not None:
        curves[UTILITY] = bench.utility(router)
    if isinstance(policy, Adaptive):
        curves[policy.name] = bench.replays(
            policy.at,
            router,
            thresholds=ADAPTIVE_THRESHOLDS,
            progress=lambda a, b: report("replay", a, b),
        )
    if isinstance(policy, EarlyStop):
        curves[policy.name] = bench.early_stop(router, progress=lambda a, b: report("replay", a, b))
    for done, name in enumerate(baselines, start=1):
        try:
            if name != "cascade" and bench.train is None:
                raise DataError("there is no train split to learn it from")
            curves |= bench.baseline(name, encoder_of(router))
        except (ConfigError, DataError) as error:  # the others can be compared all the same
            left_out[name] = str(error)
        report("baselines", done, len(baselines))
    return curves, left_out


def _tasks(outcomes: Outcomes) -> dict[str, Indices]:
    """Rows of every task that has enough of them; none when there is one task."""
    tasks = np.array(outcomes.tasks)
    rows = {str(task): np.flatnonzero(tasks == task) for task in np.unique(tasks)}
    return {
        task: found
        for task, found in rows.items()
        if len(rows) > 1 and len(found) >= _SMALLEST_TASK
    }
