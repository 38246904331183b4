"""Reward models that score each (query, response) pair on its own, many at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

from bestroute.rewards.base import RewardModel, Scores
from bestroute.rewards.gathering import Gathering, Pair


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
        """The same without blocking the event loop, in one batch with what waits beside it."""
        return await self._gathering.score([(query, response) for response in responses])

    async def warmup(self) -> None:
        """Score once: the first run of a model takes longer than the next."""
        await self.ascore("warm-up", ["warm-up"])

    @cached_property
    def _gathering(self) -> Gathering:
        return Gathering(self.score_many)
