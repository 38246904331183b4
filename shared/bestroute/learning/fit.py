"""From a scored samples table to a router that can be used: train, calibrate, evaluate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from bestroute.cost import CostModel
from bestroute.engine import BestRoute
from bestroute.errors import ConfigError
from bestroute.learning.beliefs.train import learn
from bestroute.learning.calibration.calibrate import Calibration, calibrate, pick_setting
from bestroute.learning.calibration.sequence import sequence
from bestroute.learning.evaluation.assess import Assessment, assess
from bestroute.learning.evaluation.evaluate import Evaluation
from bestroute.learning.evaluation.methods import Bench
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.progress import Progress, silent
from bestroute.learning.selection_rule import selection_of
from bestroute.learning.training.by_name import (
    ENSEMBLE,
    MULTI_HEAD,
    ROUTERS,
    Probabilities,
    train_by_name,
)
from bestroute.policy import Adaptive, EarlyStop, OneShot, Policy, Utility
from bestroute.policy.threshold import ALWAYS_REFERENCE
from bestroute.pool import ModelPool
from bestroute.rewards.base import RewardModel
from bestroute.rewards.consistency import SelfConsistency
from bestroute.routers.encoder import Encoder
from bestroute.routers.static import StaticEncoder
from bestroute.target import thresholded

if TYPE_CHECKING:
    import pyarrow as pa

PolicyName = Literal["threshold", "utility", "early-stop", "adaptive"]
"""The paper's rule; predicted quality x worth - estimated cost; or one that looks at samples."""

_ROUNDING = 1e-9
"""A mean of ones can be a hair above 1."""


@dataclass(frozen=True)
class Fitted:
    """A trained engine and what is known of it.

    Attributes:
        engine: Ready to route.
        calibration: How its threshold, or its worth, was picked.
        assessment: What it did on the test split, beside the baselines.
        outcomes: Labels, qualities and costs of every query and arm.
    """

    engine: BestRoute
    calibration: Calibration
    assessment: Assessment
    outcomes: Outcomes

    @property
    def evaluation(self) -> Evaluation:
        """What it did at its threshold."""
        return self.assessment.evaluation

    @property
    def drops(self) -> str:
        """The drop that calibration saw beside the one of the test split, in words."""
        return (
            f"Drop against always-reference at {self.calibration.setting}: "
            f"{self.calibration.drop:.1%} on the {self.calibration.n_queries} calibration "
            f"queries, {self.evaluation.drop or 0.0:.1%} on the {self.evaluation.n_queries} "
            "test queries."
        )

    @property
    def idle(self) -> str | None:
        """That it never leaves the reference on the test split, in words; `None` if it does."""
        reference = str(self.engine.pool.reference_arm)
        if self.evaluation.arm_shares.keys() != {reference}:
            return None
        return (
            f"This router saves nothing: at {self.calibration.setting} it asks {reference}, the "
            f"reference, for each of the {self.evaluation.n_queries} test queries. Allow a larger "
            "max_drop, give more prompts, or a pool whose models come closer to the reference."
        )


