"""For how long routing and scoring keep the event loop from other work, after `warmup()`.

A watchdog wakes every millisecond and notes how late it is. The longest delay of each of several
rounds is kept, and their median told: what the engine does every time shows, what else the machine
does once does not. Idle rounds, in which nothing is asked, alternate with them. Models answer at
once from memory, so that no network hides anything.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bestroute import BestRoute, ModelPool
from bestroute.policy import Cascade, OneShot
from bestroute.policy.fixed import FixedArm
from bestroute.rewards import ClassifierReward
from bestroute.routers import StaticEncoder
from tests.benchmarks.reward_models import save_minilm
from tests.benchmarks.routers import multi_head, prompts
from tests.benchmarks.rows import Row, at_most, beside, main

ROUNDS, BAR = 5, 10.0  # rounds, ms
MANY, LARGE = 32, 50_000  # samples, characters
_FUNCTION = "def f{0}(x):\n    # step {0}\n    return [x + {0} * y for y in range({0})]\n\n"


class Case(NamedTuple):
    """What is asked, and how it is answered."""

    name: str
    engine: BestRoute
    prompt: str
    options: Mapping[str, Any] = {}


class Memory:
    """A client that has its answers ready."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        self.messages = messages

    async def acompletion(self, *, n: int = 1, **params: Any) -> Any:
        """Answer, a choice a message."""
        from litellm import ModelResponse

        choices = [
            {"index": i, "finish_reason": "stop", "message": {"role": "assistant", **message}}
            for i, message in enumerate(self.messages[:n])
        ]
        usage = {"prompt_tokens": 10, "completion_tokens": 100 * n, "total_tokens": 10 + 100 * n}
        return ModelResponse(choices=choices, usage=usage)


def measure() -> Iterator[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        for case in _cases(ClassifierReward(str(save_minilm(Path(folder))), device="cpu")):
            delays, idle = asyncio.run(_measured(case))
            name = f"event loop blocked, {case.name}"
            yield at_most(name, delays, "ms", BAR)
            yield beside(f"{name}: idle rounds between", idle, "ms")


def _cases(reward: ClassifierReward) -> Iterator[Case]:
    short = [f"Surely {i % 3}." for i in range(MANY)]
    prose, code, data = (_large(kind) for kind in ("prose", "code", "data"))
    encoder = StaticEncoder()
    members = _pool(_texts(short))
    routed = BestRoute(members, router=multi_head(members, encoder), policy=OneShot(0.7))
    yield Case("static router", routed, prompts(1, [200])[0])
    yield Case("static router, prompt of 100K tokens", routed, prompts(1, [100_000])[0])
    middle = [text[:1_500] for text in prose[:5]]
    yield Case(
        "transformer reward, 5 samples of 300 words", _best_of(middle, reward=reward), "Why?"
    )
    yield Case(f"self-consistency, {MANY} samples of 50 KB", _best_of(prose), "Why?")
    yield Case(f"self-consistency, {MANY} programs of 50 KB", _best_of(code), "Write it.")
    cascade = BestRoute(_pool(_texts(prose)), policy=Cascade(n=MANY))
    yield Case(f"evidence, {MANY} samples of 50 KB", cascade, "Why?")
    schema = {"type": "array", "items": {"type": "object", "required": ["a", "b"]}}
    form = {"type": "json_schema", "json_schema": {"name": "rows", "schema": schema}}
    yield Case("JSON schema, 8 x 50 KB", _best_of(data[:8]), "List.", {"response_format": form})
    tool = {"name": "add", "parameters": {"type": "object", "properties": {"rows": schema}}}
    tools = {"tools": [{"type": "function", "function": tool}]}
    calls = [_call(f'{{"rows": {each}}}') for each in data[:8]]
    yield Case("tool calls, 8 x 50 KB", _best_of(calls), "Add.", tools)


def _large(kind: str) -> list[str]:
    """Texts of so many characters, all different."""
    texts = []
    for seed in range(MANY):
        rng = random.Random(seed)
        if kind == "prose":
            words = rng.choices(
                "the answer is a sum of 42 or 1/2, in May as it was.".split(), k=LARGE
            )
            texts.append(" ".join(words)[:LARGE] + f"\nThe answer is {seed % 5}.")
        elif kind == "code":
            lines = "".join(_FUNCTION.format(rng.randrange(99)) for _ in range(LARGE // 70))
            texts.append(f"```python\n{lines[:LARGE]}```")
        else:
            rows = [{"a": rng.random(), "b": f"row {i}"} for i in range(LARGE // 45)]
            texts.append(json.dumps(rows))
    return texts


def _call(arguments: str) -> dict[str, Any]:
    function = {"name": "add", "arguments": arguments}
    return {"content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}


def _texts(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"content": text} for text in texts]


def _pool(messages: Sequence[Mapping[str, Any]]) -> ModelPool:
    shared = {"client": Memory(messages), "native_n": True, "context_window": 1_000_000}
    able = {"tools": True, "response_format": True}
    small = {"model": "small", "max_samples": MANY, "price": {"input": 1, "output": 2}}
    big = {"model": "big", "reference": True, "price": {"input": 5, "output": 15}}
    return ModelPool.from_dict({"models": [{**each, **shared, **able} for each in (small, big)]})


def _best_of(
    answers: Sequence[str | Mapping[str, Any]], *, reward: ClassifierReward | None = None
) -> BestRoute:
    messages = [{"content": each} if isinstance(each, str) else each for each in answers]
    return BestRoute(_pool(messages), policy=FixedArm(f"small:{len(messages)}"), reward=reward)


async def _measured(case: Case) -> tuple[float, float]:
    """The longest delay in ms, busy and idle: medians of rounds."""
    await case.engine.warmup()
    await case.engine.acomplete(case.prompt, **case.options)
    busy, idle = [], []
    for _ in range(ROUNDS):
        async with _watched(busy):
            began = time.perf_counter()
            await case.engine.acomplete(case.prompt, **case.options)
            took = time.perf_counter() - began
        async with _watched(idle):
            await asyncio.sleep(took)
    return median(busy), median(idle)


@asynccontextmanager
async def _watched(longest: list[float]) -> AsyncIterator[None]:
    """Adds by how many ms the loop was late at most."""
    delays = [0.0]

    async def watch() -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            delays.append((time.perf_counter() - due) * 1e3)

    watchdog = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    yield
    await asyncio.sleep(0.01)
    watchdog.cancel()
    longest.append(max(delays))


if __name__ == "__main__":
    main(measure)
