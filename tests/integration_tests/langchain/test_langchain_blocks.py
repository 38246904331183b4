"""Content blocks: thoughts, text and tool calls, whole and streamed, in both output versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.tools import tool
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

from langchain_bestroute import ChatBestRoute
from tests.faithful_model import FaithfulModel
from tests.servers import ChatServer, Message, Reply

THINK = "Think step by step: what is six times seven?"
CALL = "multiply 6 and 7"
THOUGHT = {"type": "reasoning", "reasoning": "First this, then that."}
ANSWER = {"type": "text", "text": f"This is the answer to: {THINK}"}


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@pytest.fixture(params=["pool", "one_model"])
def llm(request: pytest.FixtureRequest, chat_server: ChatServer) -> ChatBestRoute:
    """One of three samples, which comes in one piece; or a single one, which streams."""
    chat_server.reply = FaithfulModel()
    return ChatBestRoute(pool=request.getfixturevalue(request.param))


def merged(chunks: list[Any]) -> Any:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def blocks(message: Any) -> list[dict[str, Any]]:
    """Without what differs from run to run."""
    return [{k: v for k, v in block.items() if k != "index"} for block in message.content_blocks]


async def by_every_door(runnable: Any, ask: str) -> list[Any]:
    return [
        runnable.invoke(ask),
        await runnable.ainvoke(ask),
        merged(list(runnable.stream(ask))),
        merged([chunk async for chunk in runnable.astream(ask)]),
    ]


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("tools", [False, True])
async def test_thoughts_come_before_the_text(
    version: str | None, tools: bool, llm: ChatBestRoute
) -> None:
    llm = llm.model_copy(update={"output_version": version})
    for message in await by_every_door(llm.bind_tools([multiply]) if tools else llm, THINK):
        assert blocks(message) == [THOUGHT, ANSWER]
        assert message.text == ANSWER["text"]
        assert isinstance(message.content, list if version else str)
        assert message.usage_metadata["output_token_details"]["reasoning"] >= 4


@pytest.mark.parametrize("version", [None, "v1"])
async def test_tool_calls(version: str | None, llm: ChatBestRoute) -> None:
    llm = llm.model_copy(update={"output_version": version})
    for message in await by_every_door(llm.bind_tools([multiply]), CALL):
        (block,) = blocks(message)
        assert (block["type"], block["name"], block["args"]) == (
            "tool_call",
            "multiply",
            {"a": 6, "b": 7},
        )
        assert block["id"] == message.tool_calls[0]["id"]
        assert isinstance(message.content, list if version else str)


@pytest.mark.parametrize("ask", [THINK, CALL])
async def test_events_of_the_new_kind(ask: str, llm: ChatBestRoute) -> None:
    bound: Any = llm.bind_tools([multiply])
    stream = bound.stream_events(ask, version="v3")
    astream = await bound.astream_events(ask, version="v3")
    events, aevents = list(stream), [event async for event in astream]
    expected = blocks(llm.bind_tools([multiply]).invoke(ask))
    for seen, message in ((events, stream.output), (aevents, await astream.output)):
        assert_valid_event_stream(seen)
        assert blocks(message) == expected
        assert message.usage_metadata["total_tokens"] > 0


async def test_thoughts_stream_as_they_come(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = FaithfulModel()
    chunks = list(ChatBestRoute(pool=one_model).stream(THINK))
    kinds = [block["type"] for chunk in chunks for block in chunk.content_blocks]
    assert kinds[0] == "reasoning"
    assert kinds.count("text") > 5


async def test_thoughts_of_a_broken_call_do_not_show(
    one_model: Any, chat_server: ChatServer
) -> None:
    def thinking(name: str, arguments: Any) -> Message:
        function = {"name": "multiply", "arguments": json.dumps(arguments)}
        calls = [{"id": name, "type": "function", "function": function}]
        return {"reasoning_content": f"says {name}", "tool_calls": calls}

    models = one_model["models"]
    models.insert(0, {**models[0], "model": "openai/small", "reference": False})
    models[0]["price"] = {"input": 0.1, "output": 0.1}
    chat_server.reply = lambda body: Reply(
        [thinking(body["model"], {"a": 6} if body["model"] == "big" else {"a": 6, "b": 7})]
    )
    llm = ChatBestRoute(pool=one_model).bind_tools([multiply])
    for message in await by_every_door(llm, CALL):
        assert blocks(message)[0] == {"type": "reasoning", "reasoning": "says small"}
        assert message.tool_calls[0]["args"] == {"a": 6, "b": 7}


async def test_a_conversation_goes_on_with_either_version(llm: ChatBestRoute) -> None:
    for version in (None, "v1"):
        bound = llm.model_copy(update={"output_version": version}).bind_tools([multiply])
        asked = bound.invoke(CALL)
        answered = bound.invoke([("human", CALL), asked, multiply.invoke(asked.tool_calls[0])])
        assert answered.text == "This is the answer to: 42"
        again = bound.invoke([("human", THINK), bound.invoke(THINK), ("human", "Thanks")])
        assert again.text == "This is the answer to: Thanks"


CITED = {"type": "url_citation", "url_citation": {"url": "http://127.0.0.1/a", "title": "A"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}


@pytest.mark.parametrize("samples", [1, 2])
async def test_citations_and_images_of_the_winner(
    samples: int, one_model: Any, chat_server: ChatServer
) -> None:
    one_model["models"][0] |= {"max_samples": samples, "native_n": True}
    answer = {"content": "So.", "annotations": [CITED], "images": [IMAGE]}
    chat_server.reply = lambda body: Reply([answer] * (body.get("n") or 1))
    for message in await by_every_door(ChatBestRoute(pool=one_model), THINK):
        assert message.text == "So."
        assert message.additional_kwargs["annotations"] == [CITED]
        (image,) = message.additional_kwargs["images"]
        assert image["image_url"] == IMAGE["image_url"]


def test_an_image_is_an_answer(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply([{"content": None, "images": [IMAGE]}])
    message = ChatBestRoute(pool=one_model).invoke("Draw")
    assert message.additional_kwargs["images"][0]["image_url"] == IMAGE["image_url"]
    assert message.response_metadata["bestroute"]["degraded"] == []
