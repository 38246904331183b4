"""One run of a collection: who is asked next, what is kept, and when to stop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from bestroute import catalog
from bestroute._routed import recorded_before
from bestroute._tasks import together
from bestroute.errors import BestRouteError, SamplingError
from bestroute.failures import may_refuse_n
from bestroute.learning.collecting.pace import Pace
from bestroute.learning.collecting.workload import Unit, Workload
from bestroute.learning.journal import Journal
from bestroute.learning.samples import canonical
from bestroute.samples import total_cost
from bestroute.sampling import Drawn, Sampler
from bestroute.selection import sample_text

if TYPE_CHECKING:
    from bestroute.learning.progress import Progress

_GIVE_UP = 10  # failures of one model in a row


class Failure(BaseModel):
    """Calls of one model that failed for good in the same way.

    Attributes:
        model: Its name in the pool.
        error: The first of them.
        prompts: How many prompts it concerns.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    error: str
    prompts: int


class Collector:
    """One run over a workload: workers for each model, so that a slow one holds up no other."""

    def __init__(
        self,
        work: Workload,
        journal: Journal,
        sampler: Sampler,
        max_cost: float | None,
        progress: Progress | None,
    ) -> None:
        self.stopped: str | None = None
        self.error: BestRouteError | None = None
        self._work = work
        self._journal = journal
        self._sampler = sampler
        self._max_cost = max_cost
        self._progress = progress
        self._committed = journal.spent  # with the estimates of the calls under way
        self._pace = Pace()
        self._single: set[str] = set()  # models that refuse n
        self._in_row: Counter[str] = Counter()
        self._last: dict[str, str] = {}  # error of each model
        self._failed: dict[tuple[str, str], list[str]] = {}
        self._halted = asyncio.Event()
        plan = work.plan()
        self._done, self._total = plan.kept, plan.kept + plan.samples

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What failed for good, most frequent first."""
        found = [
            Failure(model=model, error=errors[0], prompts=len(errors))
            for (model, _), errors in self._failed.items()
        ]
        return tuple(sorted(found, key=lambda each: -each.prompts))

    async def all(self, concurrency: int) -> None:
        """Complete every unit, or stop early."""
        slots = asyncio.Semaphore(concurrency)
        workers = []
        for units in self._work.units.values():
            todo = iter([unit for unit in units if self._work.missing(unit)])
            workers += [self._worker(todo, slots) for _ in range(min(concurrency, len(units)))]
        await together(workers)
        for model, units in self._work.units.items():
            if self._in_row[model] and not any(self._work.kept.get(u.key) for u in units):
                self._give_up(model)

    async def _worker(self, todo: Iterator[Unit], slots: asyncio.Semaphore) -> None:
        for unit in todo:
            missing = self._work.missing(unit)
            while missing and not self._halted.is_set():
                missing = await self._next(unit, missing, slots)

    async def _next(self, unit: Unit, missing: int, slots: asyncio.Semaphore) -> int:
        """Wait for the model's turn, make one call, and say how many samples are to be asked."""
        wait = self._pace.reserve(unit.member)
        if wait:
            try:
                await asyncio.wait_for(self._halted.wait(), wait)
            except TimeoutError:
                pass  # not halted: it is our turn
        async with slots:
            if self._halted.is_set():
                return missing
            try:
                return await self._call(unit, missing)
            except BestRouteError as error:  # a mistake in the set-up: nobody else goes on
                self._halt(error=error)
                return missing

    async def _call(self, unit: Unit, missing: int) -> int:
        single = unit.member.name in self._single
        size = 1 if single else min(missing, catalog.native_n(unit.member))
        if not self._affordable(unit, size):
            return missing
        estimate = self._work.cost(unit, size)
        ticket = self._journal.ask(unit.key, size, estimate)
        self._committed += estimate or 0
        try:
            drawn = await self._draw(unit, size)
        except BestRouteError as error:
            self._journal.keep(ticket, error=str(error))
            raise
        self._pace.reserve(unit.member, len(drawn.calls) - 1)
        errors = [call.error for call in drawn.calls if call.error]
        cost = total_cost(drawn.calls)
        self._committed += (cost or 0) - (estimate or 0)
        self._journal.keep(ticket, _results(drawn), cost=cost, error=errors[-1] if errors else None)
        return self._after(unit, missing, size, drawn)

    async def _draw(self, unit: Unit, size: int) -> Drawn:
        before = self._work.kept.get(unit.key, 0)
        recorded_before.set(before)  # in this worker's own context
        return await self._sampler.draw(
            unit.prompt.request, unit.member, size, start=before, top_up=False
        )

    def _after(self, unit: Unit, missing: int, size: int, drawn: Drawn) -> int:
        """Count what came; returns the samples to be asked for yet, 0 if it failed for good."""
        name, brought = unit.member.name, len(drawn.samples)
        if brought:
            self._work.kept[unit.key] = self._work.kept.get(unit.key, 0) + brought
            self._in_row[name] = 0
            self._done += min(brought, missing)
            if self._progress:
                self._progress("collecting", self._done, self._total)
            return max(0, missing - brought)
        if size > 1 and any(map(may_refuse_n, drawn.failures)):
            self._single.add(name)
            return missing
        error = (drawn.calls[-1].error if drawn.calls else None) or str(drawn.failures[-1])
        self._failed.setdefault((name, error.partition(":")[0]), []).append(error)
        self._last[name] = error
        self._in_row[name] += 1
        if self._in_row[name] >= _GIVE_UP:
            self._give_up(name)
        return 0

    def _give_up(self, model: str) -> None:
        self._halt(
            error=SamplingError(
                f"{model} failed {self._in_row[model]} times in a row, the last time with "
                f"{self._last[model]}; what came is kept: mend it and run again to go on"
            )
        )

    def _affordable(self, unit: Unit, size: int) -> bool:
        if self._max_cost is None:
            return True
        estimate = self._work.sure_cost(unit, size)
        if self._committed + estimate > self._max_cost:
            self._halt(
                stopped=f"the next call (about ${estimate:.6f}) would exceed the limit of "
                f"${self._max_cost:g}: ${self._committed:.6f} are spent or under way"
            )
            return False
        return True

    def _halt(self, *, error: BestRouteError | None = None, stopped: str | None = None) -> None:
        """Begin no further call; those under way come to their end and are kept."""
        self.error = self.error or error
        self.stopped = self.stopped or stopped
        self._halted.set()


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
