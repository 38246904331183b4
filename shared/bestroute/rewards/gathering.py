"""Concurrent requests scored together: what queued while one batch ran is the next batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from bestroute._aside import arriving
from bestroute.errors import ScoreError
from bestroute.rewards.base import Scores

Pair = tuple[str, str]


class _Waiting(NamedTuple):
    pairs: Sequence[Pair]
    future: Future[Scores]


class Gathering:
    """Scores the pairs of concurrent requests in one go, in a thread that ends when none wait.

    There is no timer: a request that finds it idle is scored at once, alone. Requests may come
    from several event loops; one that is cancelled before its turn is not scored.

    Args:
        score_many: Scores pairs [n]; never called twice at once.
    """

    def __init__(self, score_many: Callable[[Sequence[Pair]], Scores]) -> None:
        self._score_many = score_many
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._busy = False

    async def score(self, pairs: Sequence[Pair]) -> Scores:
        """The scores of one request's pairs [n].

        Raises:
            Exception: What these pairs make `score_many` raise; those of others do not matter.
        """
        future: Future[Scores] = Future()
        with self._lock:
            self._waiting.append(_Waiting(pairs, future))
            starts = not self._busy
            self._busy = True
        if starts:
            threading.Thread(target=self._run, name="bestroute-rewards", daemon=True).start()
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        while batch := self._next():
            self._settle([each for each in batch if each.future.set_running_or_notify_cancel()])

    def _next(self) -> list[_Waiting]:
        with self._lock:
            batch, self._waiting = self._waiting, []
            self._busy = bool(batch)
        return batch

    def _settle(self, batch: Sequence[_Waiting]) -> None:
        """Score a batch; one that fails is scored request by request, to fail alone."""
        if not batch:
            return
        try:
            pairs = [pair for each in batch for pair in each.pairs]
            scores = arriving(self._score_many, pairs)
            if len(scores) != len(pairs):
                raise ScoreError(f"{len(scores)} scores came for {len(pairs)} responses")
        except BaseException as error:  # a thread has nobody else to tell
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for each in batch:
                self._settle([each])
            return
        start = 0
        for each in batch:
            each.future.set_result(scores[start : start + len(each.pairs)])
            start += len(each.pairs)
