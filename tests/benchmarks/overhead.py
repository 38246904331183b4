"""What a routed call costs beside the same requests sent by bare LiteLLM.

A server on loopback, in a process of its own, answers every request after 200 ms. The engine and
what it is compared with take turns, and the headers and JSON that each has sent must be the same.
CPU is that of the whole process, worker threads included.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.benchmarks.engines import trained
from tests.benchmarks.latency_server import LatencyServer, latency_server
from tests.benchmarks.rows import Row, at_most, beside, main

Ask = Callable[[str], Awaitable[Any]]

CONCURRENT = 64
RUNS = 12
PARALLEL = 8
"""Samples of one request, each by a call of its own."""
TIMEOUT = 120.0
MODEL = "openai/small"
_SETTLED = 0.1
"""Seconds until LiteLLM's logging after a call is over."""


@dataclass(frozen=True)
class Spent:
    """What a burst of calls took.

    Attributes:
        wall: Seconds.
        cpu: Seconds of this process.
    """

    wall: float
    cpu: float


@dataclass(frozen=True)
class Compared:
    """Two ways of sending the same requests, run by turns.

    Attributes:
        ours, theirs: What each run took.
        calls: In a run.
    """

    ours: list[Spent]
    theirs: list[Spent]
    calls: int

    def rows(self, name: str, bar: float, most_cpu: float | None = None) -> Iterator[Row]:
        """Wall over theirs, and what a call adds in CPU."""
        pairs = list(zip(self.ours, self.theirs, strict=True))
        ratio = median(our.wall / their.wall for our, their in pairs)
        yield at_most(f"{name}: wall", ratio, "x", bar)
        added = median(our.cpu - their.cpu for our, their in pairs) / self.calls * 1e3
        if most_cpu is None:
            yield beside(f"{name}: added CPU a call", added, "ms")
        else:
            yield at_most(f"{name}: added CPU a call", added, "ms", most_cpu)


async def _burst(ask: Ask, calls: int) -> Spent:
    """So many calls at once, each with a question of its own."""
    questions = [f"What is the capital of country {i} on the list of 1995?" for i in range(calls)]
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(ask(question) for question in questions))
    wall = time.perf_counter() - began
    await asyncio.sleep(_SETTLED)
    return Spent(wall, time.process_time() - cpu)


async def compared(
    server: LatencyServer, ours: Ask, theirs: Ask, *, calls: int, runs: int = RUNS
) -> Compared:
    """Take turns, the first turn changing too, after a run of each to warm up.

    Raises:
        AssertionError: They did not send the same.
    """
    spent: dict[Ask, list[Spent]] = {ours: [], theirs: []}
    for run in range(runs + 1):
        sent = []
        for ask in (ours, theirs) if run % 2 else (theirs, ours):
            spent[ask].append(await _burst(ask, calls))
            sent.append(server.sent())
        differ = [next(iter(one - other), "") for one, other in (sent, reversed(sent))]
        assert not any(differ), f"not the same requests: {differ}"
    return Compared(spent[ours][1:], spent[theirs][1:], calls)


def _bare(server: LatencyServer, **params: Any) -> Ask:
    """LiteLLM alone."""
    import litellm

    return lambda question: litellm.acompletion(
        model=MODEL, messages=_user(question), timeout=TIMEOUT, **server.params, **params
    )


def _user(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def _pool(server: LatencyServer, **fields: Any) -> dict[str, Any]:
    cheap = server.member("small", max_samples=PARALLEL, **fields)
    return {
        "models": [cheap, server.member("big", price={"input": 9, "output": 90}, reference=True)]
    }


async def _engine(server: LatencyServer) -> list[Row]:
    from bestroute import BestRoute
    from bestroute.policy import FixedArm

    routed, alone = trained(_pool(server), threshold=0.1), BestRoute(_pool(server))
    parallel = BestRoute(_pool(server, native_n=False), policy=FixedArm(f"small:{PARALLEL}"))
    await routed.warmup()
    bare, bare_n = _bare(server), _bare(server, n=3)

    async def gather(question: str) -> None:
        await asyncio.gather(*(bare(question) for _ in range(PARALLEL)))

    one = await compared(server, routed.acomplete, bare, calls=CONCURRENT)
    best_of_3 = await compared(server, alone.acomplete, bare_n, calls=CONCURRENT)
    samples = await compared(server, parallel.acomplete, gather, calls=1, runs=2 * RUNS)
    times = f"{CONCURRENT} calls at once over bare LiteLLM"
    return [
        *one.rows(f"static router, n = 1, {times}", 1.2, 3),
        *best_of_3.rows(f"pool alone, n = 3, {times}", 1.2, 3),
        *samples.rows(f"{PARALLEL} parallel samples of a call over asyncio.gather", 1.1),
    ]


async def _langchain(server: LatencyServer) -> list[Row]:
    from langchain_litellm import ChatLiteLLM

    from langchain_bestroute import ChatBestRoute

    theirs = ChatLiteLLM(model=MODEL, n=3, request_timeout=TIMEOUT, **server.params)
    ours = ChatBestRoute(engine=_best_of_3(server))
    found = await compared(server, ours.ainvoke, theirs.ainvoke, calls=CONCURRENT)
    return list(found.rows(f"ChatBestRoute, {CONCURRENT} calls of n = 3 over ChatLiteLLM", 1.2))


async def _llamaindex(server: LatencyServer) -> list[Row]:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.litellm import LiteLLM

    from llamaindex_bestroute import BestRouteLLM

    fixed = {"n": 3, "timeout": TIMEOUT}
    theirs = LiteLLM(MODEL, temperature=1.0, additional_kwargs=fixed, **server.params)
    ours = BestRouteLLM(engine=_best_of_3(server, temperature=1.0))
    found = await compared(
        server,
        lambda question: ours.achat([ChatMessage(question)]),
        lambda question: theirs.achat([ChatMessage(question)]),
        calls=CONCURRENT,
    )
    return list(found.rows(f"BestRouteLLM, {CONCURRENT} calls of n = 3 over LiteLLM's", 1.2))


def _best_of_3(server: LatencyServer, **params: Any) -> Any:
    from bestroute import BestRoute
    from bestroute.policy import FixedArm

    return BestRoute(_pool(server, params={**server.params, **params}), policy=FixedArm("small:3"))


def measure() -> Iterator[Row]:
    """The engine, then both integrations beside their neighbours."""
    suites: Sequence[Callable[[LatencyServer], Any]] = (_engine, _langchain, _llamaindex)
    for suite in suites:
        with latency_server() as server:
            try:
                yield from asyncio.run(suite(server))
            except ModuleNotFoundError as error:
                sys.stderr.write(f"skipped: {error}\n")


if __name__ == "__main__":
    main(measure)
