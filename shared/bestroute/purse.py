"""The purse of one routed request: no call is sent that its caps could not pay."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType

from bestroute.budget import Budget, Turn
from bestroute.errors import BudgetError
from bestroute.pool import PooledModel
from bestroute.query import Request
from bestroute.reservation import reserve
from bestroute.samples import Call

_log = logging.getLogger(__name__)

_PATIENCE = 60.0
"""Seconds to wait for calls under way, which may leave enough."""


class Purse:
    """Caps on what a request may spend, and the bills of all its calls, whoever makes them.

    It goes with the context of the request (`spending`), so that a judge's calls are paid from it
    as well.

    Args:
        max_cost: $ that this request may cost.
        window_budget: What it shares with others.
    """

    def __init__(
        self, *, max_cost: float | None = None, window_budget: Budget | None = None
    ) -> None:
        caps = {
            "max_cost": None if max_cost is None else Budget(dollars=max_cost),
            "the window budget": window_budget,
        }
        self.caps: Mapping[str, Budget] = {
            name: cap for name, cap in caps.items() if cap is not None
        }
        self._calls: list[Call] = []
        self._open: list[Bill] = []

    @property
    def left(self) -> float:
        """$ left by the tightest cap; infinite without one."""
        return min((cap.left for cap in self.caps.values()), default=float("inf"))

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call so far; those under way count as if they were cancelled now."""
        return (*self._calls, *(bill.cancelled() for bill in self._open))

    def refusal(self, dollars: float, what: str, unknown: str = "") -> BudgetError | None:
        """Why so much cannot be paid, whatever calls under way leave; `None` if it can.

        Args:
            dollars: The most that it may cost.
            what: Who asks.
            unknown: Why nobody knows how much that is.
        """
        if unknown and self.caps:
            return BudgetError(f"{unknown} ({' and '.join(self.caps)} must know)", left=self.left)
        for name, cap in self.caps.items():
            if frees_in := cap.frees_in(dollars):
                wait = f"; enough in {frees_in:.0f} s"
            elif frees_in is None:
                wait = ""
            else:
                continue
            left = f"${cap.left:.3g} of ${cap.dollars:.3g} left"
            return BudgetError(
                f"{what} may cost ${dollars:.3g}, more than {name} has: {left}{wait}",
                left=cap.left,
                frees_in=frees_in,
            )
        return None

    async def open(
        self,
        request: Request,
        member: PooledModel,
        n: int,
        *,
        until: float = math.inf,
        cancelled: Callable[[], Call],
    ) -> Bill:
        """Set aside the most that a call may cost, once calls under way have left enough of it.

        Args:
            request: What is asked.
            member: Who is asked.
            n: How many samples.
            until: When it is too late to wait for them (monotonic seconds).
            cancelled: What the call counts as while it is under way.

        Raises:
            BudgetError: A cap does not have so much, or nobody knows how much it may be.
        """
        most = 0.0
        if self.caps:
            reservation = reserve(request, member)
            if refusal := self.refusal(0.0, member.name, reservation.unknown):
                raise refusal
            most = reservation.dollars(n)
            await self._set_aside(most, f"{n} of {member.name}", until)
        bill = Bill(self, most, cancelled)
        self._open.append(bill)
        return bill

    async def _set_aside(self, dollars: float, what: str, until: float) -> None:
        until = min(until, time.monotonic() + _PATIENCE)
        while (turn := self._take(dollars)) is not True:
            if turn is False or not await turn.wait(until):
                raise self.refusal(dollars, what) or BudgetError(
                    f"{what} may cost ${dollars:.3g}, and calls under way hold what is left",
                    left=self.left,
                )

    def _take(self, dollars: float) -> Turn | bool:
        """From all caps or none."""
        taken: list[Budget] = []
        for cap in self.caps.values():
            if (turn := cap.take(dollars)) is not True:
                for each in taken:
                    each.settle(dollars, 0.0)
                return turn
            taken.append(cap)
        return True

    def close(self, bill: Bill, call: Call, paid: float) -> None:
        """A call has ended, and cost so much."""
        self._open.remove(bill)
        self._calls.append(call)
        for cap in self.caps.values():
            cap.settle(bill.most, paid)


class Bill:
    """One call to a provider, from before it is sent until it is known what it cost.

    As a context, it closes as cancelled if the call is left before it ended.

    Attributes:
        most: $ set aside for it.
        cancelled: What the call counts as while it is under way.
    """

    def __init__(self, purse: Purse, most: float, cancelled: Callable[[], Call]) -> None:
        self.most = most
        self.cancelled = cancelled
        self._purse: Purse | None = purse

    def close(self, call: Call, *, unbilled: bool = False) -> None:
        """The call has ended; without a provider's report the caps count the most it may cost.

        Args:
            call: Its record.
            unbilled: Whether it is sure to cost nothing.
        """
        if self._purse is None:
            return
        purse, self._purse = self._purse, None
        reported = call.usage.total_tokens and not call.usage.estimated
        paid = call.cost if reported and call.cost is not None else self.most
        if purse.caps and paid > self.most:
            _log.warning(
                "a call of %s cost $%.3g, more than the $%.3g set aside: its price, context_window "
                "or max_output_tokens in the pool may be too low",
                call.model,
                paid,
                self.most,
            )
        purse.close(self, call, 0.0 if unbilled else paid)

    def __enter__(self) -> Bill:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, if nobody has."""
        if self._purse is not None:
            self.close(self.cancelled())


_purse: ContextVar[Purse | None] = ContextVar("purse", default=None)


def current_purse() -> Purse:
    """That of the routed request that is running; outside one, a purse without caps."""
    return _purse.get() or Purse()


@contextmanager
def spending(purse: Purse) -> Iterator[None]:
    """Everything begun in here is paid from it."""
    token = _purse.set(purse)
    try:
        yield
    finally:
        _purse.reset(token)
