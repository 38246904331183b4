"""The kinds of policies that a saved artifact may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bestroute.errors import ArtifactError
from bestroute.policy.base import Policy
from bestroute.policy.fixed import FixedArm, RandomMix
from bestroute.policy.oneshot import OneShot
from bestroute.policy.utility import Utility
from bestroute.pool import Arm

_KINDS: Mapping[str, Callable[..., Policy]] = {
    FixedArm.name: FixedArm,
    OneShot.name: OneShot,
    RandomMix.name: RandomMix,
    Utility.name: Utility,
}


def policy_config(policy: Policy) -> dict[str, Any]:
    """JSON-able: `kind`, and the arguments that build the policy again.

    Raises:
        ArtifactError: A policy of this kind cannot be saved.
    """
    if policy.name not in _KINDS:
        raise ArtifactError(
            f"the policy {policy.name!r} cannot be saved; {', '.join(_KINDS)} can be"
        )
    arguments = {k: str(v) if isinstance(v, Arm) else v for k, v in vars(policy).items()}
    return {"kind": policy.name, **arguments}


def load_policy(config: Mapping[str, Any]) -> Policy:
    """Build the policy that `policy_config` described.

    Raises:
        ArtifactError: The kind is unknown, or its arguments are damaged.
    """
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if kind not in _KINDS:
        raise ArtifactError(f"unknown kind of policy {kind!r} (known: {', '.join(_KINDS)})")
    try:
        return _KINDS[kind](**arguments)
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"the saved policy is damaged: {error}") from error
