"""Messages on their way to the providers and back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from bestroute.errors import RequestError
from langchain_bestroute._messages import from_openai, to_openai


def _call(id_: str, arguments: str | None) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": "add", "arguments": arguments}}


def test_a_conversation_with_tools() -> None:
    messages = [
        SystemMessage("Be brief."),
        HumanMessage("1 + 2?", name="ann"),
        AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "c1"}]),
        ToolMessage("3", tool_call_id="c1"),
        AIMessage("3"),
        ChatMessage(role="developer", content="And now?"),
    ]
    assert to_openai(messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": "1 + 2?"},
        {"role": "assistant", "content": "", "tool_calls": [_call("c1", '{"a": 1, "b": 2}')]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "assistant", "content": "3"},
        {"role": "developer", "content": "And now?"},
    ]


def test_an_answered_call_that_was_no_json_goes_along() -> None:
    invalid = {"name": "add", "args": '{"a":', "id": "c2", "error": "no JSON"}
    message = AIMessage(
        "",
        tool_calls=[{"name": "add", "args": {}, "id": "c1"}],
        invalid_tool_calls=[{"type": "invalid_tool_call", **invalid}],  # type: ignore[typeddict-item]
    )
    assert to_openai([message])[0]["tool_calls"] == [_call("c1", "{}"), _call("c2", '{"a":')]


def test_images_and_audio_of_every_form() -> None:
    blocks: list[str | dict[str, Any]] = [
        "Look",
        {"type": "image", "base64": "QQ==", "mime_type": "image/png"},
        {"type": "image", "url": "http://127.0.0.1/a.png"},
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/b.png", "detail": "low"}},
        {"type": "audio", "base64": "Qg==", "mime_type": "audio/wav"},
    ]
    assert to_openai([HumanMessage(blocks)])[0]["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}},
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/b.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "Qg==", "format": "wav"}},
    ]


def test_text_blocks_become_one_text() -> None:
    assert to_openai([HumanMessage([{"type": "text", "text": "a"}, "b"])]) == [
        {"role": "user", "content": "a\nb"}
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "tool_call", "name": "add", "args": {"a": 1}, "id": "c1"},
        {"type": "tool_use", "name": "add", "input": {"a": 1}, "id": "c1"},
        {"type": "function_call", "name": "add", "arguments": '{"a": 1}', "call_id": "c1"},
    ],
)
def test_blocks_that_only_their_own_model_understands(block: dict[str, Any]) -> None:
    message = AIMessage(
        [block, {"type": "text", "text": "so"}],
        tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c1"}],
    )
    before = copy.deepcopy(message)
    assert to_openai([message]) == [
        {"role": "assistant", "content": "so", "tool_calls": [_call("c1", '{"a": 1}')]}
    ]
    assert message == before


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage([{"type": "video", "base64": "QQ==", "mime_type": "video/mp4"}]),
        HumanMessage([{"type": "image"}]),
        RemoveMessage(id="1"),
    ],
)
def test_what_cannot_be_sent(message: BaseMessage) -> None:
    with pytest.raises(RequestError, match="cannot be sent: .{10}"):
        to_openai([message])


def test_an_answer() -> None:
    message = from_openai({"role": "assistant", "content": "4", "reasoning_content": "2 + 2"})
    assert (message.content, message.tool_calls, message.invalid_tool_calls) == ("4", [], [])
    assert message.additional_kwargs == {"reasoning_content": "2 + 2"}


def test_tool_calls_of_an_answer() -> None:
    calls = [_call("a", '{"x": 1}'), _call("b", '{"x":'), _call("c", "[1]"), _call("d", None)]
    message = from_openai({"role": "assistant", "content": None, "tool_calls": calls})
    assert message.content == ""
    assert [(call["id"], call["name"], call["args"]) for call in message.tool_calls] == [
        ("a", "add", {"x": 1}),
        ("d", "add", {}),
    ]
    assert [(call["id"], call["args"]) for call in message.invalid_tool_calls] == [
        ("b", '{"x":'),
        ("c", "[1]"),
    ]
    assert all(call["error"] for call in message.invalid_tool_calls)


def test_there_and_back() -> None:
    raw = {"role": "assistant", "content": "x", "tool_calls": [_call("a", "{}"), _call("b", "{")]}
    assert to_openai([from_openai(raw)]) == [raw]
