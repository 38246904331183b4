"""An answer that is shown as it comes, as long as its time lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from bestroute._walks import END, TaskWalk
from bestroute.deadline import seconds_until
from bestroute.events import Delta
from bestroute.samples import Sample

LATE: Any = object()
"""Instead of a piece that did not come in time."""


class Live:
    """The pieces of a stream, read in a task of its own: waiting for one may end before it comes.

    Args:
        pieces: The stream.

    Attributes:
        goes_on: Whether it is read on although nobody waits for the next piece.
    """

    goes_on = False

    def __init__(self, pieces: AsyncGenerator[Delta, None]) -> None:
        self._walk = TaskWalk(pieces)

    async def next(self, until: float) -> Any:
        """The next piece, `END`, or `LATE` if neither came until that moment (monotonic seconds).

        Raises:
            Exception: What ended the stream.
        """
        try:
            async with asyncio.timeout(seconds_until(until)):
                return await self._walk.step()
        except TimeoutError:
            return LATE

    async def rest(self) -> None:
        """Read on to the end, for nobody."""
        try:
            while await self._walk.step() is not END:
                pass
        finally:
            await self.close()

    async def close(self) -> None:
        """Leave the stream."""
        await self._walk.close()


def whole(winner: Sample) -> Delta:
    """A sample in one piece."""
    calls = [{"index": index, **call} for index, call in enumerate(winner.tool_calls)]
    thoughts = winner.message.get("reasoning_content") or ""
    return Delta(text=winner.text, tool_calls=tuple(calls), reasoning=thoughts)
