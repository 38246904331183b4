"""Tools over HTTP: single calls, structured answers, streams, and an agent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from llamaindex_bestroute import BestRouteLLM
from tests.servers import Body, ChatServer, Reply


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = FunctionTool.from_defaults(add)
TWO_CALLS = [("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})]


def _calling(*calls: tuple[str, dict[str, Any]], times: int = 1) -> Reply:
    tool_calls = [
        {
            "id": f"c{index}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for index, (name, arguments) in enumerate(calls)
    ]
    return Reply([{"tool_calls": tool_calls}] * times)


def test_one_tool_call(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _calling(("add", {"a": 1, "b": 2}), times=3)
    llm = BestRouteLLM(pool)
    response = llm.chat_with_tools([ADD], "1 + 2?", tool_required=True)
    [call] = llm.get_tool_calls_from_response(response)
    assert (call.tool_id, call.tool_name, call.tool_kwargs) == ("c0", "add", {"a": 1, "b": 2})
    [body] = chat_server.requests
    assert body["n"] == 3
    assert body["tool_choice"] == "required"
    assert body["tools"][0]["function"]["name"] == "add"
    assert "allow_parallel_tool_calls" not in body


async def test_the_tool_is_called(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _calling(("add", {"a": 1, "b": 2}))
    llm = BestRouteLLM(one_model)
    assert llm.predict_and_call([ADD], "1 + 2?").response == "3"
    assert (await llm.apredict_and_call([ADD], "1 + 2?")).response == "3"


@pytest.mark.parametrize("parallel", [True, False])
async def test_several_tool_calls_only_if_allowed(
    parallel: bool, one_model: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = _calling(*TWO_CALLS)
    llm = BestRouteLLM(one_model)
    options: dict[str, Any] = {"allow_parallel_tool_calls": parallel}
    whole = llm.chat_with_tools([ADD], "?", **options)
    awaited = await llm.achat_with_tools([ADD], "?", **options)
    *_, streamed = llm.stream_chat_with_tools([ADD], "?", **options)
    astream = await llm.astream_chat_with_tools([ADD], "?", **options)
    *_, astreamed = [piece async for piece in astream]
    for response in (whole, awaited, streamed, astreamed):
        calls = llm.get_tool_calls_from_response(response)
        given = [(call.tool_name, call.tool_kwargs) for call in calls]
        assert given == (TWO_CALLS if parallel else TWO_CALLS[:1])


def test_streamed_tool_calls_come_whole(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _calling(*TWO_CALLS)
    llm = BestRouteLLM(one_model)
    pieces = list(llm.stream_chat_with_tools([ADD], "?", allow_parallel_tool_calls=True))
    counts = [len(llm.get_tool_calls_from_response(piece, False)) for piece in pieces]
    assert set(counts) == {2}
    assert pieces[-1].raw["finish_reason"] == "tool_calls"


class Person(BaseModel):
    """Somebody."""

    name: str
    born: int


def test_a_structured_answer(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _calling(("Person", {"name": "Ada", "born": 1815}))
    llm = BestRouteLLM(one_model)
    prompt = PromptTemplate("Who is {who}?")
    assert llm.structured_predict(Person, prompt, who="Ada") == Person(name="Ada", born=1815)
    [body] = chat_server.requests
    assert body["tool_choice"] == "required"


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_with_one_tool(streaming: bool, pool: Any, chat_server: ChatServer) -> None:
    def reply(body: Body) -> Reply:
        n = body.get("n") or 1
        if body["messages"][-1]["role"] == "tool":
            return Reply([f"It is {body['messages'][-1]['content']}"] * n)
        return _calling(("add", {"a": 20, "b": 22}), times=n)

    chat_server.reply = reply
    agent = FunctionAgent(
        tools=[ADD], llm=BestRouteLLM(pool), system_prompt="Use the tool.", streaming=streaming
    )
    output = await agent.run("What is 20 + 22?")
    assert str(output) == "It is 42"
    assert output.raw["bestroute"]["arm"] == "openai/small:3"
    roles = [message["role"] for message in chat_server.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    [call] = chat_server.requests[-1]["messages"][2]["tool_calls"]
    assert chat_server.requests[-1]["messages"][3]["tool_call_id"] == call["id"] == "c0"


def test_the_history_stays_the_callers(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _calling(("add", {"a": 1, "b": 2}))
    history = [ChatMessage("Hello"), ChatMessage("Hi", role="assistant")]
    before = [message.model_copy(deep=True) for message in history]
    BestRouteLLM(one_model).chat_with_tools([ADD], "1 + 2?", chat_history=history)
    assert history == before
