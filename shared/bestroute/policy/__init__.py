"""Policies: the deciders of the loop."""

from typing import TYPE_CHECKING

from bestroute._lazy import names_of

if TYPE_CHECKING:
    from bestroute.policy.base import Accept, Decision, Draw, Policy, State
    from bestroute.policy.cascade import Cascade
    from bestroute.policy.fixed import FixedArm, RandomMix
    from bestroute.policy.named import Named
    from bestroute.policy.oneshot import OneShot
    from bestroute.policy.utility import Utility

__all__ = [
    "Accept",
    "Cascade",
    "Decision",
    "Draw",
    "FixedArm",
    "Named",
    "OneShot",
    "Policy",
    "RandomMix",
    "State",
    "Utility",
]

__getattr__ = names_of(
    __name__,
    {
        "Accept": "base",
        "Cascade": "cascade",
        "Decision": "base",
        "Draw": "base",
        "FixedArm": "fixed",
        "Named": "named",
        "OneShot": "oneshot",
        "Policy": "base",
        "RandomMix": "fixed",
        "State": "base",
        "Utility": "utility",
    },
)
