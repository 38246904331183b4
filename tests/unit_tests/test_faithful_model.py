"""The tests' own server: that it refuses what OpenAI would, and answers what it is asked for."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.faithful_model import FaithfulModel
from tests.openai_rules import Body, why_refused
from tests.servers import Reply

HI = {"role": "user", "content": "Hello"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
CLOSED = {**SCHEMA, "additionalProperties": False}
CALL = {"id": "c1", "type": "function", "function": {"name": "person", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "42"}
PNG = "data:image/png;base64,iVBORw0KGgo="


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "person", "parameters": SCHEMA, **function}}


def format_(**fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, **fields}}


def image(url: str) -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return {"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}


def body(*messages: Any, **params: Any) -> Body:
    return {"model": "big", "messages": list(messages or (HI,)), **params}


@pytest.mark.parametrize(
    "asked",
    [
        body(),
        body(HI, CALLING, RESULT, tools=[tool()]),
        body(HI, CALLING, RESULT, HI, n=3, stop=["a", "b"], seed=1),
        body(image(PNG)),
        body(image("https://example.com/a.png")),
        body(tools=[tool(strict=True, parameters=CLOSED)], tool_choice="required"),
        body(response_format=format_(strict=True, schema=CLOSED)),
        body({**HI, "content": "Answer in JSON"}, response_format={"type": "json_object"}),
        body(stream=True, stream_options={"include_usage": True}),
    ],
)
def test_what_is_in_order(asked: Body) -> None:
    assert why_refused(asked) is None


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (body(answer_schema=SCHEMA), "Unknown parameter"),
        (body(n=0), "n must be"),
        (body(temperature=3), "temperature"),
        (body(stream_options={"include_usage": True}), "only allowed when streaming"),
        (body(stop=list("abcde")), "stop"),
        ({"model": "big", "messages": []}, "too short"),
        (body({"role": "human", "content": "Hello"}), "unknown role"),
        (body({**HI, "reasoning_content": "hm"}), "unexpected field"),
        (body({**HI, "name": "a b"}), "name has"),
        (body({"role": "assistant", "content": None}), "content is missing"),
        (body({"role": "user", "content": []}), "too short"),
        (body({"role": "assistant", "content": "a", "tool_calls": []}), "too short"),
        (body({"role": "user", "content": [{"type": "tool_use"}]}), "not supported for role user"),
        (body(image("data:image/png;base64,aGVsbG8=")), "are no image/png"),
        (body(image("http://127.0.0.1/a.png")), "https"),
        (body(HI, RESULT), "must answer a preceding tool call"),
        (body(HI, CALLING), "were not answered"),
        (body(HI, CALLING, HI), "were not answered"),
        (body(HI, {**CALLING, "tool_calls": [{**CALL, "index": 0}]}, RESULT), "a tool call has"),
        (body(tools=[]), "too short"),
        (body(tool_choice="auto"), "without tools"),
        (body(tools=[tool(name="a b")]), "no name"),
        (body(tools=[tool(parameters={"type": "text"})]), "type object"),
        (body(tools=[tool(strict=True)]), "additionalProperties"),
        (body(tools=[tool(strict=True, parameters={**CLOSED, "required": []})]), "every property"),
        (body(tools=[{**tool(), "cache_control": {}}]), "a tool with fields"),
        (body(tools=[tool()], tool_choice="any"), "none of the tools"),
        (body(response_format={"type": "json_object"}), "the word 'json'"),
        (body(response_format={"type": "json_object", "response_schema": {}}), "with fields"),
        (body(response_format=format_(strict=True)), "additionalProperties"),
    ],
)
def test_what_is_refused(asked: Body, why: str) -> None:
    model = FaithfulModel()
    reply = model(asked)
    assert reply.status == 400
    assert why in str(reply.content)
    assert model.refused == [reply.content]


def message(reply: Reply) -> dict[str, Any]:
    first: Any = reply.content[0]
    assert isinstance(first, dict)
    return first


def test_calls_follow_the_schema_and_the_question() -> None:
    ask = {"role": "user", "content": "Who is 'Ann', at 42?"}
    reply = FaithfulModel()(body(ask, tools=[tool()], tool_choice="required", n=2))
    assert len(reply.content) == 2
    (call,) = message(reply)["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"name": "Ann", "age": 42}


def test_an_answer_in_a_format() -> None:
    nested = {
        "type": "object",
        "$defs": {"kind": {"enum": ["a", "b"]}},
        "properties": {
            "kinds": {"type": "array", "items": {"$ref": "#/$defs/kind"}},
            "one": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "yes": {"type": "boolean"},
        },
        "required": ["kinds", "one", "yes"],
    }
    reply = FaithfulModel()(body(response_format=format_(schema=nested)))
    jsonschema.validate(json.loads(message(reply)["content"]), nested)


def test_it_stops_where_it_is_told() -> None:
    for params, reason in (({"stop": ["answer"]}, None), ({"max_tokens": 3}, "length")):
        reply = FaithfulModel()(body(**params))
        assert message(reply)["content"].strip() == "This is the"
        assert reply.finish_reason == reason


def test_a_long_prompt_is_kept() -> None:
    model, long = FaithfulModel(), body({**HI, "content": "word " * 2000})
    cached = []
    for _ in range(2):
        usage = model(long).usage
        assert usage is not None
        cached.append(usage["prompt_tokens_details"]["cached_tokens"])
    assert cached == [0, 2000]
