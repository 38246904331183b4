"""Variants of the router, compared by cross-validation on the train split alone.

`python -m tests.benchmarks.variants mot-date`: what defaults are chosen by. No test query is read.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor

from bestroute.cost import CostModel
from bestroute.learning.baselines import TRAINERS
from bestroute.learning.evaluation.compare import compare
from bestroute.learning.evaluation.curves import Curve, sweep
from bestroute.learning.evaluation.methods import utility_curve
from bestroute.learning.evaluation.report import comparison_markdown
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.training.folds import held_out_folds
from bestroute.learning.training.train import train_router, with_isotonic
from bestroute.rewards.answers import extract_answer
from bestroute.routers import Encoder, Prediction, Router, StaticEncoder, TransformerEncoder
from bestroute.routers.base import Floats
from bestroute.routers.heads import raw_inputs
from tests.benchmarks.recorded import SETS, load

Train = Callable[[Outcomes], Router]


class Boosted:
    """Gradient boosting on the surface features and the embedding: tried, not shipped."""

    def __init__(self, seen: Outcomes, encoder: Encoder) -> None:
        self.arms, self._encoder = seen.arms, encoder
        inputs = raw_inputs(seen.queries, encoder)
        self._match = [_boost(inputs, column) for column in seen.match.T]
        self._quality = [_boost(inputs, column) for column in seen.quality.T]

    def predict(self, queries: Sequence[str]) -> Prediction:
        """Match and quality, each arm by a model of its own."""
        inputs = raw_inputs(queries, self._encoder)
        match = np.column_stack([model(inputs) for model in self._match]).clip(0, 1)
        quality = np.column_stack([model(inputs) for model in self._quality])
        return Prediction(self.arms, match, None, quality)


def _boost(inputs: Floats, labels: Floats) -> Callable[[Floats], Floats]:
    if np.ptp(labels) == 0:
        return lambda unseen: np.full(len(unseen), labels[0])
    model = GradientBoostingRegressor(
        n_estimators=60, max_depth=2, subsample=0.7, max_features=40, random_state=0
    )
    return model.fit(inputs, labels).predict


def multi_head(encoder: Encoder, **options) -> Train:
    def train(seen: Outcomes) -> Router:
        return train_router(
            seen.queries,
            seen.match,
            seen.arms,
            seen.reference.model,
            encoder=encoder,
            output_tokens=seen.output_tokens,
            quality=seen.quality,
            **options,
        )

    return train


def variants(encoder: Encoder) -> dict[str, Train]:
    """What is compared."""
    plain = multi_head(encoder)
    return {
        "multi-head": plain,
        "multi-head, temperature": multi_head(encoder, temperature=True),
        "multi-head, isotonic": lambda seen: with_isotonic(plain(seen), seen.queries, seen.match),
        "multi-head, monotone": multi_head(encoder, monotone=True),
        "knn": lambda seen: TRAINERS["knn"](seen, encoder=encoder),
        "gradient boosting": lambda seen: Boosted(seen, encoder),
    }


def main(names: list[str], encoder: Encoder) -> None:
    """Print one table a data set."""
    for name in names:
        recorded = load(name)
        outcomes = Outcomes.from_samples(
            recorded.table, recorded.pool, agreement=extract_answer
        ).select("train")
        curves = {}
        predictions = {
            label: _unseen(outcomes, train) for label, train in variants(encoder).items()
        }
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=list(SETS))
    parser.add_argument("--encoder", help="a HuggingFace encoder's folder; default static")
    asked = parser.parse_args()
    chosen = TransformerEncoder(asked.encoder) if asked.encoder else StaticEncoder()
    main(asked.names, chosen)
