"""`bestroute/...` as a LiteLLM model: sync, async, streamed; usage, cost, decision, errors."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest

import bestroute.provider
from bestroute import BestRoute, ModelPool
from tests.fault_server import FaultServer, endless_stream, hang
from tests.servers import Body, ChatServer, Reply

ASK = [{"role": "user", "content": "What is six times seven?"}]
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}


@pytest.fixture
def model(chat_server: ChatServer, tmp_path: Path) -> str:
    """A pool file, as a LiteLLM model."""
    models = [
        {"model": f"openai/{name}", "name": name, "price": {"input": p, "output": p}, **more}
        for name, p, more in (
            ("small", 1.0, {"max_samples": 3}),
            ("big", 10.0, {"reference": True}),
        )
    ]
    for each in models:
        each["params"] = chat_server.params  # type: ignore[assignment]
    path = tmp_path / "pool.yaml"
    path.write_text(json.dumps({"models": models}), encoding="utf-8")
    return f"bestroute/{path}"


def agreeing(body: Body) -> Reply:
    """Three equal answers, of one word each."""
    return Reply(["42"] * (body.get("n") or 1))


def check(response: Any, server: ChatServer) -> None:
    """Usage and cost are those of all samples; the decision is told."""
    assert response.choices[0].message.content == "42"
    assert response.usage.prompt_tokens == 5 and response.usage.completion_tokens == 3
    hidden = response._hidden_params
    assert hidden["bestroute"]["model"] == "small" and hidden["bestroute"]["n"] == 3
    assert hidden["response_cost"] == pytest.approx(8 / 1e6)
    assert hidden["additional_headers"]["llm_provider-x-bestroute-arm"] == "small:3"
    assert hidden["additional_headers"]["llm_provider-x-bestroute-cost"] == "8e-06"
    assert response.model == "openai/small"


def test_completion(model: str, chat_server: ChatServer) -> None:
    chat_server.reply = agreeing
    check(litellm.completion(model=model, messages=ASK, temperature=0.7), chat_server)
    assert [body["temperature"] for body in chat_server.requests] == [0.7]


async def test_acompletion(model: str, chat_server: ChatServer) -> None:
    chat_server.reply = agreeing
    check(await litellm.acompletion(model=model, messages=ASK), chat_server)


async def test_options_reach_the_router_and_the_rest_the_model(
    model: str, chat_server: ChatServer
) -> None:
    named = await litellm.acompletion(
        model=model, messages=ASK, extra_body={"model": "big"}, seed=7, max_tokens=9, tools=[ADD]
    )
    assert named._hidden_params["bestroute"]["model"] == "big"
    (body,) = chat_server.requests
    assert (body["model"], body["seed"], body["max_tokens"]) == ("big", 7, 9)
    assert body["tools"] == [ADD]
    one = await litellm.acompletion(model=model, messages=ASK, models=["big"])
    assert one._hidden_params["bestroute"]["model"] == "big"


@pytest.mark.parametrize("door", ["sync", "async"])
async def test_streaming(door: str, model: str, chat_server: ChatServer) -> None:
    chat_server.reply = "one two three"
    call = {"model": model, "messages": ASK, "extra_body": {"model": "big"}, "stream": True}
    call["stream_options"] = {"include_usage": True}
    if door == "sync":
        chunks = list(litellm.completion(**call))
    else:
        chunks = [chunk async for chunk in await litellm.acompletion(**call)]
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) == 3 and "".join(texts) == "one two three"
    usages = [usage for chunk in chunks if (usage := getattr(chunk, "usage", None))]
    assert [(each.prompt_tokens, each.completion_tokens) for each in usages] == [(5, 3)]
    assert usages[0].cost == pytest.approx(80 / 1e6)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    first, last = (c.bestroute for c in chunks if getattr(c, "bestroute", None))
    assert chunks[0].bestroute == first and first["arm"] == "big:1"
    assert first["estimated_cost"] > 0 and "model" not in first  # what is known by then
    assert first.items() <= last.items() and (last["model"], last["n"]) == ("big", 1)


@pytest.mark.parametrize("streamed", [False, True])
async def test_tool_calls(streamed: bool, model: str, chat_server: ChatServer) -> None:
    function = {"name": "add", "arguments": '{"a": 1}'}
    message = {
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    chat_server.reply = lambda body: Reply([message] * (body.get("n") or 1))
    response = await litellm.acompletion(model=model, messages=ASK, tools=[ADD], stream=streamed)
    if streamed:
        response = litellm.stream_chunk_builder([chunk async for chunk in response])
    (call,) = response.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 1})
    assert response.choices[0].finish_reason == "tool_calls"


async def test_errors_are_litellms_own(model: str, chat_server: ChatServer) -> None:
    with pytest.raises(litellm.BadRequestError, match="n is the router's"):
        await litellm.acompletion(model=model, messages=ASK, n=2)
    with pytest.raises(litellm.BadRequestError, match="did you mean"):
        await litellm.acompletion(model=model, messages=ASK, thresholt=0.5)
    with pytest.raises(litellm.NotFoundError, match="neither a directory"):
        await litellm.acompletion(model="bestroute/no/such", messages=ASK)
    chat_server.reply = Reply("slow down", status=429)
    with pytest.raises(litellm.RateLimitError, match="slow down"):
        await litellm.acompletion(model=model, messages=ASK, timeout=5)


@pytest.mark.parametrize("api_key", [None, "os.environ/OPENAI_API_KEY"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_missing_key_is_named(
    api_key: str | None, stream: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = tmp_path / "pool.yaml"
    big = {"model": "openai/gpt-4o", "name": "big", "reference": True}
    path.write_text(json.dumps({"models": [{**big, "params": {"api_key": api_key}}]}))
    call = {"model": f"bestroute/{path}", "messages": ASK, "stream": stream}
    with pytest.raises(litellm.AuthenticationError, match="big.*OPENAI_API_KEY"):
        if stream:
            list(litellm.completion(**call))
        else:
            litellm.completion(**call)
    with pytest.raises(litellm.AuthenticationError, match="big.*OPENAI_API_KEY"):
        response = await litellm.acompletion(**call)
        [chunk async for chunk in response]


def test_an_engine_built_by_hand(model: str, chat_server: ChatServer) -> None:
    chat_server.reply = agreeing
    pool = ModelPool.from_yaml(model.removeprefix("bestroute/"))
    bestroute.provider.provider.use("mine", BestRoute(pool))
    response = litellm.completion(model="bestroute/mine", messages=ASK)
    assert response._hidden_params["bestroute"]["arm"] == "small:3"


def test_it_is_registered_once() -> None:
    assert bestroute.provider.register() is bestroute.provider.provider
    known = [entry["provider"] for entry in litellm.custom_provider_map]
    assert known.count("bestroute") == 1


async def test_empty_lists_are_not_sent_on(model: str, chat_server: ChatServer) -> None:
    chat_server.reply = agreeing
    await litellm.acompletion(model=model, messages=ASK, stop=[], tools=[])
    assert not {"stop", "tools"} & chat_server.requests[0].keys()


def test_litellm_knows_what_the_pool_can_do(chat_server: ChatServer) -> None:
    able = {"vision": True, "tools": False, "context_window": 9000, "max_output_tokens": 700}
    big = {"model": "openai/big", "reference": True, "price": {"input": 1, "output": 1}, **able}
    pool = ModelPool.from_dict({"models": [{**big, "params": chat_server.params}]})
    bestroute.provider.provider.use("seeing", BestRoute(pool))
    name = "bestroute/seeing"
    assert litellm.supports_vision(name) and not litellm.supports_function_calling(name)
    assert litellm.get_model_info(name)["max_input_tokens"] == 9000
    assert litellm.get_model_info(name)["max_output_tokens"] == 700
    response = litellm.completion(model=name, messages=ASK)  # and the cost stays our word
    assert response._hidden_params["response_cost"] == pytest.approx(6 / 1e6)


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[tuple[str, FaultServer]]:
    """A model that never comes to an end, as a LiteLLM model."""
    with FaultServer({"*": endless_stream}) as server:
        params = {"api_base": server.url, "api_key": "x"}
        big = {"model": "openai/big", "reference": True, "price": {"input": 1, "output": 1}}
        path = tmp_path / "endless.yaml"
        path.write_text(json.dumps({"models": [{**big, "params": params}]}), encoding="utf-8")
        yield f"bestroute/{path}", server


async def test_leaving_a_stream_ends_its_call(endless: tuple[str, FaultServer]) -> None:
    name, server = endless
    stream = await litellm.acompletion(model=name, messages=ASK, stream=True)
    await anext(stream)
    assert server.open == 1
    await stream.aclose()
    assert await asyncio.to_thread(server.all_closed)


def test_leaving_a_sync_stream_ends_its_call(endless: tuple[str, FaultServer]) -> None:
    name, server = endless
    with contextlib.closing(litellm.completion(model=name, messages=ASK, stream=True)) as stream:
        next(stream)
        assert server.open == 1
    assert server.all_closed()


async def test_cancelling_a_call_ends_it(endless: tuple[str, FaultServer]) -> None:
    name, server = endless
    server.script = {"*": hang}
    call = asyncio.create_task(litellm.acompletion(model=name, messages=ASK))
    while not server.requests:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.to_thread(server.all_closed)


async def test_a_litellm_router_balances_over_it(model: str, chat_server: ChatServer) -> None:
    chat_server.reply = agreeing
    router = litellm.Router([{"model_name": "mine", "litellm_params": {"model": model}}])
    response = await router.acompletion(model="mine", messages=ASK, max_n=2)
    assert response._hidden_params["bestroute"]["arm"] == "small:2"
    assert response._hidden_params["response_cost"] == pytest.approx(7 / 1e6)
    chunks = [c async for c in await router.acompletion(model="mine", messages=ASK, stream=True)]
    assert [c.choices[0].delta.content for c in chunks if c.choices][0] == "42"
    assert router.completion(model="mine", messages=ASK).choices[0].message.content == "42"
