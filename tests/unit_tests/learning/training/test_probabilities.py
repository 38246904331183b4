"""Reliability, temperature and isotonic curves on probabilities whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from bestroute.learning.training.probabilities import (
    CURVE_POINTS,
    fit_isotonic,
    fit_temperature,
    logit,
    reliability,
)
from bestroute.routers.heads import sigmoid

RNG = np.random.default_rng(0)
TRUE = RNG.uniform(0.05, 0.95, (4000, 2))
SEEN = (RNG.random(TRUE.shape) < TRUE).astype(float)


def test_bins_by_hand() -> None:
    found = reliability(np.array([0.05, 0.05, 1.0, 0.95]), np.array([0, 0.5, 1, 0.5]))
    assert [(b.count, b.predicted, b.observed) for b in found.bins] == [
        (2, pytest.approx(0.05), 0.25),
        (2, pytest.approx(0.975), 0.75),
    ]
    assert found.ece == pytest.approx((0.2 + 0.225) / 2)


def test_true_probabilities_have_next_to_no_error() -> None:
    assert reliability(TRUE, SEEN).ece < 0.02
    assert reliability(TRUE**3, SEEN).ece > 0.1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(logit(TRUE) * temperature, SEEN) == pytest.approx(temperature, rel=0.1)


def test_isotonic_curves_mend_a_distortion() -> None:
    curves = fit_isotonic(TRUE**3, SEEN)
    assert curves.shape == (CURVE_POINTS, 2)
    assert (np.diff(curves, axis=0) >= 0).all()
    grid = np.linspace(0, 1, CURVE_POINTS)
    mended = np.stack([np.interp(TRUE[:, i] ** 3, grid, curves[:, i]) for i in range(2)], axis=1)
    assert reliability(mended, SEEN).ece < 0.02


def test_logit_is_the_inverse_and_bounded() -> None:
    assert sigmoid(logit(TRUE)) == pytest.approx(TRUE)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
