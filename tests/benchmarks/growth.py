"""How time and memory grow with models, n, prompt length and concurrency: nothing beyond linear.

Each axis is measured at several sizes, by turns: CPU of this process (the server has one of its
own), and the most memory that Python held at once. What is tested is the cost per unit: where it
is higher at the largest size than at a middle one, growth is worse than linear.
`--plots DIR` draws the curves.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.engines import encoder, trained
from tests.benchmarks.latency_server import LatencyServer, latency_server
from tests.benchmarks.rows import Row, at_most, beside, main

Work = Callable[[], Awaitable[Any]]

ROUNDS = 5
ARMS = 4
"""Of each model, where their number is not what grows."""
BAR = 1.5
_LEAST = 0.03
"""Seconds of CPU that are enough to be read off."""


@dataclass(frozen=True)
class Axis:
    """What grows.

    Attributes:
        name: In words.
        unit: One more of it.
        sizes: What is measured, ascending.
        middle: One of the sizes, that the largest is held against.
        work: A size -> what is done at that size, ready to run.
    """

    name: str
    unit: str
    sizes: Sequence[int]
    middle: int
    work: Callable[[LatencyServer, int], Work]


@dataclass(frozen=True)
class Growth:
    """What an axis showed.

    Attributes:
        seconds: CPU of the work, size by size.
        megabytes: Most memory held while it ran, the engine's own included, its encoder not.
    """

    axis: Axis
    seconds: list[float]
    megabytes: list[float]

    def rows(self) -> Iterator[Row]:
        """The largest size, by itself and beside the middle one."""
        axis, last = self.axis, self.axis.sizes[-1]
        for what, values in (("CPU", self.seconds), ("memory", self.megabytes)):
            each = dict(zip(axis.sizes, values, strict=True))
            ratio = (each[last] / last) / (each[axis.middle] / axis.middle)
            name = f"{axis.name}: {what} per {axis.unit} at {last:,} over that at {axis.middle:,}"
            yield at_most(name, ratio, "x", BAR)
        yield beside(f"{axis.name}: CPU at {last:,}", self.seconds[-1] * 1e3, "ms")
        yield beside(f"{axis.name}: memory at {last:,}", self.megabytes[-1], "MB")


async def _grown(axis: Axis, server: LatencyServer) -> Growth:
    memory = [await _peak(partial(axis.work, server, size)) for size in axis.sizes]
    works = [axis.work(server, size) for size in axis.sizes]
    times = [await _times(work) for work in works]
    found: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, repeats, seconds in zip(works, times, found, strict=True):
            seconds.append(await _cpu(work, repeats))
    return Growth(axis, [median(seconds) for seconds in found], memory)


async def _peak(prepare: Callable[[], Work]) -> float:
    """MB, of what is prepared and of what it does once it is warm; the encoder does not grow."""
    encoder()
    tracemalloc.start()
    try:
        work = prepare()
        await work()
        tracemalloc.reset_peak()
        await work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


async def _times(work: Work) -> int:
    """How often to repeat the work, after once to warm up."""
    await work()
    return max(1, round(_LEAST / max(await _cpu(work, 1), 1e-6)))


async def _cpu(work: Work, repeats: int) -> float:
    began = time.process_time()
    for _ in range(repeats):
        await work()
    return (time.process_time() - began) / repeats


def _routed(server: LatencyServer, models: int) -> Work:
    """A decision among so many models."""
    members = [
        server.member(f"m{i}", max_samples=ARMS, price={"input": 1 + i, "output": 2 + i})
        for i in range(models - 1)
    ]
    big = server.member("big", price={"input": 500, "output": 900}, reference=True)
    engine = trained({"models": [*members, big]}, threshold=0.7)

    async def work() -> None:
        engine.route("Which is the longest river of Europe, and where does it end?")

    return work


def _best_of(server: LatencyServer, n: int, *, native: bool) -> Work:
    """A call of n samples, by one call or by n; the best is selected by self-consistency."""
    from bestroute import BestRoute
    from bestroute.policy import FixedArm

    cheap = server.member("small", max_samples=n, native_n=native)
    pool = {"models": [cheap, server.member("big", reference=True)]}
    engine = BestRoute(pool, policy=FixedArm(f"small:{n}"))
    return partial(engine.acomplete, "What is 6 * 7?")


def _prompt(server: LatencyServer, tokens: int) -> Work:
    """A call whose prompt is so long, about four characters a token."""
    return partial(_small(server).acomplete, "rain " * (tokens * 4 // 5))


def _decision(server: LatencyServer, tokens: int) -> Work:
    """The decision alone, of so long a prompt."""
    engine, prompt = _small(server), "rain " * (tokens * 4 // 5)

    async def work() -> None:
        engine.route(prompt)

    return work


def _at_once(server: LatencyServer, calls: int) -> Work:
    """So many calls at once."""
    engine = _small(server)

    async def work() -> None:
        await asyncio.gather(*(engine.acomplete(f"What is {i} * 7?") for i in range(calls)))

    return work


def _small(server: LatencyServer) -> Any:
    cheap, big = server.member("small", max_samples=ARMS), server.member("big", reference=True)
    models = [{**each, "context_window": 10**6} for each in (cheap, big)]
    return trained({"models": models}, threshold=0.1)


AXES = (
    Axis("Decision among models", "model", (2, 4, 8, 16, 32, 64), 16, _routed),
    Axis(
        "n choices of one call", "sample", (1, 2, 4, 8, 16, 32), 8, partial(_best_of, native=True)
    ),
    Axis("n calls", "sample", (1, 2, 4, 8, 16, 32), 8, partial(_best_of, native=False)),
    Axis("Decision on a prompt", "token", (100, 1000, 10_000, 100_000), 10_000, _decision),
    Axis("Call with a prompt", "token", (100, 1000, 10_000, 100_000), 10_000, _prompt),
    Axis("Calls at once", "call", (1, 4, 16, 64, 256), 64, _at_once),
)


def measure(plots: Path | None = None) -> Iterator[Row]:
    """All axes, against a server that answers at once."""
    found = []
    for axis in AXES:
        with latency_server(0) as server:
            found.append(asyncio.run(_grown(axis, server)))
        yield from found[-1].rows()
    if plots is not None:
        _plot(found, plots)


def _plot(found: Sequence[Growth], folder: Path) -> None:
    """One panel an axis, both scales logarithmic: a straight line of slope 1 is linear."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    for panel, growth in zip(figure.subplots(2, 3).flat, found, strict=True):
        sizes = growth.axis.sizes
        panel.loglog(sizes, [each * 1e3 for each in growth.seconds], "o-", label="CPU (ms)")
        panel.loglog(sizes, growth.megabytes, "s--", label="memory (MB)")
        panel.set_title(growth.axis.name)
        panel.set_xlabel(f"{growth.axis.unit}s")
        panel.grid(alpha=0.3)
    figure.axes[0].legend()
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "growth"}):
        figure.savefig(folder / "growth.svg", metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--plots", type=Path, metavar="DIR")
    asked, sys.argv[1:] = parser.parse_known_args()
    main(partial(measure, asked.plots))
