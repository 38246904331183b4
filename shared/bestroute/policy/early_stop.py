"""The paper's choice as a cap: no more samples where they could not change the answer."""

from __future__ import annotations

from bestroute.policy.base import Accept, Draw, State
from bestroute.policy.evidence import Evidence
from bestroute.policy.once import remaining
from bestroute.policy.oneshot import OneShot

_NOTHING = Evidence(0)


class EarlyStop(OneShot):
    """The arm of `OneShot`, drawn in waves until the samples left could not change the majority.

    Each wave is the smallest that could settle it. Under self-consistency the answer is the one
    that all n samples would have given, so quality is exactly that of `OneShot`, for fewer
    tokens; a provider with native n bills the prompt once a wave. Under another reward model it
    is the majority's answer that is certain, not the highest score.

    Arguments and errors are those of `OneShot`.
    """

    name = "early-stop"
    looks = True

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """The next wave of the chosen arm, or the end."""
        model = next((model for model, samples in state.samples.items() if samples), None)
        if model is not None:
            return self._go_on(model, state)
        move = super().next(state)
        if isinstance(move, Accept) or move[0].n < 3:  # of two, one never settles it
            return move
        cap = move[0].n
        why = f"{move[0].reason}; at most {cap} samples"
        return (Draw(model=move[0].model, n=to_settle(_NOTHING, cap), reason=why),)

    def _go_on(self, model: str, state: State) -> tuple[Draw, ...] | Accept:
        seen = state.evidence.get(model, _NOTHING)
        drawn = len(state.samples[model])
        arms = remaining(state)
        arm = self._choose(arms, state) if arms else None
        left = arm.n - drawn if arm is not None and arm.model == model else 0
        if (more := to_settle(seen, left)) > 0:
            why = f"{seen.top} of {seen.n} agree, {left} could still change that"
            return (Draw(model=model, n=more, reason=why),)
        return Accept(model=model, reason=f"{seen.top} of {seen.n} agree, which settles it")


def to_settle(seen: Evidence, left: int) -> int:
    """Fewest further samples that could settle which answer is the most frequent, of so many."""
    if left <= 0 or (seen.top and seen.lead >= left):
        return 0
    behind = left - (seen.top - seen.second - 1)
    return min(max((behind + 1) // 2, 1), left)
