"""ChatBestRoute over HTTP: answers, streams, usage, parameters, errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import ConfigurableField

from bestroute import BestRoute, Cascade, ModelPool, OneShot
from bestroute.artifact import update
from bestroute.calibration import CalibrationTable, CostRow, Promise
from bestroute.errors import NotCertifiedError, RequestError, RouterNotTrained, SamplingError
from bestroute.events import Delta
from bestroute.pool import PooledModel
from bestroute.query import Request
from bestroute.routers.features import FEATURE_NAMES
from bestroute.routers.heads import Heads
from bestroute.routers.multihead import MultiHeadRouter
from bestroute.routers.static import StaticEncoder
from bestroute.sampling import Drawn, Sampler
from langchain_bestroute import ChatBestRoute
from tests.servers import Body, ChatServer, Reply

ASK = "What is six times seven?"  # five tokens to the server
TOTAL = {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14}


def split_or_dear(body: Body) -> Reply:
    """The small model disagrees with itself, the big one knows."""
    return Reply(["1", "2", "3"] if body["model"] == "small" else "It is 42")


def tokens(llm: Any, ask: str = ASK) -> list[AIMessageChunk]:
    return list(llm.stream(ask))


async def atokens(llm: Any, ask: str = ASK) -> list[AIMessageChunk]:
    return [chunk async for chunk in llm.astream(ask)]


async def _invoke(llm: Any, door: str, ask: str = ASK) -> AIMessage:
    """The whole message by any door."""
    if door == "invoke":
        return llm.invoke(ask)
    if door == "ainvoke":
        return await llm.ainvoke(ask)
    chunks = tokens(llm, ask) if door == "stream" else await atokens(llm, ask)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


DOORS = ["invoke", "ainvoke", "stream", "astream"]


@pytest.mark.parametrize("door", DOORS)
async def test_an_answer_by_every_door(door: str, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    message = await _invoke(ChatBestRoute(pool=pool), door)
    assert message.content == "It is 42"
    assert message.usage_metadata == TOTAL  # all three samples
    metadata = message.response_metadata
    assert metadata["model_name"] == "openai/small"
    assert metadata["model_provider"] == "openai"
    assert metadata["finish_reason"] == "stop"
    assert metadata["bestroute"]["arm"] == "openai/small:3"
    assert metadata["bestroute"]["cost"] == pytest.approx(14 * 0.1 / 1e6)
    assert [body.get("n") for body in chat_server.requests] == [3]


@pytest.mark.parametrize("door", DOORS)
async def test_an_escalation_bills_everything(
    door: str, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = split_or_dear
    with get_usage_metadata_callback() as counted:
        message = await _invoke(ChatBestRoute(pool=pool), door)
    total = {"input_tokens": 10, "output_tokens": 6, "total_tokens": 16}
    assert message.content == "It is 42"
    assert message.usage_metadata == total
    assert counted.usage_metadata == {"openai/big": total}  # once
    assert set(message.response_metadata["bestroute"]["usage_by_model"]) == {
        "openai/small",
        "openai/big",
    }


@pytest.mark.parametrize("collect", [tokens, atokens])
async def test_one_sample_streams_as_it_comes(
    collect: Callable[..., Any], one_model: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = "It is 42"
    found = collect(ChatBestRoute(pool=one_model))
    chunks = await found if asyncio.iscoroutine(found) else found
    assert [chunk.content for chunk in chunks] == ["It", " is", " 42", ""]
    assert [bool(chunk.usage_metadata) for chunk in chunks] == [False, False, False, True]
    assert [bool(chunk.response_metadata) for chunk in chunks] == [False, False, False, True]
    assert [chunk.chunk_position for chunk in chunks] == [None, None, None, "last"]
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("collect", [tokens, atokens])
async def test_of_several_samples_only_the_winner_shows(
    collect: Callable[..., Any], pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = Reply(["It is 42", "It is 41", "It is 42"])
    engine = BestRoute(ModelPool.from_dict(pool), policy=Cascade(agreement=0.6))
    found = collect(ChatBestRoute(engine=engine))
    chunks = await found if asyncio.iscoroutine(found) else found
    assert [chunk.content for chunk in chunks] == ["It is 42", ""]
    assert chunks[-1].usage_metadata == TOTAL


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[Any] = []
        self.ends = 0

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends += 1


@pytest.mark.parametrize("door", ["stream", "astream", "invoke", "ainvoke"])
async def test_callbacks_hear_each_token_once(
    door: str, one_model: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = "It is 42"
    listener = Listener()
    llm = ChatBestRoute(pool=one_model, streaming=True, callbacks=[listener])
    message = await _invoke(llm, door)
    assert message.content == "It is 42"
    assert listener.tokens == ["It", " is", " 42", ""]
    assert listener.ends == 1


async def test_the_new_events_tell_the_old_callbacks_too(
    one_model: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = "It is 42"
    llm = ChatBestRoute(pool=one_model)
    listeners = [Listener(), Listener()]
    stream = llm.stream_events(ASK, {"callbacks": [listeners[0]]}, version="v3")
    assert stream.output.text == "It is 42"
    astream = await llm.astream_events(ASK, {"callbacks": [listeners[1]]}, version="v3")
    assert (await astream.output).text == "It is 42"
    for listener in listeners:
        assert listener.tokens == ["It", " is", " 42", ""]


def test_streaming_asked_for_by_the_call(one_model: Any, chat_server: ChatServer) -> None:
    listener = Listener()
    llm = ChatBestRoute(pool=one_model, callbacks=[listener])
    assert llm.invoke(ASK, stream=False).content == "ok"
    assert listener.tokens == []
    assert llm.invoke(ASK, stream=True).content == "ok"
    assert listener.tokens == ["ok", ""]


@pytest.mark.parametrize("door", DOORS)
async def test_thoughts_come_along(door: str, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply([{"content": "42", "reasoning_content": "6 * 7"}] * 3)
    message = await _invoke(ChatBestRoute(pool=pool), door)
    assert message.content == "42"
    assert message.additional_kwargs["reasoning_content"] == "6 * 7"


async def test_events_of_both_kinds(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    llm = ChatBestRoute(pool=one_model)
    events = [event async for event in llm.astream_events(ASK, version="v2")]
    texts = [e["data"]["chunk"].content for e in events if e["event"] == "on_chat_model_stream"]
    assert texts == ["It", " is", " 42", ""]
    stream = llm.stream_events(ASK, version="v3")
    assert "".join(stream.text) == "It is 42"
    assert stream.output.usage_metadata == {
        "input_tokens": 5,
        "output_tokens": 3,
        "total_tokens": 8,
    }


class Watched(Sampler):
    """Knows whether its stream is still open."""

    open = False

    async def stream(
        self, request: Request, member: PooledModel, drawn: Drawn, **limits: Any
    ) -> AsyncIterator[Delta]:
        self.open = True
        try:
            async for delta in super().stream(request, member, drawn, **limits):
                yield delta
        finally:
            self.open = False


@pytest.mark.parametrize("door", ["stream", "astream"])
async def test_a_left_stream_is_closed(door: str, one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    sampler = Watched()
    llm = ChatBestRoute(engine=BestRoute(ModelPool.from_dict(one_model), sampler=sampler))
    stream: Any = getattr(llm, door)(ASK)
    if door == "stream":
        assert next(stream).content == "It"
        assert sampler.open
        stream.close()
    else:
        assert (await anext(stream)).content == "It"
        assert sampler.open
        await stream.aclose()
    assert not sampler.open


async def test_details_of_usage(one_model: Any, chat_server: ChatServer) -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    chat_server.reply = Reply("It is 42", usage=usage)
    for door in DOORS:
        counted = (await _invoke(ChatBestRoute(pool=one_model), door)).usage_metadata
        assert counted is not None
        assert counted["input_token_details"] == {"cache_read": 4}
        assert counted["output_token_details"] == {"reasoning": 2}


def test_parameters_reach_the_provider(one_model: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=one_model, temperature=0.3, max_tokens=9, stop=["END"])
    llm.invoke(ASK)
    llm.invoke(ASK, stop=["X"], temperature=0.9, top_p=0.5)
    llm.bind(max_tokens=4, stop=["Y"]).invoke(ASK)
    for _ in llm.stream(ASK, stop=["Z"]):
        pass
    names = ("temperature", "max_tokens", "stop", "top_p")
    assert [[body.get(name) for name in names] for body in chat_server.requests] == [
        [0.3, 9, ["END"], None],
        [0.9, 9, ["X"], 0.5],
        [0.3, 4, ["Y"], None],
        [0.3, 9, ["Z"], None],
    ]


def test_fewer_samples_for_a_call(pool: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=pool)
    assert llm.invoke(ASK, max_n=2).response_metadata["bestroute"]["arm"] == "openai/small:2"
    assert llm.bind(max_n=2).invoke(ASK).response_metadata["bestroute"]["n"] == 2
    configurable = llm.configurable_fields(max_n=ConfigurableField(id="n"))
    message = configurable.with_config(configurable={"n": 2}).invoke(ASK)
    assert message.response_metadata["bestroute"]["n"] == 2
    assert [body.get("n") for body in chat_server.requests] == [2, 2, 2]
    at_zero = ChatBestRoute(pool=pool, temperature=0).invoke(ASK)
    assert at_zero.response_metadata["bestroute"]["n"] == 1


@pytest.mark.parametrize("door", DOORS)
async def test_errors_are_bestroutes(door: str, pool: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=pool, max_retries=0)
    with pytest.raises(RequestError, match="n is chosen by the router"):
        await _invoke(llm.bind(n=2), door)
    with pytest.raises(RouterNotTrained):
        await _invoke(llm.bind(threshold=0.5), door)
    with pytest.raises(RequestError, match="no content"):
        await _invoke(llm, door, "")
    assert chat_server.requests == []
    chat_server.reply = Reply("out of order", status=500)
    with pytest.raises(SamplingError, match="out of order"):
        await _invoke(llm, door)


def test_retries(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("out of order", status=500, headers={"Retry-After": "0"})
    with pytest.raises(SamplingError):
        ChatBestRoute(pool=one_model, max_retries=1).invoke(ASK)
    assert len(chat_server.requests) == 2


def _slowly(body: Body) -> Reply:
    return Reply(f"{body['messages'][-1]['content']}!", delay=0.2)


async def test_batches_run_side_by_side(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _slowly
    llm, asks = ChatBestRoute(pool=one_model), [f"q{index}" for index in range(6)]
    answers = [f"{ask}!" for ask in asks]
    assert [message.content for message in llm.batch(asks)] == answers  # type: ignore[arg-type]
    assert [message.content for message in await llm.abatch(asks)] == answers  # type: ignore[arg-type]
    assert [m.content for m in await asyncio.gather(*map(llm.ainvoke, asks))] == answers
    assert chat_server.peak >= 4


async def _each(llm: ChatBestRoute) -> AsyncIterator[AIMessage]:
    yield llm.invoke(ASK)
    yield await llm.ainvoke(ASK)


async def test_sync_calls_inside_a_running_loop(one_model: Any) -> None:
    assert [message.content async for message in _each(ChatBestRoute(pool=one_model))] == ["ok"] * 2


def test_cached_answers(pool: Any, chat_server: ChatServer) -> None:
    cache = InMemoryCache()
    llm = ChatBestRoute(pool=pool, cache=cache)
    first, again = llm.invoke(ASK), llm.invoke([HumanMessage(ASK)])
    assert again.content == first.content == "ok"
    assert len(chat_server.requests) == 1
    llm.invoke(ASK, max_n=2)
    ChatBestRoute(pool=pool, cache=cache, temperature=0.1).invoke(ASK)
    smaller = {"models": [{**pool["models"][0], "max_samples": 2}, pool["models"][1]]}
    ChatBestRoute(pool=smaller, cache=cache).invoke(ASK)
    engine = BestRoute(ModelPool.from_dict(pool), policy=Cascade(n=2))
    ChatBestRoute(engine=engine, cache=cache).invoke(ASK)
    assert len(chat_server.requests) == 5
    changed = llm.model_copy(update={"max_n": 2})
    changed.invoke(ASK)
    assert len(chat_server.requests) == 6
    ChatBestRoute(pool=pool, cache=cache).invoke(ASK)
    assert len(chat_server.requests) == 6


def _save_router(data: Any, folder: Path, bias: float) -> None:
    """A saved router with the same word on every query."""
    pool, encoder = ModelPool.from_dict(data), StaticEncoder()
    inputs, heads = encoder.dimension + len(FEATURE_NAMES), len(pool.arms) - 1
    trained = Heads(
        np.zeros(inputs), np.ones(inputs), np.zeros((inputs, heads)), np.full(heads, bias)
    )
    router = MultiHeadRouter(pool.arms, "openai/big", encoder, trained)
    BestRoute(pool, router=router, threshold=0.6).save_pretrained(folder)


def test_a_saved_router_decides(pool: Any, chat_server: ChatServer, tmp_path: Path) -> None:
    _save_router(pool, tmp_path, 1.0)
    llm = ChatBestRoute.from_pretrained(tmp_path, pool=pool)
    arms = [
        message.response_metadata["bestroute"]["arm"]
        for message in (
            llm.invoke(ASK),
            llm.invoke(ASK, threshold=0.99),
            llm.bind(threshold=0.99).invoke(ASK),
            ChatBestRoute.from_pretrained(tmp_path, pool=pool, threshold=0.99).invoke(ASK),
        )
    ]
    assert arms == ["openai/small:1"] + ["openai/big:1"] * 3
    threshold = llm.configurable_fields(threshold=ConfigurableField(id="t"))
    dear = threshold.with_config(configurable={"t": 0.99}).invoke(ASK)
    assert dear.response_metadata["bestroute"]["arm"] == "openai/big:1"


TABLE = CalibrationTable(
    n_queries=900,
    promises=(Promise(max_drop=0.02, confidence=0.95, threshold=0.8, cost_per_1k=5),),
    budgets=(CostRow(cost_per_1k=3, threshold=0.5),),
)


def test_a_promise_instead_of_a_threshold(
    pool: Any, chat_server: ChatServer, tmp_path: Path
) -> None:
    _save_router(pool, tmp_path, 1.0)  # a match probability of 0.73
    update(tmp_path, calibration=TABLE, policy=OneShot(0.6))
    cache = InMemoryCache()
    asked = {
        "threshold": ChatBestRoute.from_pretrained(tmp_path, pool=pool, cache=cache),
        "max_drop": ChatBestRoute.from_pretrained(tmp_path, pool=pool, cache=cache, max_drop=0.05),
        "target_cost": ChatBestRoute.from_pretrained(
            tmp_path, pool=pool, cache=cache, target_cost=3
        ),
    }
    made = {name: llm.invoke(ASK).response_metadata["bestroute"] for name, llm in asked.items()}
    assert len(chat_server.requests) == 3, "another promise is another cache key"
    arms = {name: decision["arm"] for name, decision in made.items()}
    assert arms == {
        "threshold": "openai/small:1",
        "max_drop": "openai/big:1",
        "target_cost": "openai/small:1",
    }
    assert (made["max_drop"]["max_drop"], made["max_drop"]["confidence"]) == (0.02, 0.95)
    assert made["target_cost"]["target_cost"] == 3
    of_call = asked["max_drop"].bind(threshold=0.7).invoke(ASK)
    assert of_call.response_metadata["bestroute"]["arm"] == "openai/small:1"
    with pytest.raises(NotCertifiedError):
        asked["threshold"].invoke(ASK, max_drop=0.01)
    safe = asked["threshold"].invoke(ASK, max_drop=0.01, on_uncertified="reference")
    assert safe.response_metadata["bestroute"]["arm"] == "openai/big:1"


def test_a_retrained_router_misses_the_cache(
    pool: Any, chat_server: ChatServer, tmp_path: Path
) -> None:
    cache = InMemoryCache()
    for bias, requests in ((1.0, 1), (1.0, 1), (2.0, 2), (1.0, 2)):
        _save_router(pool, tmp_path, bias)
        ChatBestRoute.from_pretrained(tmp_path, pool=pool, cache=cache).invoke(ASK)
        assert len(chat_server.requests) == requests


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("which", ["pool", "one_model"])
async def test_log_probabilities_where_they_are_asked_for(
    door: str, which: str, request: pytest.FixtureRequest, chat_server: ChatServer
) -> None:
    chat_server.reply = "It is 42"
    llm = ChatBestRoute(pool=request.getfixturevalue(which))
    assert "logprobs" not in (await _invoke(llm, door)).response_metadata
    told = (await _invoke(llm.bind(logprobs=True), door)).response_metadata["logprobs"]
    assert [(each["token"], each["logprob"]) for each in told["content"]] == [
        ("It", -0.7),
        ("is", -0.7),
        ("42", -0.7),
    ]


def test_usage_of_all_samples_is_not_taken_for_the_size_of_the_context(
    one_model: Any, chat_server: ChatServer
) -> None:
    """LangChain's summarization trusts a total only if the provider is the model's own."""
    chat_server.reply = Reply([{"content": "42", "reasoning_content": "6 * 7"}])
    llm = ChatBestRoute(pool=one_model)
    message = llm.invoke(ASK)
    assert message.response_metadata["model_provider"] != llm._get_ls_params()["ls_provider"]
    assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]
