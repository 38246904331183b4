"""Concurrent callers share a router's batches, and nothing else: not errors, not waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bestroute import Arm, BestRoute, ModelPool
from bestroute._batches import MOST
from bestroute.recorded import Recording
from bestroute.routers import Heads, MultiHeadRouter, Prediction, StaticEncoder
from bestroute.routers.batching import batched
from bestroute.routers.features import FEATURE_NAMES

ARMS = (Arm("s", 1), Arm("b", 1))
TEXTS = [f"What is {i} times {i}? " * (i % 7 + 1) for i in range(40)]


class Gated:
    """A router that works when it is let, and fails on what it is told to."""

    arms = ARMS

    def __init__(self, *, fails: str = "", gated: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.gate = threading.Semaphore(0 if gated else 10**6)
        self._fails = fails

    def predict(self, queries: Sequence[str]) -> Prediction:
        self.batches.append(list(queries))
        self.threads.add(threading.get_ident())
        assert self.gate.acquire(timeout=10)
        if self._fails in queries:
            raise RuntimeError(f"{self._fails} cannot be read")
        lengths = np.array([[len(query), 1.0] for query in queries])
        return Prediction(ARMS, 1 / lengths, lengths, lengths / 2)


async def begun(router: Gated, batches: int = 1) -> None:
    while len(router.batches) < batches:
        await asyncio.sleep(0.001)


async def test_what_queues_up_meanwhile_is_the_next_batch() -> None:
    router = Gated()
    batches = batched(router)
    tasks = [asyncio.ensure_future(batches.ask("first"))]
    await begun(router)
    tasks += [asyncio.ensure_future(batches.ask(text)) for text in TEXTS]
    await asyncio.sleep(0.01)
    router.gate.release(10)
    found = await asyncio.gather(*tasks)
    assert router.batches == [["first"], TEXTS[:MOST], TEXTS[MOST:]]
    assert threading.get_ident() not in router.threads
    for text, prediction in zip(["first", *TEXTS], found, strict=True):
        assert prediction.match.tolist() == [[1 / len(text), 1.0]]
        assert prediction.output_tokens is not None and prediction.quality is not None
        assert prediction.output_tokens.tolist() == [[len(text), 1.0]]
        assert prediction.quality.tolist() == [[len(text) / 2, 0.5]]


async def test_an_idle_router_is_asked_at_once() -> None:
    router = Gated(gated=False)
    batches = batched(router)
    for text in TEXTS[:3]:
        await batches.ask(text)
    assert router.batches == [[text] for text in TEXTS[:3]]


async def test_an_error_is_that_of_its_own_query() -> None:
    router = Gated(fails="bad", gated=False)
    batches = batched(router)
    found = await asyncio.gather(
        *(batches.ask(text) for text in ("good", "better", "bad", "best")),
        return_exceptions=True,
    )
    assert isinstance(found[2], RuntimeError)
    assert all(isinstance(found[i], Prediction) for i in (0, 1, 3))


async def test_a_cancelled_caller_takes_nothing_from_the_others() -> None:
    router = Gated()
    batches = batched(router)
    first = asyncio.ensure_future(batches.ask("first"))
    await begun(router)
    waiting, other = (asyncio.ensure_future(batches.ask(text)) for text in ("gone", "stays"))
    await asyncio.sleep(0)
    first.cancel()
    waiting.cancel()
    router.gate.release(2)
    assert (await other).match.shape == (1, 2)
    assert router.batches == [["first"], ["stays"]]
    assert first.cancelled() and waiting.cancelled()


async def test_after_all_are_cancelled_it_still_serves() -> None:
    router = Gated()
    batches = batched(router)
    tasks = [asyncio.ensure_future(batches.ask(text)) for text in TEXTS[:2]]
    await begun(router)
    for task in tasks:
        task.cancel()
    router.gate.release(2)
    assert (await batches.ask("later")).match.shape == (1, 2)


async def test_a_router_that_hangs_holds_up_only_those_who_wait_for_it() -> None:
    router = Gated()
    batches = batched(router)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(batches.ask("hangs"), timeout=0.01)
    later = asyncio.ensure_future(batches.ask("later"))
    await begun(router, batches=2)
    router.gate.release(2)
    assert (await later).match.shape == (1, 2)


def test_event_loops_of_several_threads_share_a_router() -> None:
    batches = batched(Gated(gated=False))

    async def ask() -> int:
        return len(await asyncio.gather(*(batches.ask(text) for text in TEXTS)))

    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(asyncio.run(ask()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert counts == [len(TEXTS)] * 4


def trained() -> MultiHeadRouter:
    encoder = StaticEncoder()
    inputs = encoder.dimension + len(FEATURE_NAMES)
    rng = np.random.default_rng(0)
    heads = Heads(np.zeros(inputs), np.ones(inputs), rng.normal(size=(inputs, 1)), np.zeros(1))
    return MultiHeadRouter(ARMS, "b", encoder, heads)


async def test_a_real_router_says_the_same_alone_and_in_company() -> None:
    router = trained()
    batches = batched(router)
    found = await asyncio.gather(*(batches.ask(text) for text in TEXTS))
    for text, prediction in zip(TEXTS, found, strict=True):
        assert prediction.match == pytest.approx(router.predict([text]).match, abs=1e-9)


async def test_concurrent_calls_of_an_engine_are_predicted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[dict[str, Any]] = [
        {"messages": f'[{{"role": "user", "content": "{text}"}}]', "sampling": "{}"}
        | {"response": "yes", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
        | {"model": model}
        for text in TEXTS
        for model in ("s", "b")
    ]
    Recording(rows).install()
    price = {"price": {"input": 1, "output": 1}, "native_n": True}
    pool = ModelPool.from_dict(
        {
            "models": [
                {"model": "recorded/s", "name": "s", **price},
                {"model": "recorded/b", "name": "b", "reference": True, **price},
            ]
        }
    )
    router, sizes = trained(), []
    predict = router.predict

    def counted(queries: Sequence[str]) -> Prediction:
        sizes.append(len(queries))
        return predict(queries)

    monkeypatch.setattr(router, "predict", counted)
    engine = BestRoute(pool, router=router, threshold=0.5)
    await engine.warmup()
    sizes.clear()
    answers = await asyncio.gather(*(engine.acomplete(text) for text in TEXTS))
    assert {answer.text for answer in answers} == {"yes"}
    assert sum(sizes) == len(TEXTS) and len(sizes) < len(TEXTS)
