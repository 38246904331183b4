"""Are match probabilities what they say? Reliability, and two ways to mend it."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from bestroute._extras import require
from bestroute.learning.bestofn import Floats
from bestroute.learning.training.logistic import log_loss
from bestroute.routers.heads import sigmoid

CURVE_POINTS = 101

_FARTHEST = 30.0


class Bin(BaseModel):
    """Predictions that lie close together.

    Attributes:
        count: How many.
        predicted: Their mean.
        observed: Mean of what was to be predicted.
    """

    model_config = ConfigDict(frozen=True)

    count: int
    predicted: float
    observed: float


class Reliability(BaseModel):
    """Predicted probabilities beside observed ones.

    Attributes:
        bins: Equally wide bins of predictions, empty ones left out.
        ece: Expected calibration error: mean |predicted - observed| of the bins, by count.
        log_loss: Mean cross-entropy in nats.
    """

    model_config = ConfigDict(frozen=True)

    bins: tuple[Bin, ...]
    ece: float
    log_loss: float


def reliability(predicted: Floats, labels: Floats, *, bins: int = 10) -> Reliability:
    """Compare predictions with soft labels of any equal shape, all in [0, 1]."""
    flat, truth = predicted.ravel(), labels.ravel()
    place = np.minimum((flat * bins).astype(np.intp), bins - 1)
    counts = np.bincount(place, minlength=bins)
    filled = np.flatnonzero(counts)
    means = np.bincount(place, weights=flat, minlength=bins)[filled] / counts[filled]
    truths = np.bincount(place, weights=truth, minlength=bins)[filled] / counts[filled]
    return Reliability(
        bins=tuple(
            Bin(count=int(n), predicted=float(p), observed=float(o))
            for n, p, o in zip(counts[filled], means, truths, strict=True)
        ),
        ece=float(np.abs(means - truths) @ counts[filled] / len(flat)),
        log_loss=float(log_loss(flat, truth).mean()),
    )


def fit_temperature(logits: Floats, labels: Floats) -> float:
    """The temperature T that minimises the cross-entropy of sigmoid(logits / T) (1706.04599).

    Args:
        logits: [B, H], of queries that the heads were not trained on.
        labels: Soft labels [B, H].
    """
    optimize = require("scipy.optimize", feature="Temperature scaling", extra="train")
    found = optimize.minimize_scalar(
        lambda log_t: float(log_loss(sigmoid(logits / np.exp(log_t)), labels).mean()),
        bounds=(-2.0, 4.0),
        method="bounded",
    )
    return float(np.exp(found.x))


def fit_isotonic(predicted: Floats, labels: Floats) -> Floats:
    """Rising curves [CURVE_POINTS, H] from predicted to observed probabilities, one a column.

    Args:
        predicted: [B, H], of queries that the heads were not trained on.
        labels: Soft labels [B, H].
    """
    sklearn = require("sklearn.isotonic", feature="Isotonic calibration", extra="train")
    grid = np.linspace(0, 1, CURVE_POINTS)
    curves = []
    for column, truth in zip(predicted.T, labels.T, strict=True):
        curve = sklearn.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        curves.append(curve.fit(column, truth).predict(grid))
    return np.asarray(np.maximum.accumulate(np.stack(curves, axis=1), axis=0))


def logit(probabilities: Floats) -> Floats:
    """The inverse of the logistic function, bounded."""
    with np.errstate(divide="ignore"):
        raw = np.log(probabilities) - np.log1p(-probabilities)
    return np.asarray(np.clip(raw, -_FARTHEST, _FARTHEST))
