"""Tests that a mean is positive, valid for any bounded distribution at any sample size.

Each takes many rows at once and decides every row for itself: the null hypothesis of a row is
"the mean is at most 0", rejected wrongly with probability at most `delta`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bestroute.learning.bestofn import Floats

_BOLDNESS = 0.9
"""Largest share of the wealth that one query may lose; 1 could lose all."""

_LEARNING = 1.1
"""Queries in all for those that a known variance would take; 1.03 to 1.13 at usual drops."""


class MeanTest(Protocol):
    """Whether the means of rows of independent values [T, n] within [lowest, highest] are > 0."""

    def __call__(
        self, values: Floats, *, lowest: float, highest: float, delta: float
    ) -> NDArray[np.bool_]:
        """Which rows reject "the mean is at most 0" [T]."""
        ...


def betting(values: Floats, *, lowest: float, highest: float, delta: float) -> NDArray[np.bool_]:
    """Bet against "the mean is at most 0"; reject once the wealth reaches 1 / delta.

    Under the null hypothesis the wealth, the product of 1 + bet x value, is a nonnegative
    supermartingale that starts at 1, so it ever reaches 1 / delta with probability at most
    delta. The bets are the predictable plug-in of Waudby-Smith and Ramdas (arXiv 2010.09686,
    section 4), one-sided, tuned to n: they look at earlier values only.

    Args:
        values: Rows of independent values in the order of betting [T, n].
        lowest: The smallest possible value.
        highest: The largest possible value.
        delta: Probability of a wrong rejection, in (0, 1).
    """
    rows, n = values.shape
    if lowest >= 0:
        return np.ones(rows, dtype=np.bool_)
    unit = (values - lowest) / (highest - lowest)
    null = -lowest / (highest - lowest)
    seen = np.arange(1, n + 1)
    mean = (0.5 + unit.cumsum(axis=1)) / (seen + 1)
    variance = (0.25 + ((unit - mean) ** 2).cumsum(axis=1)) / (seen + 1)
    before = np.hstack([np.full((rows, 1), 0.25), variance[:, :-1]])
    bet = np.minimum(np.sqrt(2 * np.log(1 / delta) / (n * before)), _BOLDNESS / null)
    wealth = np.log1p(bet * (unit - null)).cumsum(axis=1)
    return np.asarray(wealth.max(axis=1) >= np.log(1 / delta))


def empirical_bernstein(
    values: Floats, *, lowest: float, highest: float, delta: float
) -> NDArray[np.bool_]:
    """Reject where the empirical Bernstein bound lies above 0 (Maurer and Pontil, 2009, thm. 4).

    Does not depend on the order of the values, and needs more of them than `betting`.

    Args:
        values: Rows of independent values [T, n].
        lowest: The smallest possible value.
        highest: The largest possible value.
        delta: Probability of a wrong rejection, in (0, 1).
    """
    rows, n = values.shape
    if n < 2:
        return np.zeros(rows, dtype=np.bool_)
    log = np.log(2 / delta)
    spread = np.sqrt(2 * values.var(axis=1, ddof=1) * log / n)
    slack = 7 * (highest - lowest) * log / (3 * (n - 1))
    return np.asarray(values.mean(axis=1) - spread - slack > 0)


def queries_needed(values: Floats, *, lowest: float, delta: float) -> float:
    """About how many queries `betting` would need to reject every row; infinite for "never".

    An estimate from the rows' means and variances: the wealth must grow to 1 / delta, at half
    of mean^2 / variance a query where the bets are free, at bet x mean where they are capped;
    and some queries pass before the variance is known.

    Args:
        values: Rows of independent values [T, n].
        lowest: The smallest possible value, below 0.
        delta: Probability of a wrong rejection, in (0, 1).
    """
    mean, variance = values.mean(axis=1), values.var(axis=1)
    if (mean <= 0).any():
        return float("inf")
    log = np.log(1 / delta)
    growth = 2 * log * variance / mean**2 - log * lowest / (_BOLDNESS * mean)
    return float(growth.max()) * _LEARNING
