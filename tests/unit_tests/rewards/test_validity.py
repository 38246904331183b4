"""What a request demands of a response."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from pydantic import BaseModel

from bestroute.query import Request
from bestroute.rewards import why_invalid

SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}
JSON_OBJECT = {"response_format": {"type": "json_object"}}
JSON_SCHEMA = {
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
}
TOOLS = {
    "tools": [
        {"type": "function", "function": {"name": "add", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "now"}},
    ]
}
NAMED = {**TOOLS, "tool_choice": {"type": "function", "function": {"name": "add"}}}


class Person(BaseModel):
    age: int


def says(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def calls(name: str, arguments: Any = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    call = {"id": "1", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize(
    ("message", "params"),
    [
        (says("hello"), {}),
        (says([{"type": "text", "text": "hello"}]), {}),
        (says("hello"), {"response_format": {"type": "text"}}),
        (says('{"any": 1}'), JSON_OBJECT),
        (says('{"age": 3}'), JSON_SCHEMA),
        (says('{"age": 3}'), {"response_format": Person}),
        (says("hello"), TOOLS),
        (says("hello"), {**TOOLS, "tool_choice": "auto"}),
        (calls("add", '{"age": 3}'), TOOLS),
        (calls("add", {"age": 3}), TOOLS),
        (calls("now", ""), TOOLS),
        (calls("add", '{"age": 3}'), NAMED),
        (calls("now"), {**TOOLS, "tool_choice": "required"}),
        (calls("add", '{"age": 3}'), {**TOOLS, **JSON_OBJECT}),
    ],
)
def test_valid(message: dict[str, Any], params: dict[str, Any]) -> None:
    assert why_invalid(message, params) is None


@pytest.mark.parametrize(
    ("message", "params", "reason"),
    [
        (says(""), {}, "empty"),
        (says(" \n"), {}, "empty"),
        (says(None), {}, "empty"),
        (says("hello"), JSON_OBJECT, "not JSON"),
        (says('```json\n{"a": 1}\n```'), JSON_OBJECT, "not JSON"),
        (says('{"a": NaN}'), JSON_OBJECT, "not JSON"),
        (says('{"a": 1'), JSON_OBJECT, "not JSON"),
        (says("[" * 100_000), JSON_OBJECT, "not JSON"),
        (says("[1]"), JSON_OBJECT, "not an object"),
        (says('{"age": "three"}'), JSON_SCHEMA, r"type at \$\.age"),
        (says("{}"), JSON_SCHEMA, "required"),
        (says('{"age": "three"}'), {"response_format": Person}, "schema"),
        (calls("add", '{"age": 3}'), {}, "not offered"),
        (calls("fly"), TOOLS, "not offered"),
        (calls("add", "{age: 3}"), TOOLS, "not a JSON object"),
        (calls("add", "[3]"), TOOLS, "not a JSON object"),
        (calls("add", '{"age": "three"}'), TOOLS, "schema"),
        (says("hello"), {**TOOLS, "tool_choice": "required"}, "must"),
        (says("hello"), {**TOOLS, "tool_choice": "any"}, "must"),
        (says("hello"), NAMED, "does not call add"),
        (calls("now"), NAMED, "does not call add"),
        (calls("now"), {**TOOLS, "tool_choice": "none"}, "must not"),
    ],
)
def test_invalid(message: dict[str, Any], params: dict[str, Any], reason: str) -> None:
    found = why_invalid(message, params)
    assert found is not None
    assert re.search(reason, found)
    assert "three" not in found  # reasons go to logs


def test_one_bad_call_among_good_ones_is_found() -> None:
    message = calls("now")
    message["tool_calls"] += calls("fly")["tool_calls"]
    assert "call 1" in (why_invalid(message, TOOLS) or "")


@pytest.mark.parametrize(
    "schema",
    [{"type": "no such type"}, {"$ref": "http://192.0.2.1/schema.json"}, {"$ref": "#/nowhere"}],
)
def test_a_broken_schema_condemns_no_response(schema: dict[str, Any]) -> None:
    params = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    assert why_invalid(says('{"a": 1}'), params) is None
    assert why_invalid(says("no JSON"), params) == "it is not JSON"


@pytest.mark.timeout(10)
def test_a_schema_makes_us_fetch_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        schema = {"$ref": f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"}
        params = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
        assert why_invalid(says('{"a": 1}'), params) is None
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ('{"age": 7}', True),
        ('Here: ```json\n{"age": 7}\n```', True),
        ('He is {"age": "seven"}', False),
        ('{"age": 7', False),
        ("seven}", False),
        ("}{", False),
    ],
)
def test_an_object_within_text(text: str, usable: bool) -> None:
    demands = Request.build("How old?", answer_schema=SCHEMA).demands
    assert (why_invalid(says(text), demands) is None) == usable
