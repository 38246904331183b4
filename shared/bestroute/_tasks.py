"""Coroutines side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def together(coroutines: Iterable[Awaitable[T]]) -> list[T]:
    """What the coroutines return, in their order; the first to raise ends the others.

    `asyncio.gather` alone would leave them running, and paying.
    """
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
