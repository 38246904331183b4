"""The arithmetic of `docs/scale.md`: what N queries take, from what the shipped samples took.

The demo's 540 prompts are collected and scored by the recorded provider, which answers at once:
what is timed is the work around the calls. Dollars, bytes and calls of a query are means, and grow
with N; `python -m tests.benchmarks.scale --queries 10000000 --rpm 10000` says for which N, and how
many calls a minute each provider takes. With Ray, a turn of a worker's with the desk is timed too.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.rows import Row, beside, main

TURNS = 2_000


def measure(queries: int = 10_000_000, rpm: int = 10_000) -> Iterator[Row]:
    """What so many queries take."""
    import bestroute
    from bestroute import ModelPool
    from bestroute.cli.recording import install_recording
    from bestroute.learning.collecting.collect import collect
    from bestroute.learning.collecting.desk import CollectingDesk
    from bestroute.learning.collecting.prompts import read_prompts
    from bestroute.learning.collecting.workload import journal_path, plan
    from bestroute.learning.samples import read_samples
    from bestroute.learning.scoring.score import score

    data = Path(bestroute.__file__).parent / "data"
    pool = ModelPool.from_yaml(data / "demo_pool.yaml")
    samples = install_recording(pool, None)
    prompts = read_prompts(data / "demo_samples.parquet")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "samples.parquet"
        planned = plan(prompts, pool, samples=samples)
        began = time.perf_counter()
        done = collect(prompts, pool, table, samples=samples)
        collecting = time.perf_counter() - began
        kept = journal_path(table).stat().st_size
        began = time.perf_counter()
        score(read_samples(table), table, oracle="check")
        scoring = time.perf_counter() - began
        written = table.stat().st_size
        tracemalloc.start()
        asked = read_prompts(data / "demo_samples.parquet")
        with closing(
            CollectingDesk(asked, pool, Path(folder) / "new", samples, None, None)
        ) as desk:
            desk.errands()
            held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    calls = sum(each.calls for each in planned.models)
    share = queries / len(prompts)
    hours = 3600.0
    yield beside("queries", queries, "")
    yield beside("samples", done.rows * share, "")
    yield beside("calls with native n", calls * share, "")
    yield beside("calls without", done.rows * share, "")
    yield beside("dollars", done.cost * share, "$")
    slowest = max(each.calls for each in planned.models)
    yield beside(f"hours at {rpm:,} calls a minute and model", slowest * share / rpm / 60, "h")
    yield beside("calls a second, work around them only", calls / collecting, "1/s")
    yield beside("hours of one process for that work", collecting * share / hours, "h")
    yield beside("scores by check a second", done.rows / scoring, "1/s")
    yield beside("hours of one process to score by check", scoring * share / hours, "h")
    yield beside("memory of a desk, for 100,000 queries", held / len(prompts) * 1e5 / 1e9, "GB")
    yield beside("journal", kept * share / 1e9, "GB")
    yield beside("samples table", written * share / 1e9, "GB")
    if find_spec("ray") is not None:
        turns = asyncio.run(_turns())
        yield beside("turns a second of one desk on Ray", turns, "1/s")
        yield beside("hours of one desk", calls * share / turns / hours, "h")


class _Desk:
    """Gives turns, and keeps nothing."""

    async def turn(self, place: int) -> int:
        """The same place."""
        return place


async def _turns() -> float:
    """Turns a second that one desk gives to callers side by side, with the second message."""
    import ray

    from bestroute.learning.on_ray import _cluster, _Distant, _Served

    with _cluster():
        actor = ray.remote(_Served).options(num_cpus=0).remote(lambda _: _Desk(), None)
        desk = _Distant(actor)
        await desk.turn(0)
        began = time.perf_counter()
        for first in range(0, TURNS, 32):
            await asyncio.gather(*(desk.turn(place) for place in range(first, first + 32)))
        return TURNS / (time.perf_counter() - began) / 2  # a call takes two messages


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--queries", type=int, default=10_000_000)
    parser.add_argument("--rpm", type=int, default=10_000)
    given, sys.argv[1:] = parser.parse_known_args()
    main(lambda: measure(given.queries, given.rpm))
