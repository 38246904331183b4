"""Collecting samples: prompts x models -> the samples table, resumable at any moment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from bestroute._litellm import load_litellm
from bestroute._sync import run_sync
from bestroute.errors import ConfigError, DataError
from bestroute.learning.atomic import replacing
from bestroute.learning.collecting.collector import Collector, Failure
from bestroute.learning.collecting.prompts import Prompt
from bestroute.learning.collecting.workload import Samples, Workload, about, journal_path
from bestroute.learning.journal import Journal, Lost
from bestroute.learning.samples import canonical, write_samples
from bestroute.pool import ModelPool, PoolLike
from bestroute.sampling import Sampler

if TYPE_CHECKING:
    from bestroute.learning.progress import Progress


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


async def acollect(
    prompts: Sequence[Prompt],
    pool: PoolLike,
    output: str | Path,
    *,
    samples: Samples = None,
    concurrency: int = 8,
    max_cost: float | None = None,
    sampler: Sampler | None = None,
    progress: Progress | None = None,
) -> Collected:
    """Draw samples of every model for every prompt into a samples table.

    What came is kept in a journal beside `output`: after a crash, or with more prompts or
    samples, the next run goes on where this one ended. Prompts that fail are left out and told
    of; a model that fails for everyone ends the run.

    Args:
        prompts: The prompts.
        pool: The models; `rpm` of each is kept to.
        output: The samples table (Parquet), replaced as a whole at the end.
        samples: Samples of each prompt, for all models or by model; by default 20, or the
            model's `max_samples` if that is more, and 1 at temperature 0.
        concurrency: Calls under way at a time, of all models together.
        max_cost: $ that all runs together may spend. No call is begun that would exceed it by
            estimate; the calls under way may turn out dearer.
        sampler: Talks to the providers.
        progress: Told of samples kept.

    Raises:
        ConfigError: `concurrency` or `max_cost` is out of range.
        DataError: The journal is in use or of another pool, or `output` is not from here.
        MissingPriceError: `max_cost` is given and a price is not known.
        SampleLimitError: More than one sample is asked for at temperature 0.
        SamplingError: A model fails for everyone. What came before is kept.
    """
    if concurrency < 1 or (max_cost is not None and not max_cost >= 0):
        raise ConfigError("concurrency must be at least 1, and max_cost not negative")
    path = Path(output)
    if path.exists() and not journal_path(path).exists():
        raise DataError(f"{path}: is there already and was not collected here; choose another")
    pool = ModelPool.read(pool)
    await load_litellm()
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(Journal(journal_path(path), about(pool))) as journal:
        work = Workload(prompts, pool, samples, journal)
        lost = journal.write_off()
        run = Collector(work, journal, sampler or Sampler(), max_cost, progress)
        await run.all(concurrency)
        rows = list(_rows(work, journal))
        if rows:
            with replacing(path) as part:
                write_samples(rows, part)
        if run.error:
            raise run.error
        return Collected(
            path=path if rows else None,
            rows=len(rows),
            missing=work.plan().samples,
            cost=journal.spent,
            lost=lost,
            failures=run.failures,
            stopped=run.stopped,
        )


def collect(
    prompts: Sequence[Prompt],
    pool: PoolLike,
    output: str | Path,
    *,
    samples: Samples = None,
    concurrency: int = 8,
    max_cost: float | None = None,
    sampler: Sampler | None = None,
    progress: Progress | None = None,
) -> Collected:
    """The same as `acollect`, from sync code."""
    return run_sync(
        acollect(
            prompts,
            pool,
            output,
            samples=samples,
            concurrency=concurrency,
            max_cost=max_cost,
            sampler=sampler,
            progress=progress,
        )
    )


def _rows(work: Workload, journal: Journal) -> Iterator[dict[str, Any]]:
    """Rows of the samples table, prompt by prompt."""
    for units in zip(*work.units.values(), strict=True):
        for unit in units:
            prompt = unit.prompt
            shared = {
                "query_id": prompt.id,
                "query": prompt.query,
                "messages": canonical(prompt.messages),
                "task": prompt.task,
                "split": prompt.split,
                "model": unit.member.name,
                "sampling": canonical(unit.sampling),
                "check": prompt.check.model_dump_json() if prompt.check else None,
                "reference_answer": prompt.reference_answer,
            }
            for number, text in enumerate(journal.results(unit.key)):
                yield {**shared, "sample": number, **json.loads(text)}
