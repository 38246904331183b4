"""Reward models that score each (query, response) pair on its own, many at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from bestroute._batches import Batches
from bestroute.errors import ScoreError
from bestroute.rewards.base import RewardModel, Scores

Pair = tuple[str, str]


class PairReward(RewardModel):
    """Scores pairs of any queries together; concurrent requests share its batches.

    A subclass gives `score_many`, which must not care which thread calls it.
    """

    @abstractmethod
    def score_many(self, pairs: Sequence[Pair]) -> Scores:
        """One finite score a (query, response) pair [n]; comparable within a query only."""

    def score(self, query: str, responses: Sequence[str]) -> Scores:
        """One score a response [n]; comparable within the query only.

        Raises:
            ScoreError: No score can be had.
        """
        return self.score_many([(query, response) for response in responses])

    async def ascore(self, query: str, responses: Sequence[str]) -> Scores:
        """The same without blocking the event loop, in one batch with what waits beside it.

        `score_many` is never called twice at once.
        """
        return await self._batches.ask([(query, response) for response in responses])

    async def warmup(self) -> None:
        """Score once: the first run of a model takes longer than the next."""
        await self.ascore("warm-up", ["warm-up"])

    @cached_property
    def _batches(self) -> Batches[Sequence[Pair], Scores]:
        return Batches(self._score_requests)

    def _score_requests(self, requests: Sequence[Sequence[Pair]]) -> list[Scores]:
        """The scores of each request's pairs."""
        pairs = [pair for each in requests for pair in each]
        scores = self.score_many(pairs)
        if len(scores) != len(pairs):
            raise ScoreError(f"{len(scores)} scores came for {len(pairs)} responses")
        return np.split(scores, np.cumsum([len(each) for each in requests[:-1]]))
