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

from bestroute import ModelPool
from bestroute.errors import RequestError
from bestroute.query import Request
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


def test_a_call_that_nothing_can_answer_is_left_out() -> None:
    nobody = {"type": "invalid_tool_call", "args": "{", "error": None}
    calls = [{**nobody, "name": None, "id": None}, {**nobody, "name": "add", "id": None}]
    message = AIMessage("so", invalid_tool_calls=calls)  # type: ignore[arg-type]
    assert to_openai([message]) == [{"role": "assistant", "content": "so"}]


def test_what_every_model_may_be_told_of_an_assistant() -> None:
    blocks: list[str | dict[str, Any]] = [
        {"type": "text", "text": "so", "citations": [{"cited_text": "x"}]},
        {"type": "refusal", "refusal": "no"},
        {"type": "image", "base64": "QQ==", "mime_type": "image/png"},
    ]
    assert to_openai([AIMessage(blocks)])[0]["content"] == [
        {"type": "text", "text": "so"},
        {"type": "refusal", "refusal": "no"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
    ]


PDF = "data:application/pdf;base64,QQ=="
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}


def _source(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "source": fields}


@pytest.mark.parametrize(
    ("block", "sent", "need"),
    [
        (
            {
                **_source("document", type="base64", media_type="application/pdf", data="QQ=="),
                "title": "a.pdf",
                "cache_control": {"type": "ephemeral"},
            },
            {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
            "documents",
        ),
        (
            _source("document", type="url", url="http://127.0.0.1/a.pdf"),
            {"type": "file", "file": {"file_id": "http://127.0.0.1/a.pdf"}},
            "documents",
        ),
        (
            _source("document", type="file", file_id="f1"),
            {"type": "file", "file": {"file_id": "f1"}},
            "documents",
        ),
        (
            _source("image", type="url", url="http://127.0.0.1/a.png"),
            {"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}},
            "vision",
        ),
        (_source("image", type="base64", media_type="image/png", data="QQ=="), PNG, "vision"),
        ({"type": "media", "mime_type": "image/png", "data": "QQ=="}, PNG, "vision"),
        ({"type": "media", "mime_type": "image/png", "data": b"A"}, PNG, "vision"),
        (
            {"type": "media", "mime_type": "audio/wav", "data": "QQ=="},
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
            "audio",
        ),
        (
            {"type": "media", "mime_type": "application/pdf", "file_uri": "gs://b/a.pdf"},
            {"type": "file", "file": {"file_id": "gs://b/a.pdf", "format": "application/pdf"}},
            "documents",
        ),
        (
            {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"A"}}},
            {"type": "file", "file": {"file_data": PDF, "filename": "a"}},
            "documents",
        ),
        ({"image": {"format": "png", "source": {"bytes": b"A"}}}, PNG, "vision"),
    ],
)
@pytest.mark.parametrize("kind", [HumanMessage, ToolMessage])
def test_documents_and_images_in_the_form_of_a_provider(
    kind: Any, block: dict[str, Any], sent: dict[str, Any], need: str
) -> None:
    fields = {"tool_call_id": "c1"} if kind is ToolMessage else {}
    before = copy.deepcopy(block)
    converted = to_openai([kind([{"type": "text", "text": "Read"}, block], **fields)])
    assert converted[0]["content"] == [{"type": "text", "text": "Read"}, sent]
    assert Request.build(converted).needs == {need}
    assert block == before


@pytest.mark.parametrize(
    "block",
    [
        _source("document", type="text", media_type="text/plain", data="It is so."),
        {"type": "text-plain", "text": "It is so.", "mime_type": "text/plain"},
    ],
)
def test_a_document_of_text_is_text(block: dict[str, Any]) -> None:
    assert to_openai([HumanMessage([block])]) == [{"role": "user", "content": "It is so."}]


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
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {}},
        {"type": "server_tool_result", "tool_call_id": "s1", "status": "success"},
        {"type": "executable_code", "executable_code": "1 + 1", "language": "python"},
        {"type": "non_standard", "value": {"type": "mcp_call"}},
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
        HumanMessage([_source("image", type="file", file_id="f1")]),
        HumanMessage([_source("document", type="content", content=[])]),
        HumanMessage([{"type": "media", "mime_type": "video/mp4", "data": "QQ=="}]),
        HumanMessage([{"type": "media", "mime_type": "image/png"}]),
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


