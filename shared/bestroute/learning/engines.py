"""Where the work of `collect` and `score` is done: in this process, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any, Literal

from bestroute._secrets import hidden
from bestroute.errors import ConfigError
from bestroute.learning.desk import D, Opening, RayEngine, Work
from bestroute.learning.on_ray import spread
from bestroute.learning.progress import Progress
from bestroute.pool import ModelPool

Engine = Literal["local", "ray"] | RayEngine


async def run(
    engine: Engine,
    opening: Opening[D],
    worker: Callable[[], Work[D]],
    *,
    concurrency: int,
    progress: Progress | None,
) -> Any:
    """Do all errands of a desk, and return what came of it.

    Args:
        engine: Where.
        opening: Opens the desk.
        worker: Makes what does the errands, once in each process; on Ray it is pickled.
        concurrency: Errands under way at a time, of all workers together.
        progress: Told of every step; on Ray twice a second.

    Raises:
        ConfigError: The engine is not known.
        MissingExtraError: The extra `ray` is not installed.
    """
    if engine == "local":
        with closing(opening(progress)) as desk:
            await worker()(desk, desk.errands(), concurrency)
            return desk.finish()
    if engine != "ray" and not isinstance(engine, RayEngine):
        raise ConfigError(f"no engine {engine!r}: it is local, or ray")
    where = RayEngine() if engine == "ray" else engine
    return await spread(where, opening, worker, concurrency=concurrency, progress=progress)


def check_portable(pool: ModelPool) -> None:
    """See that workers elsewhere can ask every model of a pool; no key is sent to them.

    Raises:
        ConfigError: A key is written in the pool, or a model has a client of this process.
    """
    for member in pool.models:
        if member.client is not None:
            raise ConfigError(f"{member.name}: its client is an object of this process: no Ray")
        for path, _ in hidden(member.params):
            raise ConfigError(
                f"{member.name}: params{path} is a secret, and none is sent over Ray: write "
                "os.environ/NAME instead, and set NAME where the workers run"
            )
