"""Of n samples only those that the request can use are selected from; if none, others answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.exceptions import ModelRefusalError
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from bestroute import BestRoute, ModelPool
from bestroute.policy import FixedArm
from langchain_bestroute import ChatBestRoute
from tests.servers import Body, ChatServer, Message, Reply

ASK = "Give me a city, in JSON."
GOOD, BEST = {"name": "Paris", "country": "France"}, {"name": "Rome", "country": "Italy"}
METHODS = ["function_calling", "json_schema", "json_mode"]


class City(BaseModel):
    """A city."""

    name: str
    country: str


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@pytest.fixture
def llm(pool: Any) -> ChatBestRoute:
    """Always three samples of the small model, as long as one is valid."""
    return ChatBestRoute(
        engine=BestRoute(ModelPool.from_dict(pool), policy=FixedArm("openai/small:3"))
    )


def call(arguments: Any, name: str = "City") -> Message:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": name, "arguments": text}
    return {"tool_calls": [{"id": "c1", "type": "function", "function": function}]}


def said(data: Any) -> Message:
    return {"content": data if isinstance(data, str) else json.dumps(data)}


def script(small: list[Message], big: Message) -> Callable[[Body], Reply]:
    return lambda body: Reply(small if body["model"] == "small" else [big])


async def by_every_door(runnable: Any) -> list[Any]:
    """What invoke, ainvoke, stream and astream give at last."""
    streamed = list(runnable.stream(ASK))
    astreamed = [each async for each in runnable.astream(ASK)]
    return [runnable.invoke(ASK), await runnable.ainvoke(ASK), streamed[-1], astreamed[-1]]


FORMS = {"function_calling": call, "json_schema": said, "json_mode": said}


@pytest.mark.parametrize("method", METHODS)
async def test_the_valid_one_of_three_is_given(
    method: Any, llm: ChatBestRoute, chat_server: ChatServer
) -> None:
    form = FORMS[method]
    broken = form({"name": "Paris"})  # left alone, two equal samples would win over one
    chat_server.reply = script([broken, form(GOOD), broken], form(BEST))
    for answer in await by_every_door(llm.with_structured_output(City, method=method)):
        assert answer == City(**GOOD)
    assert {body["model"] for body in chat_server.requests} == {"small"}


@pytest.mark.parametrize("method", METHODS)
async def test_without_a_valid_one_the_reference_is_asked(
    method: Any, llm: ChatBestRoute, chat_server: ChatServer
) -> None:
    form = FORMS[method]
    chat_server.reply = script([form('{"name": 7'), form('["x"]'), form("")], form(BEST))
    structured = llm.with_structured_output(City, method=method)
    for answer in await by_every_door(structured):
        assert answer == City(**BEST)
    raw = llm.with_structured_output(City, method=method, include_raw=True).invoke(ASK)["raw"]
    said_of_it = raw.response_metadata["bestroute"]
    assert raw.response_metadata["model_name"] == "openai/big"
    assert set(said_of_it["usage_by_model"]) == {"openai/small", "openai/big"}  # all is billed
    assert any("is invalid" in reason for reason in said_of_it["degraded"])


async def test_when_the_reference_is_invalid_too(
    llm: ChatBestRoute, chat_server: ChatServer
) -> None:
    chat_server.reply = script([call({"name": 7})] * 3, call({"country": "France"}))
    structured = llm.with_structured_output(City, include_raw=True)
    for answer in (structured.invoke(ASK), await structured.ainvoke(ASK)):
        assert answer["parsed"] is None
        assert "name" in str(answer["parsing_error"])
        assert answer["raw"].tool_calls[0]["args"] == {"country": "France"}  # paid for, so kept


@pytest.mark.parametrize("method", METHODS)
async def test_refusals(method: Any, llm: ChatBestRoute, chat_server: ChatServer) -> None:
    refusal = {"content": None, "refusal": "I will not say."}
    structured = llm.with_structured_output(City, method=method)
    chat_server.reply = script([refusal] * 3, FORMS[method](BEST))
    assert structured.invoke(ASK) == await structured.ainvoke(ASK) == City(**BEST)
    chat_server.reply = script([refusal] * 3, refusal)
    with pytest.raises(ModelRefusalError, match="I will not say"):
        structured.invoke(ASK)
    message = await llm.ainvoke(ASK)
    assert message.content_blocks == [{"type": "refusal", "refusal": "I will not say."}]
    assert [body["model"] for body in chat_server.requests[-2:]] == ["small", "big"]  # no top-up


INVALID = {
    "a tool that nobody offered": call({"a": 6, "b": 7}, "add"),
    "no JSON": call('{"a": 6', "multiply"),
    "a list": call("[6, 7]", "multiply"),
    "a wrong type": call({"a": "six", "b": 7}, "multiply"),
    "one missing": call({"a": 6}, "multiply"),
}


@pytest.mark.parametrize("why", INVALID)
async def test_invalid_tool_calls(why: str, llm: ChatBestRoute, chat_server: ChatServer) -> None:
    right = call({"a": 6, "b": 7}, "multiply")
    bound = llm.bind_tools([multiply])
    for small, model in (
        ([INVALID[why], right, INVALID[why]], "small"),
        ([INVALID[why]] * 3, "big"),
    ):
        chat_server.reply = script(small, right)
        for message in (bound.invoke(ASK), await bound.ainvoke(ASK)):
            assert isinstance(message, AIMessage)
            assert message.tool_calls[0]["args"] == {"a": 6, "b": 7}
            assert not message.invalid_tool_calls
            assert message.response_metadata["model_name"] == f"openai/{model}"


@pytest.mark.parametrize(
    ("choice", "sent", "broken"),
    [
        ("any", "required", said("six times seven is 42")),
        ("required", "required", said("six times seven is 42")),
        (True, "required", said("six times seven is 42")),
        ("multiply", {"type": "function", "function": {"name": "multiply"}}, said("42")),
        ("none", "none", call({"a": 6, "b": 7}, "multiply")),
        ({"type": "function", "function": {"name": "multiply"}}, ..., said("42")),
    ],
)
def test_tool_choice_is_sent_and_kept(
    choice: Any, sent: Any, broken: Message, llm: ChatBestRoute, chat_server: ChatServer
) -> None:
    right = said("It is 42") if choice == "none" else call({"a": 6, "b": 7}, "multiply")
    chat_server.reply = script([broken, right, broken], said("never asked"))
    message = llm.bind_tools([multiply], tool_choice=choice).invoke(ASK)
    assert message.response_metadata["model_name"] == "openai/small"
    assert bool(message.tool_calls) == (choice != "none")
    (body,) = chat_server.requests
    assert body["tool_choice"] == (choice if sent is ... else sent)


@pytest.mark.parametrize("choice", ["auto", None, False])
def test_left_to_the_model(choice: Any, llm: ChatBestRoute, chat_server: ChatServer) -> None:
    chat_server.reply = script([said("Hello")] * 3, said("never asked"))
    assert llm.bind_tools([multiply], tool_choice=choice).invoke(ASK).content == "Hello"
    (body,) = chat_server.requests
    assert body.get("tool_choice") == (choice or None)


def test_no_tools_at_all(llm: ChatBestRoute, chat_server: ChatServer) -> None:
    llm.bind_tools([], tool_choice="auto").invoke(ASK)
    assert not {"tools", "tool_choice"} & set(chat_server.requests[0])


@pytest.mark.parametrize("parallel", [True, False, None])
def test_parallel_tool_calls(
    parallel: bool | None, llm: ChatBestRoute, chat_server: ChatServer
) -> None:
    one, other = (call({"a": a, "b": 7}, "multiply")["tool_calls"][0] for a in (6, 8))
    chat_server.reply = script([{"tool_calls": [one, {**other, "id": "c2"}]}] * 3, said(""))
    bound = llm.bind_tools([multiply], parallel_tool_calls=parallel)
    assert [each["args"]["a"] for each in bound.invoke(ASK).tool_calls] == [6, 8]
    (body,) = chat_server.requests
    assert body.get("parallel_tool_calls") is parallel
