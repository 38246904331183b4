"""The call names a model: no routing."""

from __future__ import annotations

from bestroute.errors import UnknownModelError
from bestroute.policy.base import Accept, Draw, State
from bestroute.policy.once import settled
from bestroute.pool import Arm, ModelPool


class Named:
    """The arm that the call names, whatever a router would say; no other model stands in.

    Args:
        arm: The arm; fewer samples are drawn where the request allows no more.
    """

    name = "named"
    needs_router = False
    looks = False
    calibrated = False

    def __init__(self, arm: Arm) -> None:
        self.arm = arm

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """Draw it; accept what it brought."""
        model = self.arm.model
        most = max((each.n for each in state.arms if each.model == model), default=0)
        if model in state.failed or not most:
            return Accept(reason=f"{model}, which the call names, cannot answer")
        why = f"the call names {model}: no routing"
        draw = Draw(model=model, n=min(most, self.arm.n), reason=why, final=True)
        return settled(state) or (draw,)


def named_arm(pool: ModelPool, text: str) -> Arm:
    """What a call's `model` means: a name or LiteLLM id (one sample of it), or an arm `name:n`.

    Raises:
        UnknownModelError: The pool holds nothing of the kind.
    """
    known = {str(arm): arm for arm in pool.arms}
    known |= {member.model: Arm(member.name, 1) for member in reversed(pool.models)}
    known |= {member.name: Arm(member.name, 1) for member in pool.models}
    if text in known:
        return known[text]
    names = ", ".join(member.name for member in pool.models)
    raise UnknownModelError(f"the call names {text!r}; the pool holds: {names}")
