"""A protocol-faithful model for `ChatServer`: OpenAI's rules to the letter, answers made up.

It is no language model. It does what a request's parameters demand (tools and tool_choice,
response_format, stop, max_tokens, n), takes numbers, quoted words and names out of the question,
and refuses what OpenAI would refuse: so a suite that runs against it tests our messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.openai_rules import Body, why_refused
from tests.servers import Message, Reply

_CACHED_FROM = 1024
"""Tokens from which on OpenAI keeps a prompt; here a word is a token."""


class FaithfulModel:
    """The script of a `ChatServer`.

    Attributes:
        refused: Why requests were refused.
    """

    def __init__(self) -> None:
        self.refused: list[str] = []
        self._prompts: list[list[str]] = []

    def __call__(self, body: Body) -> Reply:
        """Answer, or refuse."""
        if fault := why_refused(body):
            self.refused.append(fault)
            return Reply(fault, status=400)
        count = body.get("n") or 1
        messages = [_message(body, f"call_{len(body['messages'])}_{i}") for i in range(count)]
        cut = any(message.pop("cut", False) for message in messages)
        usage = self._usage(body, messages)
        return Reply(messages, usage=usage, finish_reason="length" if cut else None)

    def _usage(self, body: Body, messages: Sequence[Message]) -> dict[str, Any]:
        prompt = " ".join(_text(message) for message in body["messages"]).split()
        cached = max((_common(prompt, seen) for seen in self._prompts), default=0)
        self._prompts.append(prompt)
        thought = sum(len(message.get("reasoning_content", "").split()) for message in messages)
        said = sum(len((message["content"] or "").split()) for message in messages)
        called = sum(len(message.get("tool_calls", ())) for message in messages)
        completion = thought + said + called
        return {
            "prompt_tokens": len(prompt),
            "completion_tokens": completion,
            "total_tokens": len(prompt) + completion,
            "prompt_tokens_details": {"cached_tokens": cached if cached >= _CACHED_FROM else 0},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the common prefix."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _message(body: Body, id_: str) -> Message:
    """One assistant message."""
    question = _question(body["messages"])
    if functions := list(_called(body, question)):
        calls = [
            {"id": f"{id_}_{i}", "type": "function", "function": _call(function, question)}
            for i, function in enumerate(functions)
        ]
        return {"content": None, "tool_calls": calls}
    return {**_limited(_answer(body, question), body), **_thoughts(body, question)}


def _called(body: Body, question: str) -> Iterator[Mapping[str, Any]]:
    """The functions to call: the one named, those that the question is about, or the first."""
    functions = [tool["function"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, Mapping):
        yield next(each for each in functions if each["name"] == choice["function"]["name"])
        return
    if choice == "none" or (choice == "auto" and body["messages"][-1]["role"] == "tool"):
        return
    words = set(re.findall(r"[a-z]{4,}", question.lower()))
    apt = [each for each in functions if words & set(each["name"].lower().split("_"))]
    wanted = apt or (functions[:1] if choice == "required" else [])
    yield from wanted if body.get("parallel_tool_calls", True) else wanted[:1]


def _call(function: Mapping[str, Any], question: str) -> dict[str, str]:
    arguments = _instance(function.get("parameters") or {}, question)
    return {"name": function["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}


def _answer(body: Body, question: str) -> str:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(_instance(wanted["json_schema"].get("schema") or {}, question))
    if wanted.get("type") == "json_object":  # the keys that the question quotes
        return json.dumps({key: f"some {key}" for key in re.findall(r"'(\w+)'", question)})
    parts = [part["type"] for m in body["messages"] for part in _parts(m) if part["type"] != "text"]
    seen = f" with {' and '.join(parts)}" if parts else ""
    return f"This is the answer{seen} to: {_text(body['messages'][-1]) or question}"


def _thoughts(body: Body, question: str) -> Message:
    if "step by step" in question and not body.get("response_format"):
        return {"reasoning_content": "First this, then that."}
    return {}


def _limited(text: str, body: Body) -> Message:
    """The text up to a stop sequence, and no longer than asked for."""
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0]
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    words = text.split(" ")
    cut = most is not None and len(words) > most
    return {"content": " ".join(words[:most]) if cut else text, "cut": cut}


def _instance(schema: Mapping[str, Any], question: str) -> Any:
    """Something that the schema allows, with what the question offers."""
    numbers = iter(re.findall(r"\d+", question))
    quoted = iter(re.findall(r"'([^']+)'", question))
    definitions = schema.get("$defs") or schema.get("definitions") or {}

    def build(schema: Mapping[str, Any], name: str) -> Any:
        if "$ref" in schema:
            return build(definitions[schema["$ref"].rsplit("/", 1)[-1]], name)
        if options := [
            *schema.get("anyOf", ()),
            *schema.get("oneOf", ()),
            *schema.get("allOf", ()),
        ]:
            return build(options[0], name)
        if values := [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]:
            return values[0]
        kinds = schema.get("type", "string")
        return by_kind[kinds[0] if isinstance(kinds, list) else kinds](schema, name)

    def members(schema: Mapping[str, Any], _: str) -> dict[str, Any]:
        return {key: build(each, key) for key, each in schema.get("properties", {}).items()}

    def items(schema: Mapping[str, Any], name: str) -> list[Any]:
        return [build(schema.get("items") or {}, name)] * max(1, schema.get("minItems", 1))

    by_kind: dict[str, Callable[[Mapping[str, Any], str], Any]] = {
        "object": members,
        "array": items,
        "integer": lambda schema, name: int(next(numbers, 1)),
        "number": lambda schema, name: float(next(numbers, 1)),
        "boolean": lambda schema, name: True,
        "null": lambda schema, name: None,
        "string": lambda schema, name: next(quoted, f"some {name}"),
    }

    return build(schema, "")


def _question(messages: Sequence[Message]) -> str:
    return next((_text(each) for each in reversed(messages) if each["role"] == "user"), "")


def _parts(message: Message) -> list[Message]:
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(message: Message) -> str:
    return " ".join(part["text"] for part in _parts(message) if part["type"] == "text")