def fit(
    table: pa.Table,
    pool: ModelPool,
    *,
    router: str = MULTI_HEAD,
    encoder: Encoder | None = None,
    reward: RewardModel | None = None,
    probabilities: Probabilities = "as-trained",
    monotone: bool = False,
    policy: PolicyName = "threshold",
    max_waves: int | None = None,
    max_drop: float = 0.02,
    baselines: Sequence[str] = ("knn",),
    seed: int = 0,
    progress: Progress | None = None,
) -> Fitted:
    """Train on the train split, pick the setting on calibration, evaluate on test.

    The calibration split also gives the table of thresholds that callers may ask for by
    promised drop and by cost.

    Args:
        table: A scored samples table with the three splits.
        pool: Its models; the reference among them.
        router: One of `ROUTERS`; `ensemble` is the mean of the multi-head router and kNN.
        encoder: What reads the queries; by default the static one.
        reward: What selects at run time: self-consistency, or a model whose scores are the
            table's proxy scores.
        probabilities: How match probabilities are calibrated.
        monotone: Make predictions not fall in n.
        policy: The paper's threshold; the utility of predicted quality; `early-stop`, the
            paper's choice drawn only until the majority is settled; or `adaptive`, which decides
            again after each wave of samples. What callers ask for by promised drop or by cost is
            a threshold of the last two, or else of the paper's.
        max_waves: Waves of samples of a request under the adaptive policy.
        max_drop: Largest relative drop against always-reference on the calibration split. A
            point estimate: it carries no promise for other queries.
        baselines: What the router is compared with; see `assess`.
        seed: Of the folds and of the bootstrap.
        progress: Told of every step.

    Raises:
        ConfigError: The router's name is unknown, or the options contradict each other.
        DataError: A split, a model, or a score is missing.
    """
    report = progress or silent
    check_options(
        router=router,
        probabilities=probabilities,
        monotone=monotone,
        policy=policy,
        max_waves=max_waves,
    )
    engine, outcomes = train(
        table,
        pool,
        router=router,
        encoder=encoder,
        reward=reward,
        probabilities=probabilities,
        monotone=monotone,
        policy=policy,
        max_waves=max_waves,
        seed=seed,
        progress=report,
    )
    picked = _calibrate(
        engine,
        table,
        outcomes,
        utility=policy == "utility",
        max_drop=max_drop,
        seed=seed,
        progress=report,
    )
    assessment = assess(
        engine, table, outcomes=outcomes, baselines=baselines, seed=seed, progress=report
    )
    return Fitted(engine, picked, assessment, outcomes)


def _calibrate(
    engine: BestRoute,
    table: pa.Table,
    outcomes: Outcomes,
    *,
    utility: bool,
    max_drop: float,
    seed: int,
    progress: Progress,
) -> Calibration:
    """Give the engine its table and its setting, from the calibration split."""
    router, family = engine.router, thresholded(engine.policy)
    assert router is not None
    bench = Bench(
        outcomes.select("calibration"),
        engine.cost_model,
        table=table,
        pool=engine.pool,
        selection=selection_of(engine.reward),
        seed=seed,
    )
    curve = sequence(family, router, bench, progress=lambda a, b: progress("replay", a, b))
    engine.calibration = calibrate(
        curve, policy=family.family, score_range=_score_range(outcomes), seed=seed
    )
    if utility:
        picked = pick_setting(bench.utility(router), bench.test, max_drop=max_drop, knob="worth")
        engine.policy = Utility(picked.threshold)
        return picked
    if isinstance(family, OneShot) and not family.looks:
        curve = bench.router(router)  # finer: it is no promise
    picked = pick_setting(curve, bench.test, max_drop=max_drop)
    engine.policy = family.at(picked.threshold, calibrated=True)
    return picked


