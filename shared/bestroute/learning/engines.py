"""Where the work of `collect` and `score` is done: in this process, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from bestroute._secrets import hidden
from bestroute.errors import ConfigError
from bestroute.learning.progress import Progress
from bestroute.pool import ModelPool


@dataclass(frozen=True)
class RayEngine:
    """The cluster that `ray.init()` finds, as in `RAY_ADDRESS`; else one on this machine.

    Attributes:
        workers: Processes that work; by default one for each CPU of the cluster. There are never
            more of them than calls under way.
        gpus: GPUs of each worker, for reward models.
        setup: Called once in each process before it works.
    """

    workers: int | None = None
    gpus: float = 0
    setup: Callable[[], object] | None = None


Engine = Literal["local", "ray"] | RayEngine


class Desk(Protocol):
    """What there is one of, however many work: the journal, the money, whose turn it is."""

    def errands(self) -> Sequence[Any]:
        """What is to be done, in parts that any worker can take."""

    async def halt(self) -> None:
        """Begin nothing further; what is under way comes to its end and is kept."""

    def finish(self) -> Any:
        """What came of it all."""

    def close(self) -> None:
        """Let go of the journal."""


D = TypeVar("D", bound=Desk)
Opening = Callable[[Progress | None], D]
Work = Callable[[D, Sequence[Any], int], Awaitable[None]]
"""Does errands of a desk, so many at a time."""


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
    from bestroute.learning.on_ray import spread

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
