"""Policies: the deciders of the loop."""

from typing import TYPE_CHECKING

from bestroute._lazy import names_of

if TYPE_CHECKING:
    from bestroute.policy.adaptive import Adaptive
    from bestroute.policy.base import Accept, Decision, Draw, Policy, State
    from bestroute.policy.cascade import Cascade
    from bestroute.policy.early_stop import EarlyStop
    from bestroute.policy.fixed import FixedArm, RandomMix
    from bestroute.policy.named import Named
    from bestroute.policy.oneshot import OneShot
    from bestroute.policy.share import ReferenceShare
    from bestroute.policy.utility import Utility

__all__ = [
    "Accept",
    "Adaptive",
    "Cascade",
    "Decision",
    "Draw",
    "EarlyStop",
    "FixedArm",
    "Named",
    "OneShot",
    "Policy",
    "RandomMix",
    "ReferenceShare",
    "State",
    "Utility",
]

__getattr__ = names_of(
    __name__,
    {
        "Accept": "base",
        "Adaptive": "adaptive",
        "Cascade": "cascade",
        "Decision": "base",
        "Draw": "base",
        "EarlyStop": "early_stop",
        "FixedArm": "fixed",
        "Named": "named",
        "OneShot": "oneshot",
        "Policy": "base",
        "RandomMix": "fixed",
        "ReferenceShare": "share",
        "State": "base",
        "Utility": "utility",
    },
)
