"""Training of the proxy reward model, which picks the best of n at run time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from bestroute._extras import require
from bestroute.errors import DataError
from bestroute.learning.progress import Progress, silent
from bestroute.learning.reward_training.pairs import Pair, preference_pairs
from bestroute.rewards.base import Scores
from bestroute.rewards.classifier import ClassifierReward
from bestroute.rewards.features import pair_features
from bestroute.rewards.static import StaticReward, standardise
from bestroute.routers.base import Floats
from bestroute.routers.encoder import Encoder
from bestroute.routers.static import StaticEncoder

if TYPE_CHECKING:
    import pyarrow as pa

L2_GRID: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Candidates for the light reward model's l2."""

_FOLDS = 5
_FEWEST = 10  # queries: with fewer, cross-validation compares nothing but noise
_FEATURE = "Training a reward model"


class RewardReport(BaseModel):
    """What a training did, measured on pairs that it did not see.

    Attributes:
        base: `static`, or the checkpoint that the training started from.
        pairs: Pairs trained on.
        held_out_pairs: Pairs measured on.
        accuracy_before: Share of the held-out pairs that the base ranked right, ties counting
            half; `None` without held-out pairs, or where there was no model before.
        accuracy_after: The same after training.
        seconds: Time that it took.
    """

    base: str
    pairs: int
    held_out_pairs: int
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    seconds: float


@dataclass(frozen=True)
class TrainedReward:
    """A reward model, saved in a folder, and the report on its training."""

    reward: StaticReward | ClassifierReward
    report: RewardReport


