"""What callbacks, tracers and event streams hear: child runs without texts, and one bill."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, get_usage_metadata_callback
from langchain_core.outputs import LLMResult
from langchain_core.rate_limiters import BaseRateLimiter, InMemoryRateLimiter
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run

from bestroute import BestRoute, Cascade, ModelPool, Price
from bestroute.errors import SamplingError
from bestroute.rewards import FunctionReward, JudgeReward
from langchain_bestroute import ChatBestRoute
from tests.servers import Body, ChatServer, Reply

ASK = "What is six times seven?"  # five tokens to the server
DOORS = ("invoke", "ainvoke", "stream", "astream")
LOSERS = ("apples", "pears", "plums")


class Tracer(BaseTracer):
    """Keeps the finished runs."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)

    @property
    def model_run(self) -> Run:
        (root,) = self.roots
        return root


def scattered(body: Body) -> Reply:
    """The small model disagrees with itself, the big one knows."""
    return Reply(list(LOSERS) if body["model"] == "small" else "It is 42")


async def ask(llm: Any, door: str, **config: Any) -> Any:
    if door == "invoke":
        return llm.invoke(ASK, config)
    if door == "ainvoke":
        return await llm.ainvoke(ASK, config)
    if door == "stream":
        return list(llm.stream(ASK, config))
    return [chunk async for chunk in llm.astream(ASK, config)]


