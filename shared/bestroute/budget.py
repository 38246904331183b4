"""A budget: dollars over a window of time, set aside before they are spent."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

_UNITS = 10**12  # of a dollar: whole numbers add up exactly
_SLICES = 1000  # of a window: no more amounts than these are remembered


class Budget(BaseModel):
    """At most so many dollars within any window of time; nothing is begun that could exceed it.

    Before a call is sent, the most that it may cost is set aside. What it really cost counts from
    then until `window` seconds (at most a thousandth more) after it ended.

    Several engines may share one budget, over threads and event loops. It counts what is spent in
    its own process: a dump or a pickle holds the two numbers, and what is made from it starts
    unspent.

    Attributes:
        dollars: $ that may be spent within the window.
        window: Seconds; `None` for as long as the budget lives.

    Examples:
        >>> from bestroute.budget import Budget
        >>> budget = Budget(dollars=5, window=24 * 60 * 60)
        >>> budget.left
        5.0
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dollars: float = Field(ge=0, allow_inf_nan=False)
    window: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _held: int = PrivateAttr(default=0)
    _spent: int = PrivateAttr(default=0)
    _amounts: deque[tuple[float, int]] = PrivateAttr(default_factory=deque)
    _waiting: list[Turn] = PrivateAttr(default_factory=list)

    @property
    def left(self) -> float:
        """$ not spent within the window; what is set aside for calls under way counts as left."""
        with self._lock:
            return self._room() / _UNITS

    @property
    def held(self) -> float:
        """$ set aside for calls under way."""
        return self._held / _UNITS

    def frees_in(self, dollars: float) -> float | None:
        """Seconds until so much is left, if nothing more is spent; `None` if it never will be."""
        with self._lock:
            missing, now = _units(dollars) - self._room(), time.monotonic()
            for ends, amount in self._amounts if missing > 0 else ():
                if (missing := missing - amount) <= 0:
                    return ends - now if ends < math.inf else None
            return 0.0 if missing <= 0 else None

    def take(self, dollars: float) -> Turn | bool:
        """Set money aside.

        Returns:
            Whether it is; where calls under way may leave enough, the turn to try again.
        """
        amount = _units(dollars)
        with self._lock:
            room = self._room() - amount
            if room >= self._held:
                self._held += amount
                return True
            if room < 0:
                return False
            self._waiting.append(turn := Turn())
            return turn

    def settle(self, held: float, paid: float) -> None:
        """Of what was set aside, so much was paid; the rest is free again."""
        amount = _units(paid)
        with self._lock:
            self._room()
            self._held -= _units(held)
            if amount:
                self._spent += amount
                ends = self._end()
                if self._amounts and self._amounts[-1][0] >= ends:
                    ends, before = self._amounts.pop()
                    amount += before
                self._amounts.append((ends, amount))
            waiting, self._waiting = self._waiting, []
        for turn in waiting:
            turn.come()

    def _room(self) -> int:
        """What is not spent within the window; the lock is held."""
        now = time.monotonic()
        while self._amounts and self._amounts[0][0] <= now:
            self._spent -= self._amounts.popleft()[1]
        return _units(self.dollars) - self._spent

    def _end(self) -> float:
        """Until when counts what is paid now."""
        if self.window is None:
            return math.inf
        step = self.window / _SLICES
        return math.ceil((time.monotonic() + self.window) / step) * step

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the two numbers."""
        return type(self).model_validate, (self.model_dump(),)

    def __copy__(self) -> Budget:
        """Itself: money is not doubled."""
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Budget:
        """Itself: money is not doubled."""
        return self


class Turn:
    """Somebody in an event loop waits for money; it may come from another thread."""

    def __init__(self) -> None:
        self._come = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def come(self) -> None:
        """Calls have ended: try again."""
        try:
            self._loop.call_soon_threadsafe(self._come.set)
        except RuntimeError:  # that loop is closed
            return

    async def wait(self, until: float) -> bool:
        """Wait, at most until that moment (monotonic seconds); whether it has come."""
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await self._come.wait()
        except TimeoutError:
            return False
        return True


def _units(dollars: float) -> int:
    return round(dollars * _UNITS)
