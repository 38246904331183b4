"""Policies: the deciders of the loop."""

from bestroute.policy.base import Accept, Decision, Draw, Policy, State
from bestroute.policy.cascade import Cascade
from bestroute.policy.oneshot import OneShot

__all__ = ["Accept", "Cascade", "Decision", "Draw", "OneShot", "Policy", "State"]
