"""The sync door: one background event loop per process, usable inside running loops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, TypeVar

from bestroute._walks import END, TaskWalk

T = TypeVar("T")


class _Background:
    """An event loop in a thread of its own, started when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="bestroute", daemon=True
                )
                self._thread.start()
            return self._loop

    def is_here(self) -> bool:
        """Whether the caller runs in that very thread, which must not wait for itself."""
        return threading.current_thread() is self._thread


_background = _Background()


def _start_anew() -> None:
    """A forked child has neither the thread nor a lock that is sure to be free."""
    global _background
    _background = _Background()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from any thread, inside or outside an event loop.

    Interrupting the caller (Ctrl-C) cancels the coroutine.

    Raises:
        RuntimeError: Called by a coroutine that the sync door itself runs: await it instead.
    """
    if _background.is_here():
        coroutine.close()
        raise RuntimeError("a sync method of bestroute was called in async code; await its twin")
    future = asyncio.run_coroutine_threadsafe(coroutine, _background.loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()  # of no effect if it was the coroutine that raised
        raise


def in_sync_door() -> bool:
    """Whether the running code serves a sync caller."""
    return _background.is_here()


def iterate_sync(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Walk an async generator from sync code, in one task; leaving early closes it."""
    walk = TaskWalk(items)
    try:
        while (item := run_sync(walk.step())) is not END:
            yield item
    finally:
        if _background.is_here():  # collected as garbage in there: nobody waits
            asyncio.run_coroutine_threadsafe(walk.close(), _background.loop())
        else:
            run_sync(walk.close())
