"""Tools and structured output over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_bestroute import ChatBestRoute
from tests.servers import Body, ChatServer, Reply

ASK = "What is six times seven?"


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


class City(BaseModel):
    """A city."""

    name: str
    country: str


def call(name: str, arguments: Any, id_: str = "c1") -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": text}}


def calling(*calls: dict[str, Any]) -> Any:
    """A script: as many messages with these calls as were asked for."""
    return lambda body: Reply([{"tool_calls": list(calls)}] * (body.get("n") or 1))


def multiplying(body: Body) -> Reply:
    """Calls the tool, then reads its result."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return Reply(f"It is {last['content']}")
    reply: Reply = calling(call("multiply", {"a": 6, "b": 7}))(body)
    return reply


@pytest.mark.parametrize("which", ["pool", "one_model"])
def test_a_round_of_tools(
    which: str, request: pytest.FixtureRequest, chat_server: ChatServer
) -> None:
    chat_server.reply = multiplying
    llm = ChatBestRoute(pool=request.getfixturevalue(which)).bind_tools([multiply])
    asked = llm.invoke(ASK)
    assert asked.response_metadata["finish_reason"] == "tool_calls"
    (wanted,) = asked.tool_calls
    answer = llm.invoke([HumanMessage(ASK), asked, multiply.invoke(wanted)])
    assert answer.content == "It is 42"
    sent = chat_server.requests[-1]["messages"]
    assert sent[1]["tool_calls"] == [call("multiply", {"a": 6, "b": 7})]
    assert sent[2] == {"role": "tool", "name": "multiply", "tool_call_id": "c1", "content": "42"}
    assert chat_server.requests[0]["tools"][0]["function"]["name"] == "multiply"


@pytest.mark.parametrize("which", ["pool", "one_model"])
async def test_streamed_tool_calls(
    which: str, request: pytest.FixtureRequest, chat_server: ChatServer
) -> None:
    chat_server.reply = calling(
        call("multiply", {"a": 6, "b": 7}), call("multiply", {"a": 1, "b": 2}, "c2")
    )
    llm = ChatBestRoute(pool=request.getfixturevalue(which)).bind_tools([multiply])
    for chunks in (list(llm.stream(ASK)), [chunk async for chunk in llm.astream(ASK)]):
        assert any(chunk.tool_call_chunks for chunk in chunks)  # type: ignore[union-attr]
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk  # type: ignore[assignment]
        assert isinstance(whole, AIMessageChunk)
        assert [(each["id"], each["args"]) for each in whole.tool_calls] == [
            ("c1", {"a": 6, "b": 7}),
            ("c2", {"a": 1, "b": 2}),
        ]


def test_a_call_that_is_no_json_can_be_answered(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply([{"tool_calls": [call("multiply", '{"a": 6')]}])
    llm = ChatBestRoute(pool=one_model).bind_tools([multiply])
    asked = llm.invoke(ASK)
    assert isinstance(asked, AIMessage)
    assert asked.tool_calls == []
    assert [each["args"] for each in asked.invalid_tool_calls] == ['{"a": 6']
    chat_server.reply = "sorry"
    llm.invoke([HumanMessage(ASK), asked, ToolMessage("no JSON", tool_call_id="c1")])
    assert chat_server.requests[-1]["messages"][1]["tool_calls"] == [call("multiply", '{"a": 6')]


@pytest.mark.parametrize("which", ["pool", "one_model"])
async def test_structured_output(
    which: str, request: pytest.FixtureRequest, chat_server: ChatServer
) -> None:
    paris = {"name": "Paris", "country": "France"}
    chat_server.reply = calling(call("City", paris))
    llm = ChatBestRoute(pool=request.getfixturevalue(which))
    structured = llm.with_structured_output(City)
    assert structured.invoke("The capital of France?") == City(**paris)
    assert await structured.ainvoke("The capital of France?") == City(**paris)
    assert chat_server.requests[0]["tool_choice"] == "required"
    raw = llm.with_structured_output(City, include_raw=True).invoke("The capital of France?")
    assert isinstance(raw, dict)
    assert raw["raw"].response_metadata["bestroute"]["arm"]
