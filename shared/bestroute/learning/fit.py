"""From a samples table to a router that can be used: train, calibrate, evaluate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bestroute.cost import CostModel
from bestroute.engine import BestRoute
from bestroute.learning.calibrate import Calibration, pick_threshold
from bestroute.learning.evaluate import Evaluation, evaluate
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.train import train_router
from bestroute.policy import OneShot
from bestroute.pool import ModelPool
from bestroute.rewards.answers import extract_answer
from bestroute.rewards.consistency import SelfConsistency
from bestroute.routers.encoder import Encoder
from bestroute.routers.static import StaticEncoder

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""


@dataclass(frozen=True)
class Fitted:
    """A trained engine and what is known of it.

    Attributes:
        engine: Ready to route.
        calibration: How its threshold was picked.
        evaluation: What it did on the test split.
        outcomes: Labels, qualities and costs of every query and arm.
    """

    engine: BestRoute
    calibration: Calibration
    evaluation: Evaluation
    outcomes: Outcomes

    @property
    def drops(self) -> str:
        """The drop that calibration saw beside the one of the test split, in words."""
        reference = self.evaluation.row("always_reference").quality
        drop = 1 - self.evaluation.row("router").quality / reference if reference else 0.0
        return (
            f"Drop against always-reference at threshold {self.calibration.threshold:.3f}: "
            f"{self.calibration.drop:.1%} on the {self.calibration.n_queries} calibration "
            f"queries, {drop:.1%} on the {self.evaluation.n_queries} test queries."
        )


def fit(
    table: pa.Table,
    pool: ModelPool,
    *,
    encoder: Encoder | None = None,
    max_drop: float = 0.02,
    seed: int = 0,
    progress: Progress | None = None,
) -> Fitted:
    """Train on the train split, pick the threshold on calibration, evaluate on test.

    Best-of-n selects by self-consistency, so the labels need nothing but oracle scores.

    Args:
        table: A scored samples table with the three splits.
        pool: Its models; the reference among them.
        encoder: What reads the queries; by default the static one.
        max_drop: Largest relative drop against always-reference on the calibration split. A
            point estimate: it carries no promise for other queries.
        seed: Of the folds and of the bootstrap.
        progress: Told of every step.

    Raises:
        DataError: A split, a model, or a score is missing.
    """
    report = progress or _silent
    outcomes = Outcomes.from_samples(
        table, pool, agreement=extract_answer, progress=lambda a, b: report("labels", a, b)
    )
    train, held_out, test = (outcomes.select(s) for s in ("train", "calibration", "test"))
    router = train_router(
        train.queries,
        train.match,
        train.arms,
        train.reference.model,
        encoder=encoder or StaticEncoder(),
        output_tokens=train.output_tokens,
        seed=seed,
        progress=lambda a, b: report("training", a, b),
    )
    cost_model = CostModel(pool, outcomes.token_stats("train"))
    prediction = router.predict(held_out.queries)
    costs = held_out.estimated_costs(cost_model, prediction)
    calibration = pick_threshold(prediction.match, costs, held_out, max_drop=max_drop)
    prediction = router.predict(test.queries)
    evaluation = evaluate(
        prediction.match,
        test.estimated_costs(cost_model, prediction),
        test,
        threshold=calibration.threshold,
        seed=seed,
        progress=lambda a, b: report("evaluation", a, b),
    )
    engine = BestRoute(
        pool,
        router=router,
        policy=OneShot(calibration.threshold, calibrated=True),
        reward=SelfConsistency(),
        cost_model=cost_model,
        label_sampling=label_sampling(table),
    )
    return Fitted(engine, calibration, evaluation, outcomes)


def label_sampling(table: pa.Table) -> dict[str, dict[str, Any]]:
    """Sampling parameters that all samples of a model share, by model."""
    if "sampling" not in table.column_names:
        return {}
    shared: dict[str, dict[str, Any]] = {}
    pairs = table.group_by(["model", "sampling"]).aggregate([]).to_pylist()
    for pair in pairs:
        params = json.loads(pair["sampling"] or "{}")
        common = shared.setdefault(pair["model"], params)
        shared[pair["model"]] = {k: v for k, v in common.items() if params.get(k) == v}
    return shared


def _silent(step: str, done: int, total: int) -> None:
    """Report to nobody."""
