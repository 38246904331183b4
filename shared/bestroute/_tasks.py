"""Coroutines side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

_GRACE = 1.0
"""Seconds; a client that does not let itself be cancelled is not waited for."""


async def together(coroutines: Iterable[Awaitable[T]]) -> list[T]:
    """What the coroutines return, in their order; the first to raise ends the others.

    `asyncio.gather` alone would leave them running, and paying.
    """
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancelled(tasks)


async def cancelled(tasks: Iterable[asyncio.Future[Any]], why: str | None = None) -> None:
    """Cancel what is not done and wait until it has cleaned up: nothing is left behind.

    Args:
        tasks: The tasks.
        why: Told to them.
    """
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel(why)
    if left:
        await asyncio.wait(left, timeout=_GRACE)
