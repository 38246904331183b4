"""One call to a provider: paid from the purse, bounded in time, tried again where it may help."""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bestroute._litellm import load_litellm
from bestroute._secrets import silence
from bestroute.billing import Billing, is_unbilled, list_cost
from bestroute.calls import acompletion_of, copied, failed, seeded
from bestroute.deadline import GRACE, within
from bestroute.errors import BudgetError
from bestroute.failures import is_passing, raise_own, waiting_time
from bestroute.pool import PooledModel
from bestroute.purse import Bill, current_purse
from bestroute.query import Request
from bestroute.samples import Call

_FIRST_DELAY = 0.5


@dataclass(frozen=True)
class Order:
    """What the calls of a draw have in common.

    Attributes:
        request, member: What is asked, and who.
        params: LiteLLM parameters.
        until: When no answer is of use any more (monotonic seconds).
        retries: Further attempts of each call.
    """

    request: Request
    member: PooledModel
    params: dict[str, Any]
    until: float
    retries: int

    @property
    def n(self) -> int:
        """Samples that one call asks for."""
        return int(self.params.get("n", 1))

    def at(self, offset: int, n: int) -> Order:
        """One call of them: its seed, and how many samples it asks for."""
        params = seeded(self.params, offset)
        return replace(self, params={**params, "n": n} if n > 1 else params)


class Asker:
    """Asks providers.

    Args:
        timeout: Seconds for one call, unless its parameters say otherwise.
        billing: Counts what no provider reports.
    """

    def __init__(self, timeout: float, billing: Billing) -> None:
        self._timeout = timeout
        self._billing = billing

    async def ask(self, order: Order, calls: list[Call]) -> tuple[Any, float, Bill]:
        """The response, when it was asked for, and its open bill.

        Asked again if the failure looks passing. Every failed attempt is recorded in `calls`; the
        last one is raised.
        """
        litellm = await load_litellm()
        ask = acompletion_of(litellm, order.member)
        for attempt in itertools.count():
            try:
                return await self._attempt(ask, order, calls)
            except Exception as error:
                if attempt >= order.retries or not is_passing(error):
                    raise
                wait = waiting_time(error, _FIRST_DELAY * 2**attempt)
                if wait == math.inf or time.monotonic() + wait >= order.until:
                    raise
            await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self, ask: Callable[..., Awaitable[Any]], order: Order, calls: list[Call]
    ) -> tuple[Any, float, Bill]:
        """One attempt, paid from the purse of the routed request; see `ask`."""
        request, member, handled = order.request, order.member, sys.exception()
        began = time.monotonic()
        cancelled = partial(self.cancelled, order, began)
        try:
            bill = await current_purse().open(
                request, member, order.n, until=order.until, cancelled=cancelled
            )
        except BudgetError as error:
            calls.append(failed(member, order.n, began, error))
            raise
        began = time.monotonic()
        given = copied(order.params)
        usual = self.seconds(given)
        seconds = min(usual, order.until - began)
        # Not what is left: LiteLLM has a client, and connections, for each number of seconds.
        told = usual if member.client is None else seconds
        if told < math.inf:
            given["timeout"] = told
        try:
            messages = copied(request.messages_for(member.name))
            response = await within(seconds + GRACE, ask(**given, messages=messages))
        except Exception as error:
            silence(error, order.params)
            call = failed(member, order.n, began, error)
            bill.close(call, unbilled=is_unbilled(error, handled))
            calls.append(call)
            raise_own(error, handled)
            raise
        except asyncio.CancelledError as error:
            call = self.cancelled(order, began, str(error) or "cancelled")
            calls.append(call)
            bill.close(call)
            raise
        return response, began, bill

    def cancelled(self, order: Order, began: float, why: str = "cancelled") -> Call:
        """The record of a call cancelled on its way: no report comes, its prompt counts."""
        usage = self._billing.unreported(order.member, order.request.prompt, "")
        return Call(
            model=order.member.name,
            requested=order.n,
            usage=usage,
            cost=list_cost(order.member, usage),
            latency=time.monotonic() - began,
            error=why,
        )

    def seconds(self, params: Mapping[str, Any]) -> float:
        """Seconds for one call; infinite where an HTTP library's own object says how long."""
        seconds = params.get("timeout", self._timeout)
        return seconds if isinstance(seconds, int | float) else math.inf
