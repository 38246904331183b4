"""Draws that are under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bestroute._tasks import cancelled
from bestroute.deadline import Deadline, seconds_until
from bestroute.events import Drawing
from bestroute.policy.base import Draw
from bestroute.sampling import Drawn

_NOT_NEEDED = "cancelled: it was not needed any more"


@dataclass(frozen=True)
class Flight:
    """A draw under way.

    Attributes:
        draw, drawing: What was asked for, and its announcement.
        drawn: What it brought so far.
        task: Done when it has landed.
        began: When (monotonic seconds).
    """

    draw: Draw
    drawing: Drawing
    drawn: Drawn
    task: asyncio.Future[Any]
    began: float

    @property
    def is_vain(self) -> bool:
        """Whether it was ended for want of use, which says nothing of the model."""
        return not self.drawn.failures and (self.task.cancelled() or not self.task.done())


class Flights:
    """All draws of a routed call that are under way, one a model.

    Args:
        deadline: Of the call.
        reference: Name of the reference model.
    """

    def __init__(self, deadline: Deadline, reference: str) -> None:
        self._deadline = deadline
        self._reference = reference
        self._air: dict[str, Flight] = {}
        self._late: set[str] = set()

    def __contains__(self, model: object) -> bool:
        """Whether a model is being asked."""
        return model in self._air

    def start(
        self,
        draw: Draw,
        drawing: Drawing,
        drawn: Drawn,
        task: Awaitable[Any],
        *,
        late: bool = False,
    ) -> None:
        """One more; what it brings is put into `drawn`.

        Args:
            draw: What is asked for.
            drawing: Its announcement.
            drawn: Takes what it brings.
            task: Does it.
            late: Whether it has been under way for too long.
        """
        if late:
            self._late.add(draw.model)
        future = asyncio.ensure_future(task)
        self._air[draw.model] = Flight(draw, drawing, drawn, future, time.monotonic())

    async def land(self, draws: Sequence[Draw], *, in_hand: bool) -> list[Flight]:
        """Wait for what was drawn, as long as the deadline allows.

        When the time for the first models is over and something has come, only the reference is
        waited for; if nothing has, they go on, for others to be asked beside them.

        Args:
            draws: Those that are waited for.
            in_hand: Whether there are samples already.

        Returns:
            Those that have ended.
        """
        flights = [self._air[draw.model] for draw in draws]
        late = await _wait(flights, self._deadline.next)
        if late and not self._deadline.is_over:
            if not in_hand and not any(flight.drawn.samples for flight in flights):
                self._late |= {flight.draw.model for flight in late}
                return self._take_down(flight for flight in flights if flight not in late)
            await self._cut_off(each for each in late if each.draw.model != self._reference)
            late = [each for each in late if each.draw.model == self._reference]
            late = await _wait(late, self._deadline.end)
        await self._cut_off(late)
        return self._take_down(flights)

    async def land_any(self) -> list[Flight]:
        """Wait for all there are, until the reference has answered; the rest is cancelled.

        Those that were late before count as having failed.
        """
        left = await _wait(list(self._air.values()), self._deadline.end, enough=self._reference)
        over, late = self._deadline.is_over, self._late
        await self._cut_off(each for each in left if over or each.draw.model in late)
        return await self.recall()

    async def recall(self, why: str = _NOT_NEEDED) -> list[Flight]:
        """Cancel all there are, and return them: what they brought so far is kept."""
        await cancelled((flight.task for flight in self._air.values()), why)
        return self._take_down(list(self._air.values()))

    async def _cut_off(self, late: Iterable[Flight]) -> None:
        """Their time is over."""
        flights, now = list(late), time.monotonic()
        await cancelled((flight.task for flight in flights), "cut off: its time was over")
        for flight in flights:
            if not flight.drawn.failures:
                model, seconds = flight.draw.model, now - flight.began
                why = f"{model} did not answer within {seconds:.3g} seconds"
                flight.drawn.failures.append(TimeoutError(why))

    def _take_down(self, flights: Iterable[Flight]) -> list[Flight]:
        return [self._air.pop(flight.draw.model) for flight in flights]


async def _wait(flights: Sequence[Flight], until: float, *, enough: str = "") -> list[Flight]:
    """Wait until a moment, or until a model has brought something; returns those under way.

    Raises:
        Exception: What a draw raised.
    """
    while left := _under_way(flights):
        answered = any(each.drawn.samples for each in flights if each.draw.model == enough)
        seconds = seconds_until(until)
        if answered or seconds == 0:
            break
        tasks = [flight.task for flight in left]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return left


def _under_way(flights: Sequence[Flight]) -> list[Flight]:
    for flight in flights:
        if flight.task.done():
            flight.task.result()
    return [flight for flight in flights if not flight.task.done()]
