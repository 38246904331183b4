"""Bootstrap intervals over queries, paired: all figures come from the same resamples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import BaseModel, ConfigDict

from bestroute.errors import ConfigError
from bestroute.learning.bestofn import Floats


class Interval(BaseModel):
    """A figure and its bootstrap interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    lo: float
    hi: float


def bootstrap(
    measure: Callable[[Floats], Floats],
    queries: int,
    *,
    resamples: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Floats, Floats]:
    """Figures of the queries as they are, and of resamples drawn with replacement.

    Args:
        measure: Takes how often each query is in [queries], returns figures [F].
        queries: How many there are.
        resamples: How many resamples to draw.
        seed: Of the draws.
        progress: Called with the number of resamples done and of all resamples.

    Returns:
        Figures [F], and those of every resample [resamples, F].
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for done in range(1, resamples + 1):
        resample = rng.integers(queries, size=queries)
        drawn.append(measure(np.bincount(resample, minlength=queries).astype(np.float64)))
        if progress is not None:
            progress(done, resamples)
    return measure(np.ones(queries)), np.array(drawn)


def tails(resamples: int, level: float) -> list[float]:
    """The two quantiles that an interval of this level lies between.

    Raises:
        ConfigError: There is no resample, or the level is not between 0 and 1.
    """
    if resamples < 1 or not 0 < level < 1:
        raise ConfigError(f"{resamples} resamples at level {level}: no interval")
    return [(1 - level) / 2, (1 + level) / 2]


def interval(value: float, drawn: Floats, quantiles: list[float]) -> Interval:
    """A figure with its interval; NaN among the drawn ones is left out."""
    lo, hi = np.nanquantile(drawn, quantiles)
    return Interval(value=clean(value), lo=clean(lo), hi=clean(hi))


def clean(difference: float) -> float:
    """A difference without the noise of summation, which would give 0 a sign."""
    return round(float(difference), 12) + 0.0
