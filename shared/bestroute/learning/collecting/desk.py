"""What there is one of in a collection: who is asked next, what is kept, and when to stop."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from bestroute import catalog
from bestroute.errors import BestRouteError, SamplingError
from bestroute.learning.atomic import replacing
from bestroute.learning.collecting.pace import Pace
from bestroute.learning.collecting.prompts import Prompt
from bestroute.learning.collecting.workload import Samples, Unit, Workload, about, journal_path
from bestroute.learning.journal import Journal, Lost
from bestroute.learning.progress import Progress
from bestroute.learning.samples import table_writer
from bestroute.pool import ModelPool

_GIVE_UP = 10  # failures of one model in a row
_PART = 10_000  # rows that are written at once


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


class Collected(BaseModel):
    """What a collection brought.

    Attributes:
        path: The samples table; `None` when there is not one sample to write.
        rows: Rows in it.
        missing: Samples that are still missing; another run asks for them.
        cost: $ spent so far by all runs, lost calls by estimate, as far as prices are known.
        lost: Calls that a run before left under way: they were asked again.
        failures: What failed in this run.
        stopped: Why it ended early.
    """

    model_config = ConfigDict(frozen=True)

    path: Path | None
    rows: int
    missing: int
    cost: float
    lost: Lost
    failures: tuple[Failure, ...] = ()
    stopped: str | None = None


class Errand(NamedTuple):
    """A prompt, its place in the collection, and the models whose samples are missing."""

    place: int
    prompt: Prompt
    models: tuple[str, ...]


class Turn(NamedTuple):
    """One call that may be made now, for so many samples, if any; `before` are there already."""

    ticket: int
    samples: int
    before: int


class Brought(NamedTuple):
    """What a call brought.

    Attributes:
        results: What is kept of each sample.
        calls: How many calls it took, with retries.
        cost: $ of all of them, where known.
        error: The last error on the way.
        failure: Why no sample came.
        refused_n: Whether asking for several samples at once may be what was refused.
    """

    results: list[str]
    calls: int
    cost: float | None
    error: str | None
    failure: str | None
    refused_n: bool


class _Open(NamedTuple):
    unit: Unit
    samples: int
    estimate: float


class CollectingDesk:
    """One run of a collection, whoever makes the calls.

    Raises:
        DataError, MissingPriceError, SampleLimitError: See `acollect`.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        pool: ModelPool,
        path: Path,
        samples: Samples,
        max_cost: float | None,
        progress: Progress | None,
    ) -> None:
        self._path = path
        self._max_cost = max_cost
        self._progress = progress
        self._journal = Journal(journal_path(path), about(pool))
        try:
            self._work = Workload(prompts, pool, samples, self._journal)
            self._lost = self._journal.write_off()
            plan = self._work.plan()
        except BaseException:
            self.close()
            raise
        self._stopped: str | None = None
        self._error: BestRouteError | None = None
        self._committed = self._journal.spent  # with the estimates of the calls under way
        self._open: dict[int, _Open] = {}
        self._pace = Pace()
        self._single: set[str] = set()  # models that refuse n
        self._in_row: Counter[str] = Counter()
        self._last: dict[str, str] = {}  # error of each model
        self._failed: dict[tuple[str, str], list[str]] = {}
        self._halted = asyncio.Event()
        self._done, self._total = plan.kept, plan.kept + plan.samples

    def errands(self) -> list[Errand]:
        """What is to be asked."""
        work, found = self._work, []
        for place, prompt in enumerate(work.prompts):
            units = [(name, units[place]) for name, units in work.units.items()]
            if models := tuple(name for name, unit in units if work.missing(unit)):
                found.append(Errand(place, prompt, models))
        return found

    async def pace(self, model: str) -> None:
        """Wait until the model may be called, or all is over."""
        if wait := self._pace.reserve(self._work.pool[model]):
            try:
                await asyncio.wait_for(self._halted.wait(), wait)
            except TimeoutError:
                pass  # not halted: it is our turn

    async def turn(self, model: str, place: int) -> Turn | None:
        """Write a call down that may be made now; `None` if nobody is asked any more."""
        unit = self._work.units[model][place]
        missing, before = self._work.missing(unit), self._work.kept.get(unit.key, 0)
        if not missing:  # another worker, that was taken for dead, has done it
            return Turn(0, 0, before)
        size = 1 if model in self._single else min(missing, catalog.native_n(unit.member))
        if self._halted.is_set() or not self._affordable(unit, size):
            return None
        estimate = self._work.cost(unit, size)
        ticket = self._journal.ask(unit.key, size, estimate)
        self._committed += estimate or 0
        self._open[ticket] = _Open(unit, size, estimate or 0)
        return Turn(ticket, size, before)

    async def keep(self, ticket: int, brought: Brought) -> bool:
        """Keep what a call brought; tells whether the prompt is to be asked again."""
        unit, size, estimate = self._open.pop(ticket)
        self._pace.reserve(unit.member, brought.calls - 1)
        self._committed += (brought.cost or 0) - estimate
        self._journal.keep(ticket, brought.results, cost=brought.cost, error=brought.error)
        if brought.results:
            return self._count(unit, len(brought.results))
        return self._note_failure(unit.member.name, size, brought)

    async def fail(self, ticket: int, error: BestRouteError) -> None:
        """A mistake in the set-up: nobody else goes on."""
        self._journal.keep(ticket, error=str(error))
        self._halt(error=error)

    async def halt(self) -> None:
        """Begin no further call."""
        self._halt()

    def finish(self) -> Collected:
        """Write the table.

        Raises:
            BestRouteError: What ended the run.
        """
        for model, units in self._work.units.items():
            if self._in_row[model] and not any(self._work.kept.get(u.key) for u in units):
                self._give_up(model)
        rows = self._write()
        if self._error:
            raise self._error
        return Collected(
            path=self._path if rows else None,
            rows=rows,
            missing=self._work.plan().samples,
            cost=self._journal.spent,
            lost=self._lost,
            failures=self._failures(),
            stopped=self._stopped,
        )

    def close(self) -> None:
        """Let another process have the journal."""
        self._journal.close()

    def _count(self, unit: Unit, brought: int) -> bool:
        missing = self._work.missing(unit)
        self._work.kept[unit.key] = self._work.kept.get(unit.key, 0) + brought
        self._in_row[unit.member.name] = 0
        self._done += min(brought, missing)
        if self._progress:
            self._progress("collecting", self._done, self._total)
        return missing > brought

    def _note_failure(self, model: str, size: int, brought: Brought) -> bool:
        if size > 1 and brought.refused_n:
            self._single.add(model)
            return True
        error = brought.failure or ""
        self._failed.setdefault((model, error.partition(":")[0]), []).append(error)
        self._last[model] = error
        self._in_row[model] += 1
        if self._in_row[model] >= _GIVE_UP:
            self._give_up(model)
        return False

    def _failures(self) -> tuple[Failure, ...]:
        """What failed for good, most frequent first."""
        found = [
            Failure(model=model, error=errors[0], prompts=len(errors))
            for (model, _), errors in self._failed.items()
        ]
        return tuple(sorted(found, key=lambda each: -each.prompts))

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
        try:
            estimate = self._work.sure_cost(unit, size)
        except BestRouteError as error:
            self._halt(error=error)
            return False
        if self._committed + estimate > self._max_cost:
            self._halt(
                stopped=f"the next call (about ${estimate:.6f}) would exceed the limit of "
                f"${self._max_cost:g}: ${self._committed:.6f} are spent or under way"
            )
            return False
        return True

    def _halt(self, *, error: BestRouteError | None = None, stopped: str | None = None) -> None:
        """Begin no further call; those under way come to their end and are kept."""
        self._error = self._error or error
        self._stopped = self._stopped or stopped
        self._halted.set()

    def _write(self) -> int:
        """Write the table, if there is anything in it; how many rows it has.

        In parts: all rows as Python objects take a hundred times what they take in the file.
        """
        left, count = self._rows(), 0
        rows = list(islice(left, _PART))
        if not rows:
            return 0
        with replacing(self._path) as part, table_writer(part) as write:
            while rows:
                write(rows)
                count += len(rows)
                rows = list(islice(left, _PART))
        return count

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Rows of the samples table, prompt by prompt."""
        for units in zip(*self._work.units.values(), strict=True):
            for unit in units:
                shared = unit.columns()
                for number, text in enumerate(self._journal.results(unit.key)):
                    yield {**shared, "sample": number, **json.loads(text)}
