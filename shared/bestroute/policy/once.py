"""What all policies share that draw once: accept what came, and end when nothing is left."""

from __future__ import annotations

from bestroute.policy.base import Accept, State
from bestroute.pool import Arm


def settled(state: State) -> Accept | None:
    """The end, if a draw brought something or every model has failed."""
    for model, samples in state.samples.items():
        if samples:
            return Accept(model=model, reason=f"{len(samples)} samples of {model} drawn once")
    if not remaining(state):
        return Accept(reason="every model that could serve the request failed")
    return None


def remaining(state: State) -> list[Arm]:
    """The arms that can serve the request and whose model has not failed."""
    return [arm for arm in state.arms if arm.model not in state.failed]
