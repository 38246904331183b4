"""The order constraint: more samples of a model never match less."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bestroute.pool import Arm
from bestroute.routers.base import Floats


def rising_in_n(match: Floats, arms: Sequence[Arm]) -> Floats:
    """The nearest match probabilities [B, arms] that do not fall in n, model by model.

    Nearest in squares: isotonic regression, by its min-max formula. A proxy that disagrees with
    the oracle may truly do worse with more samples, so this is the user's choice.
    """
    ordered = np.array(match, dtype=np.float64)
    for model in dict.fromkeys(arm.model for arm in arms):
        columns = [i for i, arm in enumerate(arms) if arm.model == model]
        columns.sort(key=lambda i: arms[i].n)
        ordered[:, columns] = _isotonic(ordered[:, columns])
    return ordered


def _isotonic(rows: Floats) -> Floats:
    """Max over a <= i of min over b >= i of the mean of entries a..b, for each row [B, n]."""
    width = rows.shape[1]
    sums = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    best = np.full(rows.shape, -np.inf)
    for a in range(width):
        means = (sums[:, a + 1 :] - sums[:, [a]]) / np.arange(1, width - a + 1)
        lowest = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        best[:, a:] = np.maximum(best[:, a:], lowest)
    return best
