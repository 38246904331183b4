"""The assessment of an engine: at its own setting, along its whole curve, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bestroute.cost import CostModel
from bestroute.engine import BestRoute
from bestroute.errors import ConfigError, DataError, RouterNotTrained
from bestroute.learning.evaluation.compare import Comparison, compare
from bestroute.learning.evaluation.curves import Curve, decide
from bestroute.learning.evaluation.evaluate import Evaluation, evaluate_choice
from bestroute.learning.evaluation.methods import Bench, known_baselines, with_reward_cost
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.progress import Progress, silent
from bestroute.learning.selection_rule import selection_of
from bestroute.learning.training.probabilities import Reliability, reliability
from bestroute.learning.training.train import train_router
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
        comparison: The whole curve of the router, of baselines, random mix and oracle.
        tasks: At the engine's own setting, task by task; tasks of fewer than 10 queries are
            left out.
        reliability: Predicted match probabilities beside the exact ones.
        transfer: Trained on all other tasks and tested on this one, task by task.
        left_out: Baselines that could not be had, and why.
    """

    model_config = ConfigDict(frozen=True)

    evaluation: Evaluation
    comparison: Comparison
    tasks: dict[str, Evaluation] = {}
    reliability: Reliability
    transfer: dict[str, Comparison] = {}
    left_out: dict[str, str] = {}


def assess(
    engine: BestRoute,
    table: pa.Table,
    *,
    outcomes: Outcomes | None = None,
    baselines: Sequence[str] = ("knn",),
    transfer: bool = False,
    reward_price: float = 0.0,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Assessment:
    """Evaluate an engine on the test split of a scored samples table.

    Decided on estimated costs, charged the realised ones, with the engine's own router, policy,
    prices and way of selecting.

    Args:
        engine: An engine with a trained router.
        table: Scored samples table; baselines that are learnt train on its train split.
        outcomes: Those of the table, where they are at hand.
        baselines: Names of `methods.BASELINES`; those that have too little to learn from are
            left out, and the assessment says why.
        transfer: Train a multi-head router on all but one task, test on that one.
        reward_price: $ per 1M tokens that the reward model reads, charged to best-of-n.
        resamples: Bootstrap resamples.
        seed: Of everything that is random.
        progress: Told of every step.

    Raises:
        RouterNotTrained: The engine has no router.
        ConfigError: Its policy is none that decides once, or a baseline's name is unknown.
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
    )
    prediction = engine.router.predict(test.queries)
    choice, threshold = _choose(engine, prediction, test)
    names = known_baselines(baselines)
    curves, left_out = _curves(bench, engine.router, prediction, names, report)
    headed = [i for i in range(len(test.arms)) if i != test.reference_index]
    return Assessment(
        evaluation=evaluate_choice(
            test,
            choice,
            threshold=threshold,
            resamples=resamples,
            seed=seed,
            progress=lambda a, b: report("evaluation", a, b),
        ),
        comparison=compare(
            test,
            curves,
            resamples=resamples,
            seed=seed,
            progress=lambda a, b: report("comparison", a, b),
        ),
        tasks={
            task: evaluate_choice(test.take(rows), choice[rows], resamples=resamples, seed=seed)
            for task, rows in _tasks(test).items()
        },
        reliability=reliability(prediction.match[:, headed], test.match[:, headed]),
        left_out=left_out,
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


def _choose(
    engine: BestRoute, prediction: Prediction, test: Outcomes
) -> tuple[NDArray[np.intp], float | None]:
    """Column of the arm that the engine's policy chooses [Q], and its threshold."""
    estimated = test.estimated_costs(engine.cost_model, prediction)
    if isinstance(engine.policy, OneShot):
        _, (choice,) = decide(prediction.match, estimated, test, [engine.policy.threshold])
        return choice, engine.policy.threshold
    if not isinstance(engine.policy, Utility):
        raise ConfigError(f"the policy {engine.policy.name!r} does not decide once")
    values = prediction.match if prediction.quality is None else prediction.quality
    worth = engine.policy.dollars_per_quality
    return choose_by_utility(values, estimated, test.reference_index, worth), None


def _curves(
    bench: Bench,
    router: Router,
    prediction: Prediction,
    baselines: Sequence[str],
    report: Progress,
) -> tuple[dict[str, Curve], dict[str, str]]:
    """Curves by name, and the baselines that could not be had, with the reason."""
    left_out: dict[str, str] = {}
    curves = {ROUTER: bench.router(router)}
    if prediction.quality is not None:
        curves[UTILITY] = bench.utility(router)
    for done, name in enumerate(baselines, start=1):
        try:
            if name != "cascade" and bench.train is None:
                raise DataError("there is no train split to learn it from")
            curves |= bench.baseline(name, encoder_of(router))
        except (ConfigError, DataError) as error:  # the others can be compared all the same
            left_out[name] = str(error)
        report("baselines", done, len(baselines))
    return curves, left_out


def _tasks(outcomes: Outcomes) -> dict[str, NDArray[np.intp]]:
    """Rows of every task that has enough of them; none when there is one task."""
    tasks = np.array(outcomes.tasks)
    rows = {str(task): np.flatnonzero(tasks == task) for task in np.unique(tasks)}
    return {
        task: found
        for task, found in rows.items()
        if len(rows) > 1 and len(found) >= _SMALLEST_TASK
    }
