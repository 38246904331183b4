"""Policies: the deciders of the loop."""

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
