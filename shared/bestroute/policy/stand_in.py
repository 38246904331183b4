"""The reference, where the router cannot be asked."""

from __future__ import annotations

from bestroute.policy.base import Accept, Draw, State
from bestroute.policy.fixed import draw_fixed
from bestroute.pool import Arm


class StandIn:
    """One sample of the reference; fallbacks are those of `FixedArm`.

    Args:
        reference: The reference with n = 1.
        why: What is the matter with the router, in words.
    """

    name = "stand-in"
    needs_router = False
    looks = False
    calibrated = False

    def __init__(self, reference: Arm, why: str) -> None:
        self.reference = reference
        self.why = f"{why}: the reference is asked"

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """Draw it; accept what it brought."""
        return draw_fixed(self.reference, state, self.why)
