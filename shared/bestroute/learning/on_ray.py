"""Ray Data maps blocks of errands over workers; the desk is an actor that all of them ask."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from bestroute._extras import require
from bestroute._sync import run_sync
from bestroute.errors import BestRouteError, ConfigError
from bestroute.learning.desk import D, Opening, RayEngine, Work
from bestroute.learning.progress import Progress, silent

_BLOCK = 16  # errands of a block for each that a worker has under way
_LOOK = 0.5  # seconds between two looks at how far it is


async def spread(
    engine: RayEngine,
    opening: Opening[D],
    worker: Callable[[], Work[D]],
    *,
    concurrency: int,
    progress: Progress | None,
) -> Any:
    """Do all errands of a desk on a cluster; see `bestroute.learning.engines.run`."""
    with _cluster() as ray:
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        served = ray.remote(_Served).options(num_cpus=0, scheduling_strategy=here)
        actor = served.remote(opening, engine.setup)
        desk = cast(Any, _Distant(actor))
        try:
            errands = await desk.errands()
            if errands:
                workers = min(engine.workers or _cpus(ray), concurrency, len(errands))
                blocks = _Blocks(ray, engine, actor, worker, workers, concurrency // workers)
                await _watched(asyncio.to_thread(blocks.map, errands), actor, progress or silent)
            return await desk.finish()
        finally:
            await desk.close()
            ray.kill(actor)


async def _watched(mapping: Awaitable[None], actor: Any, progress: Progress) -> None:
    """Tell of progress until all is done; if cancelled, wait for what is under way."""
    task = asyncio.ensure_future(mapping)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_LOOK)
            for step, (done, total) in (await actor.told.remote()).items():
                progress(step, done, total)
        await task
    except asyncio.CancelledError:
        await _Distant(actor).halt()
        await asyncio.wait([task])
        raise


class _Blocks:
    """The dataset of errands."""

    def __init__(
        self,
        ray: Any,
        engine: RayEngine,
        actor: Any,
        worker: Callable[[], Any],
        workers: int,
        concurrency: int,
    ) -> None:
        self._data = ray.data
        self._pickle = ray.cloudpickle  # as Ray hands over everything else
        self._size = _BLOCK * concurrency
        self._workers = workers
        self._gpus = engine.gpus
        self._worker = {
            "actor": actor,
            "worker": worker,
            "setup": engine.setup,
            "concurrency": concurrency,
        }

    def map(self, errands: Sequence[Any]) -> None:
        """Do them all; blocks until then."""
        size = min(self._size, -(-len(errands) // self._workers))
        rows = [{"errand": self._pickle.dumps(errand)} for errand in errands]
        data = self._data.from_items(rows, override_num_blocks=-(-len(rows) // size))
        done = data.map_batches(
            _Worker,
            batch_size=None,
            compute=self._data.ActorPoolStrategy(size=self._workers),
            num_gpus=self._gpus,
            fn_constructor_kwargs=self._worker,
        )
        for _ in done.iter_batches(batch_size=None):
            pass


class _Worker:
    """Does the errands of a block after another, in a process of its own."""

    def __init__(
        self,
        actor: Any,
        worker: Callable[[], Any],
        setup: Callable[[], object] | None,
        concurrency: int,
    ) -> None:
        if setup:
            setup()
        self._desk = _Distant(actor)
        self._work = worker()
        self._concurrency = concurrency

    def __call__(self, block: dict[str, Any]) -> dict[str, list[int]]:
        errands = [_ray().cloudpickle.loads(each) for each in block["errand"]]
        run_sync(self._work(self._desk, errands, self._concurrency))
        return {"done": [len(errands)]}


class _Served:
    """A desk in an actor. Errors are handed over as values: Ray would wrap them."""

    def __init__(
        self, opening: Callable[[Progress], Any], setup: Callable[[], object] | None
    ) -> None:
        self._opening = opening
        self._setup = setup
        self._desk: Any = None
        self._told: dict[str, tuple[int, int]] = {}

    async def call(self, name: str, *arguments: Any) -> tuple[Any, BestRouteError | None]:
        """What a method of the desk returns or raises; the first call opens it."""
        try:
            if self._desk is None and name == "close":
                return None, None
            if self._desk is None:
                await self._open()
            found = getattr(self._desk, name)(*arguments)
            return (await found if inspect.isawaitable(found) else found), None
        except BestRouteError as error:
            return None, error

    async def told(self) -> dict[str, tuple[int, int]]:
        """How far each step is: done, and in all."""
        return self._told

    async def _open(self) -> None:
        if self._setup:
            self._setup()
        self._desk = self._opening(self._note)

    def _note(self, step: str, done: int, total: int) -> None:
        self._told[step] = (done, total)


class _Distant:
    """A desk as it is seen from another process."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            value, error = await self._actor.call.remote(name, *arguments)
            if error is not None:
                raise error
            return value

        return call


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, connected; what is started or joined here is left again.

    Ray reports its use to its makers unless told not to.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _ray()
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    log, context = logging.getLogger("ray.data"), ray.data.DataContext.get_current()
    before = log.level, context.enable_progress_bars
    log.setLevel(logging.ERROR)  # the command line owns the terminal
    context.enable_progress_bars = False
    try:
        yield ray
    finally:
        level, context.enable_progress_bars = before
        log.setLevel(level)
        if is_ours:
            ray.shutdown()


def _ray() -> Any:
    require("ray.data", feature="The engine ray", extra="ray")
    return require("ray", feature="The engine ray", extra="ray")


def _cpus(ray: Any) -> int:
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if not cpus:
        raise ConfigError("the Ray cluster has no CPU to work with")
    return cpus
