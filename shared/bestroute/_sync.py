"""The sync door: one background event loop per process, usable inside running loops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError as FutureCancelled
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_state: dict[str, Any] = {}


def _loop() -> asyncio.AbstractEventLoop:
    """The shared loop; a forked child gets its own, for threads do not survive a fork."""
    with _lock:
        if _state.get("pid") != os.getpid():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="bestroute", daemon=True)
            thread.start()
            _state.update(pid=os.getpid(), loop=loop)
        loop = _state["loop"]
        assert isinstance(loop, asyncio.AbstractEventLoop)
        return loop


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from any thread, inside or outside an event loop.

    Interrupting the caller (Ctrl-C) cancels the coroutine.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result()
    except (KeyboardInterrupt, FutureCancelled):
        future.cancel()
        raise


def iterate_sync(items: AsyncIterator[T]) -> Iterator[T]:
    """Walk an async iterator from sync code; leaving early closes it."""

    async def advance() -> tuple[bool, T | None]:
        try:
            return True, await anext(items)
        except StopAsyncIteration:
            return False, None

    try:
        while True:
            more, item = run_sync(advance())
            if not more:
                return
            yield item  # type: ignore[misc]
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            run_sync(close())
