"""Who makes the scores, in this process or in a worker of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bestroute._tasks import together
from bestroute.errors import ScoreError
from bestroute.learning.scoring.desk import Errand, ScoringDesk
from bestroute.learning.scoring.scorers import Scorer


class Marker:
    """Does errands of a desk.

    Args:
        scorers: What fills each column.
    """

    def __init__(self, scorers: Mapping[str, Scorer]) -> None:
        self._scorers = scorers

    async def __call__(
        self, desk: ScoringDesk, errands: Sequence[Errand], concurrency: int
    ) -> None:
        """Make every missing score, or stop when the desk has no turns any more."""
        todo = iter(errands)

        async def worker() -> None:
            for errand in todo:
                ticket = await desk.turn(errand.place)
                if ticket is None:
                    return
                await self._score(desk, ticket, errand)

        await together(worker() for _ in range(min(concurrency, len(errands))))

    async def _score(self, desk: ScoringDesk, ticket: int, errand: Errand) -> None:
        reward = self._scorers[errand.column].reward(errand.truth)
        try:
            scored = await reward.judge(errand.query, errand.responses)
        except ScoreError as error:
            await desk.fail(ticket, error)
        else:
            await desk.keep(ticket, scored)
