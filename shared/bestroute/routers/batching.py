"""Micro-batches: what queues up while a router predicts is its next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from threading import Lock
from weakref import WeakKeyDictionary

from bestroute._aside import arriving
from bestroute.routers.base import Prediction, Router

MOST = 32
"""Queries of one batch."""


class Batches:
    """A router that concurrent callers share; it works off the event loop, in a thread.

    Nobody waits for company: a query that comes while the router is idle is predicted at once,
    those that come meanwhile together after it. Each event loop has a line of its own.

    Args:
        router: Predicts the same for a query whatever else is in the batch.
    """

    def __init__(self, router: Router) -> None:
        self.router = router
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self._lock = Lock()  # event loops of several threads

    async def predict(self, query: str) -> Prediction:
        """Match probabilities of one query [1, arms].

        An error that the router raises is that of the query it is about; a cancelled caller
        takes nothing from the others.
        """
        with self._lock:
            line = self._lines.setdefault(asyncio.get_running_loop(), _Line(self.router))
        return await line.join(query)


class _Line:
    """The callers of one event loop; only touched there."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._waiting: deque[tuple[str, asyncio.Future[Prediction]]] = deque()
        self._served: list[asyncio.Future[Prediction]] = []

    def join(self, query: str) -> asyncio.Future[Prediction]:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        self._go_on()
        return future

    def _go_on(self, _: object = None) -> None:
        """The next batch, unless someone waits for the one before: a router may hang."""
        if not all(future.done() for future in self._served):
            return
        batch: list[tuple[str, asyncio.Future[Prediction]]] = []
        while self._waiting and len(batch) < MOST:
            query, future = self._waiting.popleft()
            if not future.done():
                batch.append((query, future))
        self._served = [future for _, future in batch]
        for future in self._served:
            future.add_done_callback(self._go_on)
        if batch:
            queries = [query for query, _ in batch]
            work = asyncio.get_running_loop().run_in_executor(None, _each, self._router, queries)
            work.add_done_callback(partial(_answer, self._served))


def _answer(
    futures: Sequence[asyncio.Future[Prediction]],
    work: asyncio.Future[list[Prediction | Exception]],
) -> None:
    for future, outcome in zip(futures, work.result(), strict=True):
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _each(router: Router, queries: Sequence[str]) -> list[Prediction | Exception]:
    """A prediction or an error for each query; what fails together is tried alone."""
    try:
        whole = arriving(router.predict, queries)
        return [_row(whole, index) for index in range(len(queries))]
    except Exception as error:
        if len(queries) == 1:
            return [error]
        return [outcome for query in queries for outcome in _each(router, [query])]


def _row(whole: Prediction, index: int) -> Prediction:
    match, tokens, quality = (
        None if values is None else values[index : index + 1]
        for values in (whole.match, whole.output_tokens, whole.quality)
    )
    assert match is not None
    return Prediction(whole.arms, match, tokens, quality)
