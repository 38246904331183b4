"""When a routed call must be over."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from typing import TypeVar

T = TypeVar("T")

GRACE = 0.1
"""Seconds more than a provider's package has to tell in its own words that its time is over."""


class Deadline:
    """The time of a routed call, by the monotonic clock: wall clocks jump.

    Args:
        timeout: Seconds from now for the whole call; `None` for as long as it takes.
        fallback_share: Share of them that is kept for other models than those asked first.

    Attributes:
        end: When the call is over (monotonic seconds); infinite without a timeout.
        cut: When others are asked too, if nothing came.
    """

    def __init__(self, timeout: float | None = None, fallback_share: float = 0.5) -> None:
        now = time.monotonic()
        self.end = self.cut = math.inf
        if timeout is not None and timeout < math.inf:
            self.end = now + timeout
            self.cut = self.end - fallback_share * timeout

    @property
    def next(self) -> float:
        """The one that is still ahead, the cut or the end (monotonic seconds)."""
        return self.end if self.is_cut else self.cut

    @property
    def is_cut(self) -> bool:
        """Whether only the share for others is left."""
        return time.monotonic() >= self.cut

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.end


def seconds_until(moment: float) -> float | None:
    """For `asyncio`'s timeouts: seconds until a moment (monotonic), `None` for infinite."""
    return None if moment == math.inf else max(0.0, moment - time.monotonic())


async def within(seconds: float, answer: Awaitable[T]) -> T:
    """Wait, but not for ever: some libraries take a timeout for that of each byte.

    Raises:
        TimeoutError: It did not come within so many seconds, which may be infinite.
        ConnectionAbortedError: It was cancelled, but not with whoever waits.
    """
    limit = asyncio.timeout(None if seconds == math.inf else max(0.0, seconds))
    try:
        async with limit:
            return await answer
    except TimeoutError as error:
        if not limit.expired():
            raise  # the answer's own
        raise TimeoutError(f"nothing came within {seconds:.3g} seconds") from error
    except asyncio.CancelledError as error:
        waits = asyncio.current_task()
        if waits is None or waits.cancelling():
            raise
        raise ConnectionAbortedError("the answer was cancelled from within") from error


async def paced(items: AsyncIterable[T], idle: float, until: float) -> AsyncGenerator[T, None]:
    """Items of a stream, each of them within `idle` seconds and none after `until` (monotonic).

    Raises:
        TimeoutError: One did not come in time.
    """
    iterator, began = aiter(items), time.monotonic()
    while True:
        left = until - time.monotonic()
        try:
            item = await within(min(idle, left), anext(iterator))
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            if idle <= left or time.monotonic() < until:
                raise
            raise TimeoutError(f"no end within {until - began:.3g} seconds") from error
        yield item
