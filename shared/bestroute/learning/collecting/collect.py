"""Collecting samples: prompts x models -> the samples table, resumable at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bestroute._litellm import load_litellm
from bestroute._sync import run_sync
from bestroute.errors import ConfigError, DataError
from bestroute.learning.collecting.collector import Collector
from bestroute.learning.collecting.desk import Collected, CollectingDesk
from bestroute.learning.collecting.prompts import Prompt
from bestroute.learning.collecting.workload import Samples, journal_path
from bestroute.learning.engines import Engine, check_portable, run
from bestroute.pool import ModelPool, PoolLike
from bestroute.sampling import Sampler

if TYPE_CHECKING:
    from bestroute.learning.progress import Progress

__all__ = ["Collected", "acollect", "collect"]


async def acollect(
    prompts: Sequence[Prompt],
    pool: PoolLike,
    output: str | Path,
    *,
    samples: Samples = None,
    concurrency: int = 8,
    max_cost: float | None = None,
    sampler: Sampler | None = None,
    engine: Engine = "local",
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
        engine: Where the calls are made: here, or by workers of a Ray cluster. Limits hold for
            all workers together, and either engine goes on where the other ended.
        progress: Told of samples kept.

    Raises:
        ConfigError: `concurrency` or `max_cost` is out of range; or, on Ray, a key is written in
            the pool instead of the name of a variable.
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
    if engine == "local":
        await load_litellm()
    else:
        check_portable(pool)
        path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    done = await run(
        engine,
        partial(CollectingDesk, prompts, pool, path, samples, max_cost),
        partial(Collector, pool, sampler),
        concurrency=concurrency,
        progress=progress,
    )
    return cast(Collected, done)


def collect(
    prompts: Sequence[Prompt],
    pool: PoolLike,
    output: str | Path,
    *,
    samples: Samples = None,
    concurrency: int = 8,
    max_cost: float | None = None,
    sampler: Sampler | None = None,
    engine: Engine = "local",
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
            engine=engine,
            progress=progress,
        )
    )