@pytest.mark.parametrize("door", DOORS)
async def test_candidates_and_selection_are_child_runs(
    door: str, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = scattered
    tracer = Tracer()
    await ask(ChatBestRoute(pool=pool), door, callbacks=[tracer])
    run = tracer.model_run
    assert run.run_type in ("chat_model", "llm")
    children = run.child_runs
    assert {child.run_type for child in children} == {"chain"}
    assert all("nostream" in (child.tags or []) for child in children)
    assert all(child.end_time for child in children)
    names = [child.name for child in children]
    assert names == ["bestroute.route", *["bestroute.candidate"] * 4, "bestroute.select"]
    assert children[0].outputs is not None
    assert children[0].outputs["arm"] == "openai/small:3"
    candidates = [child.outputs or {} for child in children if child.name == "bestroute.candidate"]
    assert [each["model"] for each in candidates] == ["openai/small"] * 3 + ["openai/big"]
    usage = Counter[str]()
    for each in candidates:
        usage.update(each["usage"])
    assert usage == {"input_tokens": 10, "output_tokens": 6, "total_tokens": 16}
    assert sum(each["cost"] for each in candidates) == pytest.approx((8 * 0.1 + 8 * 10) / 1e6)
    assert children[-1].outputs is not None
    assert children[-1].outputs["winner"] == 0


@pytest.mark.parametrize("door", DOORS)
async def test_losers_show_nowhere(door: str, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = scattered
    tracer = Tracer()
    found = await ask(ChatBestRoute(pool=pool), door, callbacks=[tracer])
    everything = f"{found} {tracer.model_run.model_dump()}"
    assert "It is 42" in everything
    assert not any(loser in everything for loser in LOSERS)


async def test_event_streams_show_the_answer_only(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = scattered
    chain = RunnableLambda(lambda text: text) | ChatBestRoute(pool=pool)
    events = [event async for event in chain.astream_events(ASK, version="v2")]
    streamed = [e for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(event["data"]["chunk"].text for event in streamed) == "It is 42"
    assert [e["event"] for e in events].count("on_chat_model_end") == 1
    assert not any(loser in str(events) for loser in LOSERS)
    names = Counter(event["name"] for event in events if event["event"] == "on_chain_end")
    assert names["bestroute.candidate"] == 4
    quiet = [e async for e in chain.astream_events(ASK, version="v2", exclude_tags=["nostream"])]
    assert "bestroute.candidate" not in {event["name"] for event in quiet}


@pytest.mark.parametrize("door", DOORS)
async def test_child_runs_inherit_what_is_not_said_of_the_model(
    door: str, pool: Any, chat_server: ChatServer
) -> None:
    tracer = Tracer()
    await ask(ChatBestRoute(pool=pool), door, callbacks=[tracer], metadata={"tenant": "a"})
    assert tracer.model_run.child_runs
    for child in tracer.model_run.child_runs:
        metadata = (child.extra or {}).get("metadata", {})
        assert metadata["tenant"] == "a"
        assert not [name for name in metadata if name.startswith("ls_")]


class Ends(AsyncCallbackHandler):
    """Counts what a token counter would count."""

    def __init__(self) -> None:
        self.ends: list[LLMResult] = []
        self.parents: list[UUID | None] = []

    async def on_llm_end(
        self, response: LLMResult, *, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self.ends.append(response)
        self.parents.append(parent_run_id)


@pytest.mark.parametrize("door", ["ainvoke", "astream"])
async def test_a_model_ends_once(door: str, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = scattered
    ends = Ends()
    with get_usage_metadata_callback() as counted:
        await ask(ChatBestRoute(pool=pool), door, callbacks=[ends])
    assert len(ends.ends) == 1
    total = {"input_tokens": 10, "output_tokens": 6, "total_tokens": 16}
    assert counted.usage_metadata == {"openai/big": total}


async def test_the_split_by_model_adds_up(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = scattered
    message = ChatBestRoute(pool=pool).invoke(ASK)
    about = message.response_metadata["bestroute"]
    split = about["usage_by_model"]
    assert {model: each["completion_tokens"] for model, each in split.items()} == {
        "openai/small": 3,
        "openai/big": 3,
    }
    assert message.usage_metadata is not None
    assert (
        sum(each["prompt_tokens"] for each in split.values())
        == (message.usage_metadata["input_tokens"])
    )
    assert about["provider"] == message.response_metadata["model_provider"] == "openai"
    assert message.response_metadata["model_name"] == "openai/big"
    assert about["estimated_savings"] is not None


@pytest.mark.parametrize("door", DOORS)
async def test_a_failure_is_a_failed_candidate(
    door: str, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = lambda body: (
        Reply("out of order", status=401) if body["model"] == "small" else "It is 42"
    )
    tracer = Tracer()
    await ask(ChatBestRoute(pool=pool, max_retries=0), door, callbacks=[tracer])
    candidates = [
        child for child in tracer.model_run.child_runs if child.name == "bestroute.candidate"
    ]
    assert ["out of order" in (child.error or "") for child in candidates] == [True] * 3 + [False]


@pytest.mark.parametrize("door", DOORS)
async def test_runs_end_when_all_fail(door: str, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("out of order", status=401)
    tracer = Tracer()
    with pytest.raises(SamplingError):
        await ask(ChatBestRoute(pool=pool, max_retries=0), door, callbacks=[tracer])
    assert tracer.model_run.error
    assert all(child.end_time for child in tracer.model_run.child_runs)


async def test_runs_end_when_a_stream_is_left(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    tracer = Tracer()
    stream = ChatBestRoute(pool=one_model).stream(ASK, {"callbacks": [tracer]})
    next(stream)
    stream.close()
    children = [run for run in tracer.run_map.values() if run.name == "bestroute.candidate"]
    left = [child for root in tracer.roots for child in root.child_runs] + children
    assert left
    assert all(child.end_time for child in left)


def test_scores_and_a_judges_bill_are_in_the_selection(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: (
        "Score: 7" if body["model"] == "judge" else Reply(["1", "1", "2"])
    )
    models = ModelPool.from_dict(pool)
    reward = JudgeReward("openai/judge", params=chat_server.params, price=Price(input=1, output=1))
    engine = BestRoute(models, policy=Cascade(agreement=0.6), reward=reward)
    tracer = Tracer()
    message = ChatBestRoute(engine=engine).invoke(ASK, {"callbacks": [tracer]})
    select = tracer.model_run.child_runs[-1]
    assert select.outputs is not None
    assert select.outputs["scores"] == message.response_metadata["bestroute"]["scores"]
    assert select.outputs["cost"] > 0
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] > 3  # the judge's words are paid for as well


def test_scores_of_a_reward_model(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply(["a", "aaa", "aa"])
    reward = FunctionReward(lambda query, text: float(len(text)))
    policy = Cascade(agreement=0.1)
    engine = BestRoute(ModelPool.from_dict(pool), policy=policy, reward=reward)
    tracer = Tracer()
    message = ChatBestRoute(engine=engine).invoke(ASK, {"callbacks": [tracer]})
    assert message.content == "aaa"
    outputs = tracer.model_run.child_runs[-1].outputs
    assert outputs is not None
    assert (outputs["winner"], outputs["scores"]) == (1, [1.0, 3.0, 2.0])


class Counting(BaseRateLimiter):
    """Lets everything pass, and counts."""

    def __init__(self) -> None:
        self.permits = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        assert blocking
        self.permits += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire(blocking=blocking)


@pytest.mark.parametrize("door", DOORS)
async def test_every_sample_needs_a_permit(door: str, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = scattered
    limiter = Counting()
    await ask(ChatBestRoute(pool=pool, rate_limiter=limiter), door)
    assert limiter.permits == 4  # three of the small model, one of the big one
    await ask(ChatBestRoute(pool=pool, rate_limiter=limiter).bind(max_n=1), door)
    assert limiter.permits == 5


async def test_a_rate_limiter_slows_the_samples_down(pool: Any, chat_server: ChatServer) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=20, check_every_n_seconds=0.01)
    llm = ChatBestRoute(pool=pool, rate_limiter=limiter)
    began = time.monotonic()
    await asyncio.gather(llm.ainvoke(ASK), llm.ainvoke(ASK))
    assert time.monotonic() - began > 5 / 20 * 0.9  # six permits, at 20 a second
