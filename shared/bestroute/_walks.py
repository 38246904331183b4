"""Walks through generators, each in a task or a thread of its own from beginning to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from contextlib import aclosing
from contextvars import Context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from bestroute._tasks import cancelled

T = TypeVar("T")
R = TypeVar("R")

END: Any = object()
"""What comes after the last item."""

_under_way: set[asyncio.Task[None]] = set()  # an event loop would let go of them


class TaskWalk(Generic[T]):
    """Walks through an async generator in one task, as cancel scopes and context variables demand.

    Args:
        items: What to walk through.
        context: What the task runs in; by default a copy of the first step's.
    """

    def __init__(self, items: AsyncGenerator[T, None], context: Context | None = None) -> None:
        self._items, self._context = items, context
        self._wanted, self._given = asyncio.Semaphore(0), asyncio.Queue[T]()
        self._task: asyncio.Task[None] | None = None

    async def step(self) -> T:
        """The next item, or `END`."""
        if self._task is None:
            self._task = asyncio.create_task(self._walk(), context=self._context)
            _under_way.add(self._task)
            self._task.add_done_callback(_under_way.discard)
        self._wanted.release()
        item = await self._given.get()
        if item is END:
            self._task.result()  # raises what ended it
        return item

    async def close(self) -> None:
        """Close the generator, in the walk's task; a step on its way is cancelled."""
        if self._task is not None and not self._task.done():
            await cancelled([self._task])
            if self._task.done() and not self._task.cancelled():
                self._task.result()

    async def _walk(self) -> None:
        try:
            async with aclosing(self._items):
                await self._wanted.acquire()
                async for item in self._items:
                    self._given.put_nowait(item)
                    await self._wanted.acquire()
        finally:
            self._given.put_nowait(END)


class ThreadWalk(Generic[T]):
    """Walks through a generator in a thread of its own: one that hangs holds up no other.

    The threads of an executor are few, and waited for when the process ends.

    Args:
        items: What to walk through.
        context: What the thread runs in.
    """

    def __init__(self, items: Generator[T, None, None], context: Context) -> None:
        self._items = items
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._step: Future[T] | None = None
        work = partial(context.run, self._work)
        Thread(target=work, name="bestroute-call", daemon=True).start()

    async def step(self) -> T:
        """The next item, or `END`; when this is cancelled, the thread goes on."""
        self._step = self._do(next, self._items, END)
        return await asyncio.wrap_future(self._step)

    async def close(self) -> None:
        """Close the generator, in its thread; a step that was cancelled is not waited for."""
        closed = self._do(self._items.close)
        self._jobs.put(None)
        if self._step is None or self._step.done():
            await asyncio.wrap_future(closed)

    def _do(self, function: Callable[..., R], *args: Any) -> Future[R]:
        future: Future[R] = Future()
        self._jobs.put(partial(_settle, future, function, *args))
        return future

    def _work(self) -> None:
        for job in iter(self._jobs.get, None):
            job()


async def walked(walk: TaskWalk[T] | ThreadWalk[T]) -> AsyncGenerator[T, None]:
    """The items of a walk, which is closed with it."""
    try:
        while (item := await walk.step()) is not END:
            yield item
    finally:
        await walk.close()


def _settle(future: Future[R], function: Callable[..., R], *args: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function(*args))
    except BaseException as error:  # raised where it is waited for
        future.set_exception(error)
