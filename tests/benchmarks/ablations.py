"""What the adaptive policy's parts are worth: ablations on the train split alone.

Run by `python -m tests.benchmarks.adaptive NAME --train-only`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from bestroute.cost import CostModel
from bestroute.learning import sample_sets
from bestroute.learning.beliefs.episodes import Episodes, replay
from bestroute.learning.beliefs.train import held_out_match, train_belief
from bestroute.learning.bestofn import Floats
from bestroute.learning.evaluation.compare import compare
from bestroute.learning.evaluation.curves import Curve, sweep
from bestroute.learning.evaluation.methods import ADAPTIVE_THRESHOLDS, Bench
from bestroute.learning.evaluation.report import comparison_markdown
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.training.folds import held_out_folds
from bestroute.policy import State
from bestroute.policy.adaptive import Adaptive
from bestroute.policy.belief import FEATURES, Belief
from bestroute.policy.threshold import ALWAYS_REFERENCE
from bestroute.rewards.answers import extract_answer
from bestroute.routers import Prediction, Router, StaticEncoder
from tests.benchmarks.recorded import Recorded, load
from tests.benchmarks.variants import Train, multi_head

SELECTION: dict[str, Any] = {"agreement": extract_answer}
HIDDEN = [
    name for name in FEATURES if name not in ("agreement", "runner_up", "distinct", "similarity")
]
"""What there is to read where answers cannot be compared."""

_SIZES = (50, 100, 300, 1000)
_ORDERS = 20
_ONE_SHOT = np.append(np.linspace(0, 1, 201), ALWAYS_REFERENCE)


def orders_of(outcomes: Outcomes) -> int:
    """Orders to learn from: one is all there is where no model has several samples."""
    return 40 if any(arm.n > 1 for arm in outcomes.arms) else 1


class Constant:
    """A prior that reads no query: the mean of every arm."""

    def __init__(self, seen: Outcomes) -> None:
        self.arms, self._mean = seen.arms, seen.match.mean(axis=0)

    def predict(self, queries: Sequence[str]) -> Prediction:
        """The same for all."""
        return Prediction(self.arms, np.tile(self._mean, (len(queries), 1)), None)


class Qualities:
    """A router whose word on every arm is its predicted quality: no match, the reference's too."""

    def __init__(self, router: Router) -> None:
        self.arms, self._router = router.arms, router

    def predict(self, queries: Sequence[str]) -> Prediction:
        """Qualities where match probabilities are looked for."""
        found = self._router.predict(queries)
        return replace(found, match=found.quality.clip(0, 1))


class ByQuality(Adaptive):
    """An answer is worth its expected quality, the reference's what the router predicts of it."""

    def _reference_value(self, state: State) -> float:
        if self.threshold > 1:
            return math.inf  # or a better answer would be taken for certain
        return super()._reference_value(state) - 1 + state.match[state.reference]


def _never_wrong(recorded: Recorded) -> Recorded:
    """The same answers beside a reference that is always right: to match it is to be right."""
    table, score = recorded.table, "oracle_score"
    reference = pc.equal(table["model"], recorded.pool.reference.name)
    scores = pc.if_else(reference, 1.0, table[score])
    return replace(recorded, table=table.set_column(table.column_names.index(score), score, scores))


@dataclass(frozen=True)
class Fold:
    """What was learnt without some queries of the train split, and those queries."""

    out: NDArray[np.bool_]
    bench: Bench
    router: Router
    episodes: dict[str, Episodes]
    policy: type[Adaptive] = Adaptive

    @classmethod
    def of(
        cls,
        recorded: Recorded,
        outcomes: Outcomes,
        out: NDArray[np.bool_],
        trainer: Train,
        size: int | None = None,
    ) -> Fold:
        """Train on the others, or on so many of them."""
        others = np.flatnonzero(~out)
        if size is not None:
            others = np.sort(np.random.default_rng(0).permutation(others)[:size])
        seen = outcomes.take(others)
        bench = Bench(
            test=outcomes.take(np.flatnonzero(out)),
            cost_model=CostModel(recorded.pool, seen.token_stats("train")),
            train=seen,
            table=recorded.table,
            pool=recorded.pool,
            selection=SELECTION,
        )
        prior = held_out_match(seen, trainer)
        episodes = replay(
            recorded.table,
            recorded.pool,
            seen,
            prior,
            selection=SELECTION,
            permutations=orders_of(seen),
        )
        return cls(out, bench, trainer(seen), episodes)

    @classmethod
    def by_quality(
        cls, recorded: Recorded, outcomes: Outcomes, out: NDArray[np.bool_], trainer: Train
    ) -> Fold:
        """Of expected quality where the others are of matches; scores are 0 or 1."""
        fold = cls.of(_never_wrong(recorded), outcomes, out, lambda seen: Qualities(trainer(seen)))
        judged = replace(fold.bench, table=recorded.table)
        return replace(fold, bench=judged, policy=ByQuality)

    def adaptive(self, use: Sequence[str]) -> Curve:
        """Of the queries left out, reading these features only."""
        models = {name: train_belief(each, use=use) for name, each in self.episodes.items()}
        seen = self.bench.train
        belief = Belief(models, float(seen.cost[:, seen.reference_index].mean()))
        return self.bench.replays(
            lambda threshold: self.policy(threshold, belief),
            self.router,
            thresholds=ADAPTIVE_THRESHOLDS,
            permutations=_ORDERS,
        )

    def one_shot(self) -> Curve:
        """At thresholds that all folds share."""
        prediction = self.router.predict(self.bench.test.queries)
        costs = self.bench.test.estimated_costs(self.bench.cost_model, prediction)
        return sweep(prediction.match, costs, self.bench.test, _ONE_SHOT)


