"""The adaptive policy live, over HTTP: in the engine and in both integrations."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bestroute import BestRoute, ModelPool, Prediction
from bestroute.events import Delta
from bestroute.policy import Adaptive
from bestroute.policy.belief import FEATURES, Belief, ModelBelief
from bestroute.pool import Arm
from bestroute.query import Request
from bestroute.reservation import reserve
from bestroute.response import RoutedResponse
from bestroute.rewards import FunctionReward
from langchain_bestroute import ChatBestRoute
from llamaindex_bestroute import BestRouteLLM
from tests.servers import Body, ChatServer, Reply

ASK = "What is six times seven?"


class Undecided:
    """A router that knows nothing."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        self._arms = tuple(arms)

    @property
    def arms(self) -> tuple[Arm, ...]:
        return self._arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        return Prediction(self._arms, np.full((len(queries), len(self._arms)), 0.5))


def agreement_counts(model: str, reads: str = "agreement", at: float = 0.8) -> Belief:
    """Two or three samples of the small model match where they agree, and then surely."""
    weight = np.zeros((3, len(FEATURES)))
    weight[:, FEATURES.index(reads)] = 20.0
    moves = np.full((4, 4, 2, 2), 0.1)
    moves[:, 2:, :, 1] = 0.98
    learnt = ModelBelief(
        levels=(1, 2, 3),
        centre=np.full((3, len(FEATURES)), at),
        scale=np.ones((3, len(FEATURES))),
        weight=weight,
        bias=np.array([-20.0, 0.0, 0.0]),  # one sample says nothing
        edges=np.full((4, 1), 0.5),
        moves=moves,
    )
    return Belief({model: learnt}, reference_cost=10 * 262 / 1e6)


@pytest.fixture
def engine(pool: Any) -> BestRoute:
    models = ModelPool.from_dict(pool)
    policy = Adaptive(0.9, agreement_counts("openai/small"))
    return BestRoute(models, router=Undecided(models.arms), policy=policy)


class Answers:
    """The small model's answers one after the other; the big one knows."""

    def __init__(self, *small: str) -> None:
        self.left = list(small)

    def __call__(self, body: Body) -> Reply | str:
        if body["model"] == "big":
            return "It is 42"
        count = body.get("n") or 1
        given, self.left = self.left[:count], self.left[count:]
        return Reply(given)


def asked(server: ChatServer) -> list[tuple[str, int]]:
    return [(body["model"], body.get("n") or 1) for body in server.requests]


CASES = [
    (("42", "42"), "42", [("small", 2)]),
    (("41", "42", "42"), "It is 42", [("small", 2), ("small", 1), ("big", 1)]),
]


def trace_fits(trace: Sequence[dict[str, Any]], calls: Sequence[tuple[str, int]]) -> None:
    """Plain data: what was drawn, what was seen, what it cost, why it went on or stopped."""
    json.dumps(trace, allow_nan=False)
    draws = [step for step in trace if step["move"] == "draw"]
    assert [(step["model"], step["n"], step["received"]) for step in draws] == [
        (f"openai/{model}", n, n) for model, n in calls
    ]
    assert all(step["cost"] > 0 and step["ended"] > step.get("began", 0.0) for step in draws)
    waves = [step for step in draws if step["model"] == "openai/small"]
    drawn = list(itertools.accumulate(step["n"] for step in waves))
    assert [step["seen"]["n"] for step in waves] == drawn
    first = waves[0]["seen"]["agreement"]
    assert first == (1.0 if len(waves) == 1 else 0.5)
    assert all(step["reason"] for step in trace)
    known = [step for step in trace if "openai/small" in step.get("match_probabilities", {})]
    assert (len(calls) == 1) == (known[0]["match_probabilities"]["openai/small"] > 0.9)


@pytest.mark.parametrize(("small", "text", "calls"), CASES)
@pytest.mark.parametrize("door", ["complete", "acomplete", "stream", "astream"])
async def test_it_stops_or_goes_on_by_what_it_sees(
    door: str,
    small: tuple[str, ...],
    text: str,
    calls: Any,
    engine: BestRoute,
    chat_server: ChatServer,
) -> None:
    chat_server.reply = Answers(*small)
    if door == "complete":
        response = engine.complete(ASK)
    elif door == "acomplete":
        response = await engine.acomplete(ASK)
    else:
        items: list[Any] = (
            list(engine.stream(ASK))
            if door == "stream"
            else [item async for item in engine.astream(ASK)]
        )
        response = items[-1]
        streamed = [item.text for item in items if isinstance(item, Delta)]
        assert "".join(streamed) == text
        assert len(streamed) == (3 if text == "It is 42" else 1)  # the reference streams
    assert isinstance(response, RoutedResponse)
    assert response.text == text
    assert asked(chat_server) == calls
    assert response.decision.policy == "adaptive"
    assert any("agree)" in step for step in response.steps)
    trace_fits([step.model_dump() for step in response.trace], calls)
    spent = sum(step.cost or 0.0 for step in response.trace)
    assert spent == pytest.approx(response.cost)


