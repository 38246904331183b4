"""Work off the event loop.

Ours, in pure Python, has one thread, for more would only fight for the GIL.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_AT_ONCE = 2_000
"""Characters; work on fewer is done sooner (some 2 ms) than it is worth a thread."""


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="bestroute-aside")


_executor = _one_thread()


def _start_anew() -> None:
    """A forked child does not have the thread."""
    global _executor
    _executor = _one_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


async def aside(work: Callable[[], T], *, size: float) -> T:
    """What work on texts returns; only short ones keep the event loop waiting.

    Args:
        work: Called in the caller's context.
        size: Characters that it reads.
    """
    if size <= _AT_ONCE:
        return work()
    run = contextvars.copy_context().run
    return await asyncio.get_running_loop().run_in_executor(_executor, run, work)


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """`asyncio.to_thread` for the code of others, which may raise anything; see `arriving`."""
    return await asyncio.to_thread(arriving, function, *args)


def arriving(function: Callable[..., T], *args: Any) -> T:
    """What a function returns; what it raises can be told to another thread.

    Raises:
        RuntimeError: Instead of a `StopIteration`, which no future takes (whoever waits would wait
            for ever), and of what would end the waiting task, or the process.
    """
    try:
        return function(*args)
    except (StopIteration, asyncio.CancelledError, SystemExit) as error:
        raise RuntimeError(f"it raised {type(error).__name__}") from error
