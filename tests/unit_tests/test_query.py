"""Requests: what is refused, what the router reads, what a model must be able to do."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bestroute.errors import RequestError
from bestroute.query import Request

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "",
        "  \n",
        [user("")],
        [user(None)],
        [user([])],
        [user([{"type": "text", "text": " "}])],
        [{"role": "robot", "content": "hi"}],
        [{"content": "hi"}],
        None,
        7,
        ["hi"],
        {"role": "user", "content": "hi"},
    ],
)
def test_messages_that_say_nothing_are_refused(messages: Any) -> None:
    with pytest.raises(RequestError):
        Request.build(messages)


@pytest.mark.parametrize("name", ["n", "model", "stream", "messages", "caching"])
def test_what_the_router_decides_is_no_parameter(name: str) -> None:
    with pytest.raises(RequestError, match=name):
        Request.build("hi", {name: 2})


def test_n_of_one_and_absent_values_say_nothing() -> None:
    assert Request.build("hi", {"n": 1}).params == {"n": 1}
    assert Request.build("hi", {"tools": None, "stop": None}).params == {}


@pytest.mark.parametrize(
    "messages",
    [[user([IMAGE])], [{"role": "assistant", "tool_calls": [{"id": "1"}]}]],
)
def test_an_image_or_a_tool_call_alone_says_something(messages: Any) -> None:
    Request.build(messages)


def test_the_caller_s_messages_are_not_changed() -> None:
    messages = [user([{"type": "text", "text": "hi"}])]
    before = copy.deepcopy(messages)
    request = Request.build(messages)
    request.messages[0]["content"] = "other"
    assert messages == before


def test_the_query_is_the_last_user_turn() -> None:
    chat = [user("first"), {"role": "assistant", "content": "a"}, user("second"), user([IMAGE])]
    request = Request.build([{"role": "system", "content": "be brief"}, *chat])
    assert request.query == "second"
    assert request.prompt.split("\n") == ["be brief", "first", "a", "second", ""]


def test_the_query_is_all_text_without_a_user_turn_and_the_caller_s_word_wins() -> None:
    system = [{"role": "system", "content": "say hello"}]
    assert Request.build(system).query == "say hello"
    assert Request.build(system, query_text="hello?").query == "hello?"


def test_tools_and_tool_calls_are_billed_as_prompt() -> None:
    call = {"id": "1", "function": {"name": "find", "arguments": '{"q": "moon"}'}}
    chat = [user("hi"), {"role": "assistant", "content": None, "tool_calls": [call]}]
    prompt = Request.build(chat, {"tools": [TOOL]}).prompt
    assert "moon" in prompt and '"parameters"' in prompt


@pytest.mark.parametrize(
    ("content", "params", "needs"),
    [
        ("hi", {}, set()),
        ([IMAGE], {}, {"vision"}),
        ([{"type": "text", "text": "?"}, AUDIO], {}, {"audio"}),
        (
            [{"type": "video_url", "video_url": {"url": "data:video/mp4,A"}}],
            {},
            {"video"},
        ),
        ([{"type": "file", "file": {"file_id": "f1"}}], {}, {"documents"}),
        ([{"type": "file", "file": {"file_data": "data:application/pdf,A"}}], {}, {"documents"}),
        ([{"type": "file", "file": {"file_data": "data:video/mp4,A"}}], {}, {"video"}),
        ([{"type": "file", "file": {"file_id": "f1", "format": "audio/wav"}}], {}, {"audio"}),
        ("hi", {"tools": [TOOL]}, {"tools"}),
        ("hi", {"tools": []}, set()),
        ("hi", {"response_format": {"type": "json_object"}}, {"response_format"}),
        ("hi", {"response_format": {"type": "text"}}, set()),
        ("hi", {"response_format": Request}, {"response_format"}),
    ],
)
def test_needs_of_a_request(content: Any, params: dict[str, Any], needs: set[str]) -> None:
    assert Request.build([user(content)], params).needs == needs


CHAT = [user("Who was Ada?"), {"role": "assistant", "content": "A mathematician."}, user("When?")]
STUFFED = "Use the context.\nContext: Ada was born in 1815.\nQuestion: When was she born?\nAnswer:"


@pytest.mark.parametrize(
    ("turns", "read"), [(1, "When?"), (2, "Who was Ada?\nWhen?"), (9, "Who was Ada?\nWhen?")]
)
def test_the_router_may_read_several_turns(turns: int, read: str) -> None:
    assert Request.build(CHAT, query_turns=turns).query == read


@pytest.mark.parametrize(
    ("pattern", "read"),
    [
        ("Question: (.*)", "When was she born?"),
        ("(?s)Question: .*", "Question: When was she born?\nAnswer:"),
        ("Frage: (.*)", STUFFED),
        ("Question:( *)When", " "),
        ("(Nobody)?", STUFFED),
    ],
)
def test_a_pattern_finds_the_question_in_a_stuffed_prompt(pattern: str, read: str) -> None:
    request = Request.build(STUFFED, query_pattern=pattern)
    assert request.query == read
    assert request.prompt == STUFFED  # which is billed all the same


@pytest.mark.parametrize(
    ("reading", "message"),
    [({"query_turns": 0}, "query_turns: "), ({"query_pattern": "("}, "query_pattern: ")],
)
def test_what_cannot_be_read_by_is_named(reading: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Request.build("hi", **reading)


def test_thoughts_that_tell_who_had_them_go_to_no_one_else() -> None:
    said = {"role": "assistant", "content": "4", "reasoning_content": "2 + 2"}
    ask = {"role": "user", "content": "Sure?"}
    signed = Request.build([{**said, "thinking_blocks": [{}], "made_by": "big"}, ask])
    assert signed.messages_for("big") == [{**said, "thinking_blocks": [{}]}, ask]
    assert signed.messages_for("small") == [{"role": "assistant", "content": "4"}, ask]
    assert Request.build([said, ask]).messages_for("small") == [said, ask]