def train(
    table: pa.Table,
    pool: ModelPool,
    *,
    router: str = MULTI_HEAD,
    encoder: Encoder | None = None,
    reward: RewardModel | None = None,
    probabilities: Probabilities = "as-trained",
    monotone: bool = False,
    fine_tuned: str | Path | None = None,
    epochs: int = 5,
    policy: PolicyName = "threshold",
    max_waves: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[BestRoute, Outcomes]:
    """Train a router on the train split; until it is calibrated it asks the reference.

    Args:
        table: As in `fit`, which also says what is raised.
        pool: As in `fit`.
        router: As in `fit`.
        encoder: As in `fit`.
        reward: As in `fit`.
        probabilities: As in `fit`.
        monotone: As in `fit`.
        fine_tuned: Folder for the encoder, which is then trained with the heads (`fine_tune`).
        epochs: Passes over the queries when it is.
        policy: `adaptive` also learns what samples say, from routers trained on parts of the
            queries (with the encoder as it was, where it is trained). Others learn nothing.
        max_waves: As in `fit`.
        seed: As in `fit`.
        progress: As in `fit`.

    Returns:
        The engine, and the outcomes of the whole table.
    """
    report = progress or silent
    check_options(
        router=router,
        probabilities=probabilities,
        monotone=monotone,
        fine_tuned=fine_tuned is not None,
        policy=policy,
        max_waves=max_waves,
    )
    reward = reward or SelfConsistency()
    outcomes = Outcomes.from_samples(
        table, pool, progress=lambda a, b: report("labels", a, b), **selection_of(reward)
    )
    seen = outcomes.select("train")
    fresh = partial(
        train_by_name,
        router=router,
        table=table,
        encoder=encoder or StaticEncoder(),
        probabilities=probabilities,
        monotone=monotone,
        seed=seed,
    )
    trained = fresh(seen, fine_tuned=fine_tuned, epochs=epochs, progress=report)
    decides: Policy = OneShot(ALWAYS_REFERENCE)
    if policy == "early-stop":
        decides = EarlyStop(ALWAYS_REFERENCE)
    if policy == "adaptive":
        belief = learn(
            table,
            pool,
            seen,
            fresh,
            selection=selection_of(reward),
            seed=seed,
            progress=lambda a, b: report("beliefs", a, b),
        )
        decides = Adaptive(ALWAYS_REFERENCE, belief, max_waves=max_waves)
    engine = BestRoute(
        pool,
        router=trained,
        policy=decides,
        reward=reward,
        cost_model=CostModel(pool, outcomes.token_stats("train")),
        label_sampling=label_sampling(table),
    )
    return engine, outcomes


def check_options(
    *,
    router: str = MULTI_HEAD,
    probabilities: str = "as-trained",
    monotone: bool = False,
    policy: str = "threshold",
    max_waves: int | None = None,
    fine_tuned: bool = False,
    max_drop: float = 0.0,
    **others: Any,
) -> None:
    """Whether options of `fit` make sense, before anything is paid; those named here are looked at.

    Raises:
        ConfigError: A name is unknown, or the options contradict each other.
    """
    named = (
        ("router", router, ROUTERS),
        ("probabilities", probabilities, get_args(Probabilities)),
        ("policy", policy, get_args(PolicyName)),
    )
    for what, name, known in named:
        if name not in known:
            raise ConfigError(f"unknown {what} {name!r}; known: {', '.join(known)}")
    if not 0 <= max_drop <= 1:
        raise ConfigError(f"max_drop is {max_drop}; expected a share in [0, 1], such as 0.02")
    if max_waves is not None and (max_waves < 1 or policy != "adaptive"):
        raise ConfigError(f"max_waves is {max_waves}; expected at least 1, of the adaptive policy")
    if router not in (MULTI_HEAD, ENSEMBLE) and (
        monotone or fine_tuned or probabilities != "as-trained"
    ):
        raise ConfigError(
            "an order in n, calibrated probabilities and fine-tuning need the multi-head router"
        )


def label_sampling(table: pa.Table) -> dict[str, dict[str, Any]]:
    """Sampling parameters that all samples of a model share, by model."""
    if "sampling" not in table.column_names:
        return {}
    shared: dict[str, dict[str, Any]] = {}
    for pair in table.group_by(["model", "sampling"]).aggregate([]).to_pylist():
        params = json.loads(pair["sampling"] or "{}")
        common = shared.setdefault(pair["model"], params)
        shared[pair["model"]] = {k: v for k, v in common.items() if params.get(k) == v}
    return shared


def _score_range(outcomes: Outcomes) -> tuple[float, float]:
    """[0, 1], or where scores leave it, the range of the train split: not of what is tested."""
    if outcomes.quality.min() >= -_ROUNDING and outcomes.quality.max() <= 1 + _ROUNDING:
        return 0.0, 1.0
    seen = outcomes.select("train").quality
    return float(seen.min()), float(seen.max())
