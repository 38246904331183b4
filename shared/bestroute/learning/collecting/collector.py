"""Who makes the calls of a collection: workers for each model, so that none holds up another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from bestroute._litellm import load_litellm
from bestroute._routed import recorded_before
from bestroute._tasks import together
from bestroute.errors import BestRouteError
from bestroute.failures import may_refuse_n
from bestroute.learning.collecting.desk import Brought, CollectingDesk, Errand, Turn
from bestroute.learning.collecting.prompts import Prompt
from bestroute.learning.samples import canonical
from bestroute.pool import ModelPool, PooledModel
from bestroute.samples import total_cost
from bestroute.sampling import Drawn, Sampler
from bestroute.selection import sample_text


class Collector:
    """Does errands of a desk, in this process or in a worker of a cluster.

    Args:
        pool: The models.
        sampler: Talks to the providers.
    """

    def __init__(self, pool: ModelPool, sampler: Sampler | None) -> None:
        self._pool = pool
        self._sampler = sampler or Sampler()

    async def __call__(
        self, desk: CollectingDesk, errands: Sequence[Errand], concurrency: int
    ) -> None:
        """Bring every sample that is missing, or stop when the desk has no turns any more."""
        await load_litellm()
        slots = asyncio.Semaphore(concurrency)
        workers = []
        for member in self._pool.models:
            mine = [each for each in errands if member.name in each.models]
            todo = iter(mine)
            for _ in range(min(concurrency, len(mine))):
                workers.append(self._worker(desk, member, todo, slots))
        await together(workers)

    async def _worker(
        self,
        desk: CollectingDesk,
        member: PooledModel,
        todo: Iterator[Errand],
        slots: asyncio.Semaphore,
    ) -> None:
        for errand in todo:
            is_done = False
            while not is_done:
                if member.rpm:
                    await desk.pace(member.name)
                async with slots:
                    turn = await desk.turn(member.name, errand.place)
                    if turn is None:
                        return
                    is_done = not await self._call(desk, member, errand, turn)

    async def _call(
        self, desk: CollectingDesk, member: PooledModel, errand: Errand, turn: Turn
    ) -> bool:
        """Make one call, and say whether more samples are to be asked for."""
        if not turn.samples:
            return False
        try:
            drawn = await self._draw(errand.prompt, member, turn)
        except BestRouteError as error:
            await desk.fail(turn.ticket, error)
            return False
        return await desk.keep(turn.ticket, _brought(drawn))

    async def _draw(self, prompt: Prompt, member: PooledModel, turn: Turn) -> Drawn:
        recorded_before.set(turn.before)  # in this worker's own context
        return await self._sampler.draw(
            prompt.request, member, turn.samples, start=turn.before, top_up=False
        )


def _brought(drawn: Drawn) -> Brought:
    errors = [call.error for call in drawn.calls if call.error]
    failure = None
    if not drawn.samples:
        failure = (drawn.calls[-1].error if drawn.calls else None) or str(drawn.failures[-1])
    return Brought(
        results=_results(drawn),
        calls=len(drawn.calls),
        cost=total_cost(drawn.calls),
        error=errors[-1] if errors else None,
        failure=failure,
        refused_n=any(map(may_refuse_n, drawn.failures)),
    )


def _results(drawn: Drawn) -> list[str]:
    """What is kept of each sample; what the call billed is shared out, tokens by length."""
    if not drawn.samples:
        return []
    call = drawn.calls[-1]
    written = sum(sample.completion_tokens for sample in drawn.samples)
    billed = call.usage.completion_tokens / written if written else 1.0
    shared = {
        "prompt_tokens": call.usage.prompt_tokens,
        "latency": round(call.latency, 3),
        "cost": None if call.cost is None else call.cost / len(drawn.samples),
    }
    return [
        canonical(
            {
                "response": sample_text(sample),
                "finish_reason": sample.finish_reason,
                "completion_tokens": round(sample.completion_tokens * billed),
                "logprob": sample.logprob,
                **shared,
            }
        )
        for sample in drawn.samples
    ]
