"""Calls without end: memory, threads, sockets, tasks and callbacks stay as they are.

Every way in (async, sync, streams, both integrations) and every way out (an answer, a failure, a
stream that is left, a cancelled call), many times over: in one event loop, as a server has, then
in one short loop after another, as scripts have. `SOAK_CALLS` says how many, by default 3,000.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.latency_server import FAILING, SLOW, LatencyServer, latency_server
from tests.benchmarks.rows import Row, at_most, main

Way = Callable[[], Awaitable[Any]]

CALLS = int(os.environ.get("SOAK_CALLS", "3000"))
LAPS = 12
"""How often what is held is read off; the first quarter only warms up."""
LOOPS = max(6, CALLS // 125)
AT_ONCE = 16
LATENCY = 0.005
QUESTION = "What is 6 * 7?"
_MB_PER_1000 = 1.0
_FLAT = 2
"""A pool of threads or connections may still take one; what leaks grows with the calls."""
_CALLBACKS = (
    "callbacks",
    "input_callback",
    "service_callback",
    "success_callback",
    "failure_callback",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
    "custom_provider_map",
)


@dataclass(frozen=True)
class Held:
    """What the process holds at one moment; memory in MB."""

    resident: float
    python: float
    threads: int
    files: int
    tasks: int
    callbacks: int

    @classmethod
    def now(cls) -> Held:
        """Once the garbage is gone."""
        import litellm

        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            resident=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            python=tracemalloc.get_traced_memory()[0] / 1e6,
            threads=threading.active_count(),
            files=len(os.listdir("/proc/self/fd")),
            tasks=len(_tasks()),
            callbacks=sum(len(getattr(litellm, name, None) or ()) for name in _CALLBACKS),
        )


def _tasks() -> list[asyncio.Task[Any]]:
    """Tasks of all loops that are not done."""
    return [each for each in gc.get_objects() if isinstance(each, asyncio.Task) and not each.done()]


class Complaints(logging.Handler):
    """What is said of loops that are closed, connections that are not, and forgotten failures.

    Not of LiteLLM's logging worker: it is one a process, and moves to whichever loop calls, with
    a complaint where several loops call at once.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, if it is about that."""
        said = record.getMessage()
        about = any(each in said for each in ("loop is closed", "Unclosed", "never retrieved"))
        if about and "LoggingWorker" not in said:
            self.told.append(said)


def ways(server: LatencyServer) -> list[Way]:
    """Every way in and out, on engines that are shared by all calls."""
    from llama_index.core.llms import ChatMessage

    from bestroute import BestRoute
    from bestroute.errors import BestRouteError
    from langchain_bestroute import ChatBestRoute
    from llamaindex_bestroute import BestRouteLLM

    big = server.member("big", reference=True)
    engine = BestRoute({"models": [server.member("small", max_samples=3, native_n=False), big]})
    escalating = BestRoute({"models": [server.member(FAILING, max_samples=3), big]})
    failing = BestRoute({"models": [server.member(FAILING, reference=True)]})
    slow = BestRoute({"models": [server.member(SLOW, reference=True)]})
    single = BestRoute({"models": [big]})
    chat, llm = ChatBestRoute(engine=engine), BestRouteLLM(engine=engine)

    async def fails() -> None:
        with suppress(BestRouteError):
            await failing.acomplete(QUESTION)

    async def cancelled() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(slow.acomplete(QUESTION), LATENCY * 2)

    async def streams() -> None:
        async with aclosing(single.astream(QUESTION)) as pieces:
            async for _ in pieces:
                pass

    async def leaves() -> None:
        async with aclosing(single.astream(QUESTION)) as pieces:
            await anext(pieces)

    async def sync_stream() -> None:
        await asyncio.to_thread(lambda: list(single.stream(QUESTION)))

    return [
        lambda: engine.acomplete(QUESTION),
        lambda: asyncio.to_thread(engine.complete, QUESTION),
        streams,
        leaves,
        sync_stream,
        cancelled,
        fails,
        lambda: _answered(escalating),
        lambda: chat.ainvoke(QUESTION),
        lambda: asyncio.to_thread(chat.invoke, QUESTION),
        lambda: llm.achat([ChatMessage(QUESTION)]),
        lambda: asyncio.to_thread(llm.chat, [ChatMessage(QUESTION)]),
    ]


async def _answered(engine: Any) -> None:
    """By the reference, or not at all: a refused request need not be asked elsewhere."""
    from bestroute.errors import BestRouteError

    with suppress(BestRouteError):
        await engine.acomplete(QUESTION)


async def _lap(found: Sequence[Way], calls: int) -> None:
    """So many calls, a few at once."""
    for begin in range(0, calls, AT_ONCE):
        turn = [found[i % len(found)] for i in range(begin, min(begin + AT_ONCE, calls))]
        await asyncio.gather(*(way() for way in turn))
    await asyncio.sleep(LATENCY * 20)  # LiteLLM's logging ends after its call


async def _one_loop(found: Sequence[Way], calls: int) -> list[Held]:
    held = []
    for _ in range(LAPS):
        await _lap(found, calls // LAPS)
        held.append(Held.now())
    return held


def _many_loops(found: Sequence[Way]) -> list[Held]:
    held = []
    for _ in range(LOOPS):
        asyncio.run(_lap(found, len(found)))
        held.append(Held.now())
    return held


def _rows(name: str, held: Sequence[Held], calls: int) -> Iterator[Row]:
    """What came on top from the first third after the warm-up to the last."""
    warm = held[len(held) // 4 :]
    third = len(warm) // 3

    def grown(field: str) -> float:
        values = [getattr(each, field) for each in warm]
        return median(values[-third:]) - median(values[:third])

    between = calls * (len(warm) - third) / len(held)
    for field, words in (("resident", "memory of the process"), ("python", "Python's memory")):
        grew = grown(field) / between * 1000
        yield at_most(f"{name}: {words}, more per 1,000 calls", grew, "MB", _MB_PER_1000)
    for field in ("threads", "files", "tasks", "callbacks"):
        yield at_most(f"{name}: {field}, more at the end", grown(field), "", _FLAT)


def measure() -> Iterator[Row]:
    """One loop, then many."""
    complaints = Complaints()
    for name in ("asyncio", "LiteLLM"):
        logging.getLogger(name).addHandler(complaints)
    with latency_server(LATENCY) as server:
        found = ways(server)
        gc.freeze()  # what was imported is no garbage: it need not be searched each time
        tracemalloc.start()
        yield from _rows(
            f"{CALLS:,} calls in one loop", asyncio.run(_one_loop(found, CALLS)), CALLS
        )
        loops = _many_loops(found)
        yield from _rows(f"{LOOPS} event loops", loops, LOOPS * len(found))
        tracemalloc.stop()
    gc.collect()
    yield at_most("Complaints about closed loops or open connections", len(complaints.told), "", 0)
    for told in complaints.told[:3]:
        logging.getLogger(__name__).warning("%s", told)


if __name__ == "__main__":
    main(measure)