def train_reward(
    table: pa.Table,
    output: str | Path,
    *,
    base: str = "static",
    epochs: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> TrainedReward:
    """Train a proxy reward model on a scored samples table.

    The train split gives the pairs to learn from, the calibration split, where it gives any,
    those to measure on.

    Args:
        table: Samples table with oracle scores and splits.
        output: Folder of the reward model.
        base: `static` for the light one (`train_static_reward`), or a checkpoint's hub id or
            path (`train_classifier_reward`).
        epochs: Passes over the pairs; for a checkpoint only.
        seed: Of a checkpoint's training.
        progress: Told of every step.

    Raises:
        DataError: The table gives too few pairs.
        ConfigError: The checkpoint cannot be loaded.
    """
    pairs = preference_pairs(table, "train")
    try:
        held_out = preference_pairs(table, "calibration")
    except DataError:
        held_out = []
    if base == "static":
        return train_static_reward(pairs, output, held_out=held_out, progress=progress)
    return train_classifier_reward(
        pairs, base, output, held_out=held_out, epochs=epochs, seed=seed, progress=progress
    )


def train_static_reward(
    pairs: Sequence[Pair],
    output: str | Path,
    *,
    held_out: Sequence[Pair] = (),
    encoder: Encoder | None = None,
    progress: Progress | None = None,
) -> TrainedReward:
    """Train the light reward model: the same loss, linear, without torch.

    Minimises the mean of -log sigmoid(r_better - r_worse) plus l2 / 2 times the squared norm
    of the weights: a logistic regression without intercept on differences of features. Of
    `L2_GRID`, five-fold cross-validation by query takes the one of least loss.

    Args:
        pairs: Pairs to learn from.
        output: Folder of the reward model.
        held_out: Pairs to measure on.
        encoder: Embeds queries and responses; by default the static one.
        progress: Told of every step.

    Raises:
        DataError: Fewer than ten queries give pairs.
        MissingExtraError: The extra `train` is not installed.
    """
    started = time.monotonic()
    report = progress or silent
    queries = len({pair.query_id for pair in pairs})
    if queries < _FEWEST:
        raise DataError(f"{queries} queries give pairs; a reward model needs {_FEWEST} at least")
    encoder = encoder or StaticEncoder()
    report("features", 0, 1)
    better = pair_features([(pair.query, pair.better) for pair in pairs], encoder)
    worse = pair_features([(pair.query, pair.worse) for pair in pairs], encoder)
    report("features", 1, 1)
    centre, scale = _standards(np.concatenate([better, worse]), encoder.dimension)
    gaps = standardise(better, centre, scale) - standardise(worse, centre, scale)
    report("training", 0, 1)
    reward = StaticReward(encoder, centre, scale, _ranking_weights(gaps, pairs))
    reward.save_pretrained(output)
    report("training", 1, 1)
    return TrainedReward(
        reward,
        RewardReport(
            base="static",
            pairs=len(pairs),
            held_out_pairs=len(held_out),
            accuracy_after=ranking_accuracy(reward.score_many, held_out),
            seconds=time.monotonic() - started,
        ),
    )


def train_classifier_reward(
    pairs: Sequence[Pair],
    base: str | Path,
    output: str | Path,
    *,
    held_out: Sequence[Pair] = (),
    epochs: int = 5,
    learning_rate: float = 1.5e-5,
    max_tokens: int = 512,
    batch_size: int = 32,
    accumulation_steps: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> TrainedReward:
    """Train a sequence-classification model with the loss -log sigmoid(r_better - r_worse).

    The paper's recipe (arXiv 2506.22716) starts from OpenAssistant/reward-model-deberta-v3-
    large-v2; any encoder will do, a head is put on where it lacks one. The training reads pairs
    exactly as `ClassifierReward` does. A run that was cut short goes on from its last epoch
    when it is started again with the same arguments. `torchrun` and `accelerate launch` spread
    it over several GPUs.

    Args:
        pairs: Pairs to learn from.
        base: Hub id or path of a checkpoint; its weights must be safetensors.
        output: Folder of the reward model; checkpoints of the run lie in it until it is done.
        held_out: Pairs to measure on; they decide nothing.
        epochs: Passes over the pairs.
        learning_rate: At the start; it falls linearly to 0.
        max_tokens: Longest query and response that are read.
        batch_size: Pairs in one forward pass on one device.
        accumulation_steps: Forward passes per step of the optimiser (the reference
            implementation takes 16 of 32 pairs).
        seed: Equal seeds give equal models on equal hardware.
        progress: Told of every step.

    Raises:
        DataError: There are no pairs.
        ConfigError: The checkpoint cannot be loaded, or an option is out of range.
        MissingExtraError: The extra `torch` is not installed.
    """
    if not pairs:
        raise DataError("there are no pairs to train a reward model on")
    started = time.monotonic()
    require("accelerate", feature=_FEATURE, extra="torch")
    require("torch", feature=_FEATURE, extra="torch")
    from bestroute.learning.reward_training.pair_ranker import train_pair_ranker

    before, after = train_pair_ranker(
        pairs,
        held_out,
        str(base),
        Path(output),
        max_tokens=max_tokens,
        progress=progress or silent,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        accumulation_steps=accumulation_steps,
        seed=seed,
    )
    return TrainedReward(
        ClassifierReward(str(output), max_tokens=max_tokens),
        RewardReport(
            base=str(base),
            pairs=len(pairs),
            held_out_pairs=len(held_out),
            accuracy_before=before,
            accuracy_after=after,
            seconds=time.monotonic() - started,
        ),
    )


def ranking_accuracy(
    score_many: Callable[[Sequence[tuple[str, str]]], Scores], pairs: Sequence[Pair]
) -> float | None:
    """Share of pairs of which the better response scores higher, ties counting half.

    Args:
        score_many: Scores (query, response) pairs.
        pairs: Preference pairs; `None` is returned for none.
    """
    if not pairs:
        return None
    gaps = score_many([(pair.query, pair.better) for pair in pairs]) - score_many(
        [(pair.query, pair.worse) for pair in pairs]
    )
    return float(np.mean(0.5 * (1 + np.sign(gaps))))


def _standards(features: Floats, dimension: int) -> tuple[Floats, Floats]:
    """Centre and scale of features [n, D].

    Each of the two blocks of embeddings is scaled as a whole, its directions kept, to the total
    variance of the single features beside them: l2 then treats all three alike.
    """
    spread = features.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    single = features.shape[1] - 2 * dimension
    for block in (slice(0, dimension), slice(dimension, 2 * dimension)):
        total = float(np.sqrt((spread[block] ** 2).sum()))
        scale[block] = total / np.sqrt(single) if total > 1e-9 else 1.0
    return features.mean(axis=0), scale


def _ranking_weights(gaps: Floats, pairs: Sequence[Pair]) -> Floats:
    """Weights [D] of a linear RankNet on differences of features [pairs, D]."""
    linear = require("sklearn.linear_model", feature=_FEATURE, extra="train")
    metrics = require("sklearn.metrics", feature=_FEATURE, extra="train")
    selection = require("sklearn.model_selection", feature=_FEATURE, extra="train")
    # Without intercept the loss of (gap, better) is that of (-gap, worse): both classes occur.
    order = np.arange(len(pairs)) % 2
    search = selection.GridSearchCV(
        linear.LogisticRegression(fit_intercept=False, max_iter=2000),
        {"C": [1 / (l2 * len(pairs)) for l2 in L2_GRID]},
        cv=selection.GroupKFold(_FOLDS),
        scoring=metrics.make_scorer(
            metrics.log_loss,
            greater_is_better=False,
            response_method="predict_proba",
            labels=[0, 1],
        ),
    )
    search.fit(
        np.where(order[:, None] == 1, gaps, -gaps), order, groups=[pair.query_id for pair in pairs]
    )
    return np.ascontiguousarray(search.best_estimator_.coef_[0], dtype=np.float64)
