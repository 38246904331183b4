"""What stands in where models fail or the time runs out, whatever the policy."""

from __future__ import annotations

from collections.abc import Container, Sequence

from bestroute import catalog
from bestroute.account import Account
from bestroute.breaker import Breaker
from bestroute.deadline import Deadline
from bestroute.errors import SamplingError
from bestroute.failures import Failure
from bestroute.policy.base import Accept, Draw, State
from bestroute.policy.once import remaining
from bestroute.pool import Arm, ModelPool
from bestroute.sampling import Drawn


class Fallback:
    """Keeps a routed call answerable: docs/reliability.md says how.

    The policy answers a failed draw by another arm. What is decided here comes before that: a
    request that is itself at fault ends the call, models with no larger context window are not
    asked what was too long for one, and once the time for the first ones is over, all others are
    asked side by side.

    Args:
        state: The policy's view.
        account: What was drawn and paid.
        pool: The model pool.
        deadline: Of the call.
        breaker: Knows which models rest.
        resting: Arms that could serve the request, of models that rest; the last resort.

    Attributes:
        begun: Whether all others were asked.
    """

    def __init__(
        self,
        state: State,
        account: Account,
        *,
        pool: ModelPool,
        deadline: Deadline,
        breaker: Breaker,
        resting: Sequence[Arm] = (),
    ) -> None:
        self._state = state
        self._account = account
        self._pool = pool
        self._deadline = deadline
        self._breaker = breaker
        self._arms = tuple(resting)
        self._left_out = {arm.model for arm in resting}
        models, rests = {arm.model for arm in state.arms}, breaker.resting()
        self._last_resort = models if models <= rests.keys() else set[str]()
        self.begun = False

    def admits(self, model: str, drawn: Drawn) -> bool:
        """Whether a model may be asked now: others may have found out meanwhile that it fails."""
        if model in self._last_resort or self._breaker.admits(model):
            return True
        self._left_out.add(model)
        drawn.failures.append(SamplingError(f"{model} rests: it failed again and again"))
        return False

    def retries(self, model: str) -> int | None:
        """None for a model that is on trial, else the sampler's own."""
        return 0 if self._breaker.is_tried(model) else None

    def learn(self, model: str, drawn: Drawn) -> None:
        """A draw has ended: what that means for the model, and for others."""
        if drawn.samples:
            self._breaker.succeeded(model)
        elif model not in self._left_out:
            self._breaker.failed(model, drawn.failures)
        if Failure.TOO_LONG in map(Failure.of, drawn.failures):
            self._leave_to_larger(model)

    def _leave_to_larger(self, model: str) -> None:
        """What is too long for one window is too long for those that are no larger."""
        held = catalog.context_window(self._pool[model])
        if held is not None:
            windows = {each.name: catalog.context_window(each) for each in self._pool.models}
            larger = {name for name, size in windows.items() if size is None or size > held}
            self._state.arms = tuple(arm for arm in self._state.arms if arm.model in larger)
            self._arms = tuple(arm for arm in self._arms if arm.model in larger)

    def move(self, under_way: Container[str]) -> Sequence[Draw] | Accept | None:
        """What is done next, whatever the policy; `None` where that is up to it.

        Args:
            under_way: Models that are being asked.

        Raises:
            RefusedRequestError: The request itself is at fault.
        """
        if not self._account.samples and any(
            Failure.of(each) is Failure.REFUSED for each in self._account.failures
        ):
            raise self._account.error("the request was refused")
        in_hand = self._state.has_samples
        if self._deadline.is_over or (self.begun and in_hand):
            reference = self._state.reference.model
            trusted = reference if self._state.samples.get(reference) else None
            return Accept(model=trusted, reason="the best of what came in time")
        if self._deadline.is_cut and not in_hand and not self.begun:
            self.begun = True
            return self._everyone(under_way)
        return None

    def _everyone(self, under_way: Container[str]) -> tuple[Draw, ...]:
        self.readmit()
        models = dict.fromkeys(arm.model for arm in remaining(self._state))
        why = f"nothing came within {self._account.elapsed:.3g} seconds: everyone else is asked"
        self._account.degraded.append(why)
        return tuple(
            Draw(model=model, n=1, reason=why) for model in models if model not in under_way
        )

    def has_others(self, model: str) -> bool:
        """Whether others could be asked in a model's place."""
        others = (*remaining(self._state), *self._arms)
        return any(arm.model != model for arm in others)

    def readmit(self) -> bool:
        """Models that were left out may be asked after all; whether there are any."""
        if not self._left_out or self._deadline.is_over:
            return False
        self._state.arms += self._arms
        self._state.failed -= self._left_out
        self._last_resort |= self._left_out
        self._left_out, self._arms = set(), ()
        return True
