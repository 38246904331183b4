"""A cap on how often the reference is asked: it bounds what prompts that steer can cost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any

from bestroute.errors import ConfigError
from bestroute.policy.base import Accept, Draw, Policy, State
from bestroute.pool import Arm


@dataclass
class _Call:
    """A routed call: whether it has begun, asked the reference, and counts at all."""

    begun: bool = False
    asked: bool = False
    counts: bool = True


class ReferenceShare:
    """At most this share of an engine's last routed calls asks the reference.

    Beyond it the reference is kept out of what the policy chooses from, as long as another model
    can serve the request; where all others failed it still answers, and is counted. Of the last
    calls never more than the share, and one call, ask it otherwise. Safe to use from any thread,
    and by several engines together.

    Args:
        most: The share, in [0, 1].
        window: How many calls are the last ones.

    Raises:
        ConfigError: One is out of range.
    """

    def __init__(self, most: float, *, window: int = 100) -> None:
        if not 0 <= most <= 1:
            raise ConfigError(f"max_reference_share is {most}; expected a share in [0, 1]")
        if window < 1:
            raise ConfigError(f"window is {window}; expected a number of calls, at least 1")
        self.most = most
        self._calls: deque[_Call] = deque(maxlen=window)
        self._lock = RLock()

    @classmethod
    def of(cls, share: ReferenceShare | float | None) -> ReferenceShare | None:
        """A cap out of itself, or of a share; `None` is none."""
        return cls(share) if isinstance(share, int | float) else share

    @property
    def now(self) -> float:
        """Share of the last calls that asked the reference; 0 before the first."""
        with self._lock:
            return self._asked / max(len(self._calls), 1)

    @property
    def _asked(self) -> int:
        return sum(call.asked for call in self._calls)

    def _has_room_for(self, call: _Call) -> bool:
        """Whether a call may ask the reference; one that does not count, if it did."""
        if call.counts:
            return self._asked < self.most * len(self._calls)
        calls = deque([*self._calls, call], self._calls.maxlen)
        return sum(each.asked for each in calls) < self.most * len(calls)

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep: the cap; another engine counts its own calls."""
        return {"most": self.most, "window": self._calls.maxlen}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin to count."""
        self.__init__(state["most"], window=state["window"])  # type: ignore[misc]


class Capped:
    """A policy for one routed call, which chooses without the reference where the cap demands it.

    Args:
        policy: Decides.
        share: The cap.
        call: The call in its count.

    Attributes:
        withheld: Arms that the last move was not chosen from, and why.
    """

    def __init__(self, policy: Policy, share: ReferenceShare, call: _Call) -> None:
        self._policy = policy
        self._share = share
        self._call = call
        self._reference = ""
        self.withheld: dict[Arm, str] = {}

    @property
    def name(self) -> str:
        """The policy's."""
        return self._policy.name

    @property
    def needs_router(self) -> bool:
        """The policy's."""
        return self._policy.needs_router

    @property
    def calibrated(self) -> bool:
        """The policy's."""
        return self._policy.calibrated

    def __getattr__(self, name: str) -> Any:
        """All else is the policy's."""
        return getattr(self._policy, name)

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """The policy's move."""
        share = self._share
        with share._lock:
            if not self._call.begun and self._call.counts:
                share._calls.append(self._call)
            self._call.begun = True
            has_room = self._call.asked or share._has_room_for(self._call)
            arms = state.arms if has_room else _without_reference(state)
            why = f"the reference has its share ({share.most:.0%}) of the last calls"
            self.withheld = {arm: why for arm in state.arms if arm not in arms}
            move = self._policy.next(replace(state, arms=arms))
            self._reference = state.reference.model
            if not isinstance(move, Accept):
                self._call.asked |= any(draw.model == self._reference for draw in move)
        return move

    def over(self, policy: Policy) -> Capped:
        """Another policy in this one's place, for the same call."""
        return Capped(policy, self._share, self._call)

    def begun(self, model: str) -> None:
        """A model is asked, whoever decided that."""
        with self._share._lock:
            self._call.asked |= model == self._reference


def capped(policy: Policy, share: ReferenceShare | None) -> Policy:
    """The policy of one routed call, under a cap if there is one."""
    return policy if share is None else Capped(policy, share, _Call())


def uncounted(policy: Policy) -> Policy:
    """The policy of a call that is decided only: what nobody was asked for is not counted."""
    if not isinstance(policy, Capped):
        return policy
    return Capped(policy._policy, policy._share, _Call(counts=False))


def count(policy: Policy, event: object) -> None:
    """What happens in a call, for the cap that it is under."""
    if isinstance(policy, Capped) and isinstance(model := getattr(event, "model", None), str):
        policy.begun(model)


def _without_reference(state: State) -> tuple[Arm, ...]:
    """The other models' arms; all where none of them can answer any more."""
    others = tuple(arm for arm in state.arms if arm.model != state.reference.model)
    can_answer = any(arm.model not in state.failed for arm in others)
    return others if can_answer else state.arms
