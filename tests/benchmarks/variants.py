"""Variants of the router, compared by cross-validation on the train split alone.

`python -m tests.benchmarks.variants mot-date`: what defaults are chosen by. No test query is read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import numpy as np

from bestroute.cost import CostModel
from bestroute.learning.baselines import TRAINERS
from bestroute.learning.compare import compare
from bestroute.learning.curves import Curve, sweep
from bestroute.learning.folds import held_out_folds
from bestroute.learning.methods import utility_curve
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.report import comparison_markdown
from bestroute.learning.train import train_router, with_isotonic
from bestroute.rewards.answers import extract_answer
from bestroute.routers import Prediction, Router, StaticEncoder
from tests.benchmarks.recorded import load

ENCODER = StaticEncoder()
Train = Callable[[Outcomes], Router]


def multi_head(**options) -> Train:
    def train(seen: Outcomes) -> Router:
        return train_router(
            seen.queries,
            seen.match,
            seen.arms,
            seen.reference.model,
            encoder=ENCODER,
            output_tokens=seen.output_tokens,
            quality=seen.quality,
            **options,
        )

    return train


def isotonic(seen: Outcomes) -> Router:
    return with_isotonic(multi_head()(seen), seen.queries, seen.match)


VARIANTS: dict[str, Train] = {
    "multi-head": multi_head(),
    "multi-head, temperature": multi_head(temperature=True),
    "multi-head, isotonic": isotonic,
    "multi-head, monotone": multi_head(monotone=True),
    "knn": lambda seen: TRAINERS["knn"](seen, encoder=ENCODER),
}


def main(names: list[str]) -> None:
    for name in names:
        recorded = load(name)
        outcomes = Outcomes.from_samples(
            recorded.table, recorded.pool, agreement=extract_answer
        ).select("train")
        curves = {}
        predictions = {label: _unseen(outcomes, train) for label, train in VARIANTS.items()}
        predictions["mean of multi-head and knn"] = _mean(
            predictions["multi-head"], predictions["knn"]
        )
        for label, predicted in predictions.items():
            costs = outcomes.estimated_costs(
                CostModel(recorded.pool, outcomes.token_stats("train")), predicted
            )
            curves[label] = sweep(predicted.match, costs, outcomes)
            if predicted.quality is not None:
                curves[f"{label}, utility"] = utility_curve(predicted.quality, costs, outcomes)
        _show(name, outcomes, curves)


def _unseen(outcomes: Outcomes, train: Train) -> Prediction:
    """Predictions for each query of a router that was trained without its fold."""
    shape = (len(outcomes), len(outcomes.arms))
    match, tokens, quality = np.ones(shape), np.full(shape, np.nan), np.full(shape, np.nan)
    for out in held_out_folds(len(outcomes)):
        router = train(outcomes.take(np.flatnonzero(~out)))
        found = router.predict([outcomes.queries[row] for row in np.flatnonzero(out)])
        match[out] = found.match
        if found.output_tokens is not None:
            tokens[out] = found.output_tokens
        if found.quality is not None:
            quality[out] = found.quality
    whole = None if np.isnan(quality).any() else quality
    return Prediction(outcomes.arms, match, tokens, whole)


def _mean(one: Prediction, other: Prediction) -> Prediction:
    quality = None
    if one.quality is not None and other.quality is not None:
        quality = (one.quality + other.quality) / 2
    return Prediction(one.arms, (one.match + other.match) / 2, one.output_tokens, quality)


def _show(name: str, outcomes: Outcomes, curves: dict[str, Curve]) -> None:
    sys.stdout.write(f"\n## {name}: {len(outcomes)} train queries, five folds\n\n")
    sys.stdout.write(comparison_markdown(compare(outcomes, curves, resamples=200)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or ["demo"])
