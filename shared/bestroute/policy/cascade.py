"""A training-free policy: ask the cheap model a few times, trust it only where it agrees."""

from __future__ import annotations

import numpy as np

from bestroute.errors import ConfigError
from bestroute.policy.base import Accept, Draw, State
from bestroute.pool import Arm


class Cascade:
    """Sample the cheapest model; accept on agreement, else the reference.

    The paper's cascade baseline (arXiv 2506.22716, section 4), after arXiv 2310.03094: no
    router is asked, so it needs no training, and nothing about it is calibrated.

    Args:
        n: Samples of the cheap model, at least 2; fewer where its arms end earlier.
        agreement: Share of the samples that must give the winning answer, in (0, 1].

    Raises:
        ConfigError: n or agreement is out of range.
    """

    name = "cascade"
    needs_router = False
    threshold: float | None = None
    calibrated = False

    def __init__(self, *, n: int = 3, agreement: float = 1.0) -> None:
        if n < 2:
            raise ConfigError(f"cascade needs n >= 2 samples to compare, not {n}")
        if not 0 < agreement <= 1:
            raise ConfigError(f"agreement is {agreement}; expected a share in (0, 1]")
        self.n = n
        self.agreement = agreement

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """Draw the cheap model, then accept it or escalate to the reference."""
        reference = state.reference.model
        if state.samples.get(reference):
            return Accept(model=reference, reason=self._why(state) + "the reference answered")
        cheap = next((model for model, drawn in state.samples.items() if drawn), None)
        if cheap is not None and self._agrees(cheap, state):
            return Accept(model=cheap, reason=self._why(state) + "accepted")
        if cheap is None and (arm := self._cheapest(state)) is not None:
            why = f"uncalibrated cascade: {arm.n} samples of the cheapest model first"
            return (Draw(model=arm.model, n=arm.n, reason=why),)
        if state.reference in state.arms and reference not in state.failed:
            why = self._why(state) + "escalated to the reference"
            return (Draw(model=reference, n=1, reason=why, final=True),)
        if cheap is None and (arm := self._any(state)) is not None:
            why = self._why(state) + f"{reference} cannot answer, {arm.model} perhaps can"
            return (Draw(model=arm.model, n=arm.n, reason=why, final=True),)
        return Accept(model=cheap, reason=self._why(state) + "the reference cannot answer")

    def _cheapest(self, state: State) -> Arm | None:
        """Of the models with arms of n >= 2, the cheapest, at the most samples up to n."""
        best: dict[str, Arm] = {}
        for arm in sorted(state.arms, key=lambda arm: arm.n):
            usable = arm.model not in state.failed and arm.model != state.reference.model
            saves = not state.costs[arm] > self._limit(state)
            if usable and saves and 2 <= arm.n <= self.n:
                best[arm.model] = arm
        return min(best.values(), key=lambda arm: np.nan_to_num(state.costs[arm]), default=None)

    def _any(self, state: State) -> Arm | None:
        """The cheapest arm of any model that has not failed."""
        left = [arm for arm in state.arms if arm.model not in state.failed]
        return min(left, key=lambda arm: np.nan_to_num(state.costs[arm]), default=None)

    def _limit(self, state: State) -> float:
        """Samples that cost more than the reference save nothing."""
        return state.costs.get(state.reference, np.inf)

    def _agrees(self, model: str, state: State) -> bool:
        seen = state.evidence.get(model)
        return seen is not None and seen.n > 1 and seen.agreement >= self.agreement - 1e-9

    def _why(self, state: State) -> str:
        seen = ", ".join(
            f"{seen.agreement:.0%} of {seen.n} samples of {model} agree"
            for model, seen in state.evidence.items()
            if model != state.reference.model and seen.n > 1
        )
        if not seen and state.failed:
            seen = f"{', '.join(sorted(state.failed))} failed"
        nothing = "no two samples to compare for less than the reference costs"
        return f"uncalibrated cascade: {seen or nothing}; "
