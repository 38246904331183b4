"""Utility instead of a threshold: what an answer is worth, less what it costs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ConfigError
from bestroute.policy.base import Accept, Draw, State
from bestroute.policy.once import remaining, settled
from bestroute.policy.threshold import Floats
from bestroute.pool import Arm


class Utility:
    """The arm of the largest expected quality x worth - estimated cost.

    Dividing by the worth w gives the usual form, quality - cost / w. It needs a router that
    predicts quality; where it predicts none, the match probability stands in, and the worth is
    that of one sure match of the reference. When a draw brings nothing, the best arm of
    another model is taken.

    Args:
        dollars_per_quality: What one unit of quality is worth in $ a request: 0 always takes
            the cheapest arm, a very large worth the one of the highest quality.

    Raises:
        ConfigError: The worth is negative or not finite.
    """

    name = "utility"
    needs_router = True
    looks = False
    calibrated = False

    def __init__(self, dollars_per_quality: float) -> None:
        self.dollars_per_quality = float(dollars_per_quality)
        if not (math.isfinite(self.dollars_per_quality) and self.dollars_per_quality >= 0):
            raise ConfigError(
                f"dollars_per_quality is {dollars_per_quality}; expected $ of at least 0"
            )

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """Draw the chosen arm; accept what it brought."""
        if (end := settled(state)) is not None:
            return end
        arms = remaining(state)
        values = state.quality or state.match
        quality = np.array([[values.get(arm, 0.0) for arm in arms]])
        cost = np.array([[state.costs[arm] for arm in arms]])
        reference = arms.index(state.reference) if state.reference in arms else None
        column = choose_by_utility(quality, cost, reference, self.dollars_per_quality)[0]
        reason = self._reason(state, arms[column], float(quality[0, column]))
        return (Draw(model=arms[column].model, n=arms[column].n, reason=reason, final=True),)

    def _reason(self, state: State, arm: Arm, value: float) -> str:
        failed = f"{', '.join(sorted(state.failed))} failed; " if state.failed else ""
        what = "expected quality" if state.quality else "match probability"
        return (
            f"{failed}{what} {value:.2f} at ${state.costs[arm]:.2g} is the best value when one "
            f"unit is worth ${self.dollars_per_quality:g}"
        )


def choose_by_utility(
    quality: Floats, cost: Floats, reference_index: int | None, dollars_per_quality: float
) -> NDArray[np.intp]:
    """The arm of the largest quality x worth - cost.

    Ties go to the reference, then to the earlier arm. Arms whose cost is NaN never win.

    Args:
        quality: Expected quality [Q, arms].
        cost: Estimated costs [Q, arms] in $.
        reference_index: Column of the reference with n = 1; `None` when it cannot serve the
            request.
        dollars_per_quality: What one unit of quality is worth, in $ a query.

    Returns:
        Column of the chosen arm [Q].
    """
    utility = np.where(np.isnan(cost), -np.inf, dollars_per_quality * quality - cost)
    winner: NDArray[np.intp] = utility.argmax(axis=1)
    if reference_index is not None:
        best = utility.max(axis=1)
        winner = np.where(utility[:, reference_index] == best, reference_index, winner)
    return winner
