"""The paper's policy: decide once from the query, draw n samples of one model, accept."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from bestroute.errors import ConfigError
from bestroute.policy.base import Accept, Draw, State
from bestroute.policy.once import remaining, settled
from bestroute.policy.threshold import choose
from bestroute.pool import Arm


class OneShot:
    """Of the arms whose match probability reaches the threshold, the cheapest.

    The reference with n = 1 always qualifies (arXiv 2506.22716, section 3). When a draw brings
    nothing, the next qualifying arm of another model is taken, and finally the reference.

    Args:
        threshold: Smallest match probability that qualifies, in [0, 1]; above 1 is always the
            reference.
        calibrated: Whether the threshold was picked on data.
        max_drop: The relative quality drop that it was certified for, if it was.
        confidence: Of that promise; `None` where it needs none (always-reference).
        target_cost: The cost in $ for 1,000 queries that it was picked for, if it was.

    Raises:
        ConfigError: The threshold is negative or not a number.
    """

    name = "one-shot"
    needs_router = True
    looks = False

    def __init__(
        self,
        threshold: float,
        *,
        calibrated: bool = False,
        max_drop: float | None = None,
        confidence: float | None = None,
        target_cost: float | None = None,
    ) -> None:
        self.threshold = float(threshold)
        if not self.threshold >= 0:
            raise ConfigError(f"threshold is {threshold}; expected a number of at least 0")
        self.calibrated = calibrated
        self.max_drop = max_drop
        self.confidence = confidence
        self.target_cost = target_cost

    @property
    def family(self) -> str:
        """What a calibration table is for: all thresholds of the same rule."""
        return self.name

    def at(self, threshold: float, **promise: Any) -> Self:
        """The same rule at another threshold; `promise` is what it was picked for."""
        return type(self)(threshold, **promise)

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """Draw the chosen arm; accept what it brought."""
        if (end := settled(state)) is not None:
            return end
        arm = self._choose(remaining(state), state)
        return (Draw(model=arm.model, n=arm.n, reason=self._reason(arm, state), final=True),)

    def _choose(self, arms: list[Arm], state: State) -> Arm:
        match = np.array([[state.match.get(arm, 0.0) for arm in arms]])
        cost = np.array([[state.costs[arm] for arm in arms]])
        reference = arms.index(state.reference) if state.reference in arms else None
        return arms[int(choose(match, cost, reference, self.threshold)[0])]

    def _reason(self, arm: Arm, state: State) -> str:
        failed = f"{', '.join(sorted(state.failed))} failed; " if state.failed else ""
        if arm == state.reference:
            return f"{failed}no cheaper arm reaches the threshold {self.threshold:g}: the reference"
        match = state.match.get(arm, 0.0)
        if match >= self.threshold:
            return (
                f"{failed}cheapest arm whose match probability ({match:.2f}) "
                f"reaches the threshold {self.threshold:g}"
            )
        return (
            f"{failed}the reference is left out, and no other arm reaches the threshold "
            f"{self.threshold:g}; this one's match probability ({match:.2f}) is the highest"
        )