def ablations(name: str) -> str:
    """Without each feature, without a prior, by quality, from few queries: on queries left out."""
    recorded = load(name)
    outcomes = Outcomes.from_samples(recorded.table, recorded.pool, **SELECTION).select("train")
    masks = held_out_folds(len(outcomes))
    trainer = multi_head(StaticEncoder())
    folds = [Fold.of(recorded, outcomes, out, trainer) for out in masks]
    curves = {"one-shot": _one_shot(folds), "adaptive": _adaptive(folds)}
    for feature in _evident(folds):
        use = [each for each in FEATURES if each != feature]
        curves[f"without {feature}"] = _adaptive(folds, use)
    curves["prior only: samples not looked at"] = _adaptive(folds, ("prior",))
    curves["constant prior: query not read"] = _adaptive(
        [Fold.of(recorded, outcomes, out, Constant) for out in masks]
    )
    if set(recorded.table["oracle_score"].unique().to_pylist()) <= {0.0, 1.0}:
        curves["expected quality, not a match"] = _adaptive(
            [Fold.by_quality(recorded, outcomes, out, trainer) for out in masks]
        )
    curves["answers hidden"] = _adaptive(folds, HIDDEN)
    with patch.object(sample_sets, "is_open", return_value=True):
        texts = [Fold.of(recorded, outcomes, out, trainer) for out in masks]
        curves["answers hidden, texts compared"] = _adaptive(texts, (*HIDDEN, "similarity"))
    fewest = min(int((~out).sum()) for out in masks)
    for size in [size for size in _SIZES if size < fewest]:
        few = [Fold.of(recorded, outcomes, out, trainer, size) for out in masks]
        curves[f"from {size} queries"] = _adaptive(few)
        curves[f"one-shot from {size} queries"] = _one_shot(few)
    return "\n\n".join(
        [
            f"### {name}: {len(outcomes)} train queries, five folds ({fewest} to learn from)",
            f"```bash\npython -m tests.benchmarks.adaptive {name} --train-only\n```",
            comparison_markdown(compare(outcomes, curves)),
        ]
    )


def _evident(folds: Sequence[Fold]) -> list[str]:
    """The features that some samples have."""
    seen = [each.seen for fold in folds for each in fold.episodes.values()]
    known = np.any([np.isfinite(each).any(axis=(0, 1, 2)) for each in seen], axis=0)
    return [name for name, there in zip(FEATURES, known, strict=True) if there]


def _adaptive(folds: Sequence[Fold], use: Sequence[str] = FEATURES) -> Curve:
    return _joined(folds, [fold.adaptive(use) for fold in folds])


def _one_shot(folds: Sequence[Fold]) -> Curve:
    return _joined(folds, [fold.one_shot() for fold in folds])


def _joined(folds: Sequence[Fold], parts: Sequence[Curve]) -> Curve:
    """One curve of all queries, each from the fold that it was left out of."""

    thresholds = parts[0].thresholds

    def join(arrays: Iterable[Floats | None]) -> Floats:
        whole = np.empty((len(thresholds), len(folds[0].out)))
        for fold, part in zip(folds, arrays, strict=True):
            whole[:, fold.out] = part
        return whole

    errors = [part.error for part in parts if part.error is not None]
    return Curve(
        thresholds,
        join(part.costs for part in parts),
        join(part.qualities for part in parts),
        np.sqrt(np.mean(np.square(errors), axis=0) / len(errors)) if errors else None,
        waves=join(part.waves for part in parts),
        tokens=join(part.tokens for part in parts),
    )