def test_what_an_answer_has_beside_its_text() -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "http://127.0.0.1", "title": "t"}}
    own = {"citations": ["x"], "refusal": None, "reasoning_content": "hm"}
    message = from_openai(
        {
            "role": "assistant",
            "content": "4",
            "annotations": [cited],
            "images": [PNG],
            "reasoning_content": "hm",
            "provider_specific_fields": own,
        }
    )
    assert message.additional_kwargs == {
        "annotations": [cited],
        "images": [PNG],
        "reasoning_content": "hm",
        "provider_specific_fields": {"citations": ["x"]},
    }


# Thoughts

POOL = ModelPool.from_dict({"models": [{"model": "openai/small"}, {"model": "b", "reference": 1}]})
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
THOUGHTS = {"reasoning_content": "hm", "thinking_blocks": [THOUGHT]}


def _thinking(model: str = "b", pool: str = POOL.fingerprint, **fields: Any) -> AIMessage:
    known = {**THOUGHTS, "provider_specific_fields": {"results": [1]}}
    return AIMessage(
        fields.pop("text", ""),
        additional_kwargs={**known, **fields},
        response_metadata={"bestroute": {"model": model, "pool": pool}},
        tool_calls=[{"name": "add", "args": {}, "id": "c1"}],
    )


ASK, RESULT = HumanMessage("1 + 2?"), ToolMessage("3", tool_call_id="c1")


def _thoughts(messages: list[BaseMessage], model: str) -> list[dict[str, Any]]:
    """What a model is sent beside the text and the calls of its messages, where there is any."""
    plain = {"role", "content", "tool_calls", "tool_call_id"}
    sent = Request.build(to_openai(messages, POOL)).messages_for(model)
    beside = [{key: each[key] for key in each.keys() - plain} for each in sent]
    return [each for each in beside if each]


def test_thoughts_of_a_tool_loop_go_back_to_their_model_alone() -> None:
    messages = [ASK, _thinking(), RESULT, _thinking(), RESULT]
    before = copy.deepcopy(messages)
    whole = {**THOUGHTS, "provider_specific_fields": {"results": [1]}}
    assert _thoughts(messages, "b") == [whole, whole]
    assert _thoughts(messages, "openai/small") == []
    assert messages == before


def test_each_model_of_a_loop_has_its_own_thoughts() -> None:
    messages = [ASK, _thinking("openai/small", reasoning_content="small"), RESULT, _thinking()]
    messages.append(RESULT)
    assert [each["reasoning_content"] for each in _thoughts(messages, "b")] == ["hm"]
    assert [each["reasoning_content"] for each in _thoughts(messages, "openai/small")] == ["small"]


def test_a_reminder_does_not_end_the_loop() -> None:
    assert _thoughts([ASK, _thinking(), RESULT, HumanMessage("Be brief.")], "b")


@pytest.mark.parametrize(
    "messages",
    [
        [ASK, _thinking(), RESULT, AIMessage("3", additional_kwargs=THOUGHTS), ASK],
        [ASK, _thinking(pool="another"), RESULT],
        [ASK, _thinking("b", thinking_blocks=None, reasoning_content=None), RESULT],
    ],
)
def test_all_other_thoughts_stay_behind(messages: list[BaseMessage]) -> None:
    assert _thoughts(messages, "b") == []


def test_no_fields_of_a_provider_that_signs_no_thoughts() -> None:
    messages = [ASK, _thinking(thinking_blocks=None), RESULT]
    assert _thoughts(messages, "b") == [{"reasoning_content": "hm"}]
