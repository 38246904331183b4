"""The kinds of policies that a saved artifact may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from bestroute.errors import ArtifactError
from bestroute.policy.adaptive import Adaptive
from bestroute.policy.base import Policy
from bestroute.policy.belief import Floats
from bestroute.policy.early_stop import EarlyStop
from bestroute.policy.fixed import FixedArm, RandomMix
from bestroute.policy.oneshot import OneShot
from bestroute.policy.saved_belief import belief_state, load_belief
from bestroute.policy.utility import Utility
from bestroute.pool import Arm

_KINDS: Mapping[str, Callable[..., Policy]] = {
    Adaptive.name: Adaptive,
    EarlyStop.name: EarlyStop,
    FixedArm.name: FixedArm,
    OneShot.name: OneShot,
    RandomMix.name: RandomMix,
    Utility.name: Utility,
}

_NUMBERS = ("max_drop", "confidence", "target_cost", "max_waves", "look_ahead")

_NONE: Mapping[str, Floats] = MappingProxyType({})


def policy_state(policy: Policy) -> tuple[dict[str, Any], dict[str, Floats]]:
    """JSON-able `kind` and arguments that build the policy again, and tensors by name.

    Raises:
        ArtifactError: A policy of this kind cannot be saved.
    """
    if policy.name not in _KINDS:
        raise ArtifactError(
            f"the policy {policy.name!r} cannot be saved; {', '.join(_KINDS)} can be"
        )
    arguments = {k: str(v) if isinstance(v, Arm) else v for k, v in vars(policy).items()}
    tensors: dict[str, Floats] = {}
    if isinstance(policy, Adaptive):
        arguments["belief"], tensors = belief_state(policy.belief)
    return {"kind": policy.name, **arguments}, tensors


def load_policy(config: Mapping[str, Any], tensors: Mapping[str, Floats] = _NONE) -> Policy:
    """Build the policy that `policy_state` described.

    Raises:
        ArtifactError: The kind is unknown, or its arguments or tensors are damaged.
    """
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if kind not in _KINDS:
        raise ArtifactError(f"unknown kind of policy {kind!r} (known: {', '.join(_KINDS)})")
    for name in _NUMBERS:
        if not isinstance(arguments.get(name), int | float | None):
            raise ArtifactError(f"the saved policy's {name} is {arguments[name]!r}, no number")
    if not isinstance(arguments.get("calibrated", False), bool):
        raise ArtifactError("the saved policy's calibrated is neither true nor false")
    if kind == Adaptive.name:
        arguments["belief"] = load_belief(arguments.get("belief"), tensors)
    try:
        return _KINDS[kind](**arguments)
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"the saved policy is damaged: {error}") from error
