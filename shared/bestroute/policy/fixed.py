"""Policies that do not look at the query: one fixed arm, and a random mix of two."""

from __future__ import annotations

import hashlib

import numpy as np

from bestroute.errors import ConfigError
from bestroute.policy.base import Accept, Draw, State
from bestroute.policy.once import remaining, settled
from bestroute.pool import Arm


class FixedArm:
    """The same arm for every request (the fixed best-of-n of arXiv 2506.22716).

    Where that arm cannot serve the request, or its draw brings nothing, the reference answers,
    and if it cannot, the cheapest arm that can.

    Args:
        arm: The arm, or its text `name:n`.

    Raises:
        ConfigError: The text is not an arm.
    """

    name = "fixed"
    needs_router = False
    looks = False
    calibrated = False

    def __init__(self, arm: Arm | str) -> None:
        self.arm = _arm(arm)

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """Draw the arm; accept what it brought.

        Raises:
            ConfigError: The pool has no such arm.
        """
        return draw_fixed(self.arm, state, f"always {self.arm}")


class RandomMix:
    """One arm for a share of the requests, another for the rest, by a seeded coin.

    The baseline that every router must beat: it buys any cost between those of its two arms
    without reading the query. The coin depends on the seed and the query's text alone, so that
    asking again changes nothing. Fallbacks are those of `FixedArm`.

    Args:
        first, second: The two arms, or their texts `name:n`.
        share: Share of the requests that go to `first`, in [0, 1].
        seed: Of the coin.

    Raises:
        ConfigError: A text is not an arm, or the share is out of range.
    """

    name = "random-mix"
    needs_router = False
    looks = False
    calibrated = False

    def __init__(self, first: Arm | str, second: Arm | str, *, share: float, seed: int = 0) -> None:
        if not 0 <= share <= 1:
            raise ConfigError(f"share is {share}; expected a share of the requests in [0, 1]")
        self.first, self.second = _arm(first), _arm(second)
        self.share = share
        self.seed = seed

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """Toss the coin, draw that arm; accept what it brought.

        Raises:
            ConfigError: The pool has no such arm.
        """
        arm = self.first if self._coin(state.query) < self.share else self.second
        why = f"random mix of {self.first} ({self.share:.0%}) and {self.second}: {arm}"
        return draw_fixed(arm, state, why)

    def _coin(self, query: str) -> float:
        """Uniform in [0, 1), the same for the same query."""
        text = f"{self.seed}:{query}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48


def draw_fixed(arm: Arm, state: State, why: str) -> tuple[Draw, ...] | Accept:
    """Draw an arm that was chosen without looking, or whatever can stand in for it; accept.

    Raises:
        ConfigError: The pool has no such arm.
    """
    if arm not in state.costs:
        raise ConfigError(f"the pool has no arm {arm}; it has {', '.join(map(str, state.costs))}")
    if (end := settled(state)) is not None:
        return end
    arms = remaining(state)
    cheapest = min(arms, key=lambda each: np.nan_to_num(state.costs[each]))
    taken = next(each for each in (arm, state.reference, cheapest) if each in arms)
    if taken != arm:
        why += f", which cannot answer: {taken} instead"
    return (Draw(model=taken.model, n=taken.n, reason=why, final=True),)


def _arm(arm: Arm | str) -> Arm:
    return Arm.parse(arm) if isinstance(arm, str) else arm