@pytest.mark.parametrize(("small", "text", "calls"), CASES)
@pytest.mark.parametrize("door", ["invoke", "ainvoke", "stream", "astream"])
async def test_in_langchain(
    door: str,
    small: tuple[str, ...],
    text: str,
    calls: Any,
    engine: BestRoute,
    chat_server: ChatServer,
) -> None:
    chat_server.reply = Answers(*small)
    llm: Any = ChatBestRoute(engine=engine)
    if door in ("invoke", "ainvoke"):
        found = getattr(llm, door)(ASK)
        messages = [await found if door == "ainvoke" else found]
    elif door == "stream":
        messages = list(llm.stream(ASK))
    else:
        messages = [chunk async for chunk in llm.astream(ASK)]
    assert "".join(message.text for message in messages) == text
    about = messages[-1].response_metadata["bestroute"]
    trace_fits(about["trace"], calls)
    usage = messages[-1].usage_metadata
    assert usage["input_tokens"] == 5 * len(calls)
    assert asked(chat_server) == calls


@pytest.mark.parametrize(("small", "text", "calls"), CASES)
@pytest.mark.parametrize("door", ["complete", "acomplete", "stream_complete", "astream_complete"])
async def test_in_llamaindex(
    door: str,
    small: tuple[str, ...],
    text: str,
    calls: Any,
    engine: BestRoute,
    chat_server: ChatServer,
) -> None:
    chat_server.reply = Answers(*small)
    llm: Any = BestRouteLLM(engine=engine)
    found = getattr(llm, door)(ASK)
    found = await found if door.startswith("a") else found
    if door == "stream_complete":
        *_, found = list(found)
    elif door == "astream_complete":
        *_, found = [piece async for piece in found]
    assert found.text == text
    assert found.raw["usage"]["prompt_tokens"] == 5 * len(calls)
    trace_fits(found.raw["bestroute"]["trace"], calls)
    assert asked(chat_server) == calls


def test_a_budget_is_kept(engine: BestRoute, chat_server: ChatServer) -> None:
    chat_server.reply = Answers("41", "42", "42")
    member = engine.pool.reference
    big = reserve(Request.build(ASK, {"max_tokens": 300}), member).dollars(1)
    response = engine.complete(ASK, max_cost=big, max_tokens=300)  # the waves leave too little
    assert response.model == "openai/small"
    assert asked(chat_server) == [("small", 2), ("small", 1)]


async def test_cancelled_between_waves(engine: BestRoute, chat_server: ChatServer) -> None:
    answers = Answers("41", "42", "42")
    chat_server.reply = lambda body: (
        Reply("slow", delay=60) if len(chat_server.requests) > 1 else answers(body)
    )
    await engine.warmup()
    task = asyncio.create_task(engine.acomplete(ASK))
    while len(chat_server.requests) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    await asyncio.sleep(0.2)
    assert len(chat_server.requests) == 2


@pytest.mark.parametrize("door", ["engine", "langchain", "llamaindex"])
async def test_cancelled_amid_a_wave_nothing_goes_on(
    door: str, pool: Any, chat_server: ChatServer
) -> None:
    """Two parallel calls under way and the reference begun ahead: all end, and it serves again."""
    pool["models"][0]["native_n"] = False
    models = ModelPool.from_dict(pool)
    policy = Adaptive(
        0.9,
        agreement_counts("openai/small"),
        dollars_per_second=0.003,
        seconds={"openai/small": 1.0, "openai/big": 2.0},
    )
    engine = BestRoute(models, router=Undecided(models.arms), policy=policy)
    ask: Any = {
        "engine": engine.acomplete,
        "langchain": ChatBestRoute(engine=engine).ainvoke,
        "llamaindex": BestRouteLLM(engine=engine).acomplete,
    }[door]
    chat_server.reply = "42"
    await ask(ASK)
    await asyncio.sleep(0.3)  # what that one began ahead in vain may still arrive
    chat_server.requests.clear()
    before = asyncio.all_tasks()
    chat_server.reply = Reply("slow", delay=60)
    task = asyncio.create_task(ask(ASK))
    while len(chat_server.requests) < 3 and not task.done():
        await asyncio.sleep(0.01)
    assert sorted(asked(chat_server)) == [("big", 1), ("small", 1), ("small", 1)]
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1
    await asyncio.sleep(0.1)
    left = [each for each in asyncio.all_tasks() - before if "worker" not in repr(each)]
    assert not left  # but LiteLLM's own worker
    assert len(chat_server.requests) == 3
    chat_server.reply = "42"
    again = await ask(ASK)
    assert (again.content if door == "langchain" else again.text) == "42"


async def test_scores_are_seen_after_each_wave(pool: Any, chat_server: ChatServer) -> None:
    """With a reward model the belief reads its scores, and no sample is scored twice."""
    scored: Counter[str] = Counter()

    def score(query: str, text: str) -> float:
        scored[text] += 1
        return float(len(text))

    models = ModelPool.from_dict(pool)
    engine = BestRoute(
        models,
        router=Undecided(models.arms),
        policy=Adaptive(0.9, agreement_counts("openai/small", reads="best", at=3.0)),
        reward=FunctionReward(score),
    )
    chat_server.reply = Answers("a", "bb", "cccc")
    response = await engine.acomplete(ASK)
    assert response.text == "cccc"  # after two samples the best was too short
    assert asked(chat_server) == [("small", 2), ("small", 1)]
    assert scored == {"a": 1, "bb": 1, "cccc": 1}
    assert [sample.score for sample in response.samples] == [1.0, 2.0, 4.0]
