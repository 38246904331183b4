"""Micro-batches: what queues up while one batch is worked on is the next batch."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakSet

from bestroute._aside import arriving

MOST = 32
"""Items of one batch."""

_LINGER = 0.2
"""Seconds that a thread stays for the next batch: to start one keeps the event loop waiting."""

T = TypeVar("T")
R = TypeVar("R")


class _Asked(NamedTuple, Generic[T, R]):
    item: T
    future: asyncio.Future[R]

    def waits(self) -> bool:
        """Whether anybody still does."""
        return not (self.future.done() or self.future.get_loop().is_closed())


class Batches(Generic[T, R]):
    """Work that concurrent callers, of any event loop, share; it is done in threads.

    Nobody waits for company: an item that comes while nothing is worked on begins at once, those
    that come meanwhile go together after it. There is no timer.

    Args:
        work: One result an item, the same whatever else is in the batch.
        threads: Most that work at once. The second one starts only when nobody waits any more
            for what the first one does, which may hang.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]], *, threads: int = 1) -> None:
        self._work, self._threads = work, threads
        self.start_anew()
        _all.add(self)

    def start_anew(self) -> None:
        """A forked child has neither the threads nor those who wait, nor a lock sure to be free."""
        self._changed = threading.Condition()
        self._waiting: deque[_Asked[T, R]] = deque()
        self._running: list[list[_Asked[T, R]]] = []
        self._idle = 0

    async def ask(self, item: T) -> R:
        """The result of one item; a cancelled caller takes nothing from the others.

        Raises:
            Exception: What this item makes the work raise; those of others do not matter.
        """
        asked: _Asked[T, R] = _Asked(item, asyncio.get_running_loop().create_future())
        with self._changed:
            self._waiting.append(asked)
        self._go_on()
        try:
            return await asked.future
        finally:
            self._go_on()  # it may have been the last to wait for work that hangs

    def _go_on(self) -> None:
        """See that a thread takes what waits."""
        with self._changed:
            if not self._waiting or self._held_up():
                return
            if self._idle:
                self._changed.notify()
                return
            self._idle += 1
        try:
            threading.Thread(target=self._run, name="bestroute-batches", daemon=True).start()
        except RuntimeError as error:  # the machine has no more
            with self._changed:
                self._idle -= 1
                left, self._waiting = self._waiting, deque()
            _tell(left, [error] * len(left))

    def _run(self) -> None:
        while batch := self._next():
            outcomes = _each(self._work, [asked.item for asked in batch])
            with self._changed:
                self._running = [each for each in self._running if each is not batch]
                self._idle += 1
            _tell(batch, outcomes)

    def _next(self) -> list[_Asked[T, R]]:
        """What a thread works on next; nothing, if nothing comes."""
        with self._changed:
            batch = self._changed.wait_for(self._take, _LINGER)
            self._idle -= 1
            return batch

    def _take(self) -> list[_Asked[T, R]]:
        batch: list[_Asked[T, R]] = []
        while self._waiting and len(batch) < MOST and not self._held_up():
            asked = self._waiting.popleft()
            if asked.waits():
                batch.append(asked)
        if batch:
            self._running.append(batch)
        return batch

    def _held_up(self) -> bool:
        """Whether someone waits for what is worked on, or all threads hang."""
        waited = (asked.waits() for batch in self._running for asked in batch)
        return len(self._running) >= self._threads or any(waited)


def _each(
    work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]
) -> Sequence[R | BaseException]:
    """A result or an error for each item; what fails together is tried alone."""
    try:
        return arriving(work, items)
    except BaseException as error:  # a thread has nobody else to tell
        if len(items) == 1:
            return [error]
        return [outcome for item in items for outcome in _each(work, [item])]


def _tell(asked: Sequence[_Asked[T, R]], outcomes: Sequence[R | BaseException]) -> None:
    """Each event loop what its own callers wait for."""
    told: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[R], R | BaseException]]] = {}
    for (_, future), outcome in zip(asked, outcomes, strict=True):
        told.setdefault(future.get_loop(), []).append((future, outcome))
    for loop, some in told.items():
        with suppress(RuntimeError):  # it was closed
            loop.call_soon_threadsafe(_settle, some)


def _settle(some: Sequence[tuple[asyncio.Future[R], R | BaseException]]) -> None:
    for future, outcome in some:
        if future.done():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


_all: WeakSet[Batches[Any, Any]] = WeakSet()


def _start_anew() -> None:
    for each in _all:
        each.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
