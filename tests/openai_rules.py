"""What OpenAI's chat completions API refuses with status 400, as far as our requests could err."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema

Body = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_AUTHOR = re.compile(r"[^\s<|\\/>]{1,64}")
_FIELDS = {
    "system": {"content"},
    "developer": {"content"},
    "user": {"content"},
    "assistant": {"content", "tool_calls", "refusal"},
    "tool": {"content", "tool_call_id"},
}
_PARTS = {
    "system": {"text"},
    "developer": {"text"},
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "tool": {"text"},
}
_MAGIC = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "application/pdf": b"%PDF"}
_PARAMS = set(
    "model messages n stream stream_options temperature top_p max_tokens max_completion_tokens "
    "stop seed tools tool_choice parallel_tool_calls response_format user metadata logprobs "
    "top_logprobs presence_penalty frequency_penalty logit_bias reasoning_effort".split()
)


def why_refused(body: Body) -> str | None:
    """The first rule that a request breaks; `None` when OpenAI would answer it."""
    return next(_faults(body), None)


def _faults(body: Body) -> Iterator[str]:
    yield from (f"Unknown parameter: {name}" for name in sorted(set(body) - _PARAMS))
    yield from _of_params(body)
    messages = body.get("messages") or []
    if not messages:
        yield "messages: [] is too short"
    for index, message in enumerate(messages):
        yield from (f"messages[{index}]: {fault}" for fault in _of_message(message))
    yield from _of_order(messages)
    yield from _of_tools(body)
    yield from _of_format(body)


def _of_params(body: Body) -> Iterator[str]:
    if not 1 <= body.get("n", 1) <= 128:
        yield "n must be between 1 and 128"
    if not 0 <= body.get("temperature", 1) <= 2:
        yield "temperature must be between 0 and 2"
    if body.get("stream_options") and not body.get("stream"):
        yield "stream_options is only allowed when streaming"
    stop = body.get("stop")
    if stop is not None and not (isinstance(stop, str) or 1 <= len(stop) <= 4):
        yield "stop must be a text, or one to four texts"


def _of_message(message: Mapping[str, Any]) -> Iterator[str]:
    role = message.get("role")
    if role not in _FIELDS:
        yield f"unknown role {role!r}"
        return
    unknown = set(message) - _FIELDS[role] - {"role", "name"}
    yield from (f"unexpected field {name}" for name in sorted(unknown))
    if not _AUTHOR.fullmatch(message.get("name", "x")):
        yield "name has characters that no name may have"
    content, calls = message.get("content"), message.get("tool_calls")
    yield from (
        f"{name}: [] is too short" for name in ("content", "tool_calls") if message.get(name) == []
    )
    if content is None and not calls:
        yield "content is missing"
    for call in calls or ():
        yield from _of_call(call)
    for part in content if isinstance(content, list) else ():
        yield from _of_part(part, role)


def _of_call(call: Mapping[str, Any]) -> Iterator[str]:
    function = call.get("function") or {}
    if set(call) != {"id", "type", "function"} or call["type"] != "function":
        yield "a tool call has id, type 'function' and function"
    if not _NAME.fullmatch(function.get("name") or ""):
        yield f"{function.get('name')!r} is no name of a function"
    if not isinstance(function.get("arguments"), str):
        yield "arguments must be a text"


def _of_part(part: Any, role: str) -> Iterator[str]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind not in _PARTS[role]:
        yield f"a part of type {kind!r} is not supported for role {role}"
    elif kind not in part:  # other fields, such as cache_control, are ignored
        yield f"a part of type {kind} without {kind}"
    elif kind in ("text", "refusal"):
        if not isinstance(part[kind], str):
            yield f"{kind} must be a text"
    elif kind == "input_audio":
        if not _decoded(part[kind].get("data")).startswith(b"RIFF"):
            yield "input_audio holds no WAV"
    else:
        yield from _of_url(part[kind].get("url") or part[kind].get("file_data") or "")


def _of_url(url: str) -> Iterator[str]:
    found = re.fullmatch(r"data:([\w/.+-]+);base64,(.*)", url, re.DOTALL)
    if found is None:
        if not url.startswith("https://"):
            yield "expected an https address or base64 data"
    elif not _decoded(found[2]).startswith(_MAGIC.get(found[1], b"no such type")):
        yield f"the data are no {found[1]}"


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, binascii.Error):
        return b""


def _of_order(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Every tool call is answered, at once, and nothing else is."""
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in open_calls:
                yield f"messages[{index}]: a tool message must answer a preceding tool call"
            open_calls.discard(str(message.get("tool_call_id")))
        elif open_calls:
            yield f"messages[{index}]: tool calls were not answered: {sorted(open_calls)}"
        if message.get("role") == "assistant":
            open_calls = {call.get("id") for call in message.get("tool_calls") or ()}
    if open_calls:
        yield f"tool calls were not answered: {sorted(open_calls)}"


def _of_tools(body: Body) -> Iterator[str]:
    tools = body.get("tools")
    if tools is None:
        yield from (
            f"{name} without tools"
            for name in ("tool_choice", "parallel_tool_calls")
            if name in body
        )
        return
    if not tools:
        yield "tools: [] is too short"
    names = []
    for tool in tools:
        if set(tool) != {"type", "function"} or tool["type"] != "function":
            yield f"a tool with fields {sorted(tool)}"
            continue
        function = tool["function"]
        names.append(function.get("name"))
        if unknown := set(function) - {"name", "description", "parameters", "strict"}:
            yield f"a function with fields {sorted(unknown)}"
        yield from _of_schema(function.get("name"), function.get("parameters"), function)
    choice = body.get("tool_choice", "auto")
    named = choice["function"]["name"] if isinstance(choice, Mapping) else None
    if named not in (None, *names) or (
        named is None and choice not in ("none", "auto", "required")
    ):
        yield f"tool_choice {choice!r} is none of the tools"


def _of_format(body: Body) -> Iterator[str]:
    wanted = body.get("response_format") or {"type": "text"}
    kind = wanted.get("type")
    if set(wanted) != ({"type", "json_schema"} if kind == "json_schema" else {"type"}):
        yield f"response_format with fields {sorted(wanted)}"
    elif kind == "json_object" and "json" not in json.dumps(body["messages"]).lower():
        yield "messages must contain the word 'json' to use response_format json_object"
    elif kind == "json_schema":
        format_ = wanted["json_schema"]
        if unknown := set(format_) - {"name", "description", "schema", "strict"}:
            yield f"json_schema with fields {sorted(unknown)}"
        yield from _of_schema(format_.get("name"), format_.get("schema"), format_)
    elif kind not in ("text", "json_object"):
        yield f"response_format of type {kind!r}"


def _of_schema(name: Any, schema: Any, holder: Mapping[str, Any]) -> Iterator[str]:
    if not _NAME.fullmatch(name or ""):
        yield f"{name!r} is no name of a function or a schema"
    if schema is None:
        return
    if schema.get("type") != "object":
        yield f"{name}: schema must be of type object"
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        yield f"{name}: {error.message}"
    if holder.get("strict"):
        yield from (f"{name}: {fault}" for fault in _of_strict(schema))


def _of_strict(schema: Any) -> Iterator[str]:
    """Strict schemas close every object, and require every property of it."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object":
            if schema.get("additionalProperties") is not False:
                yield "additionalProperties is required to be false in a strict schema"
            if set(schema.get("required", ())) != set(schema.get("properties", ())):
                yield "required must hold every property in a strict schema"
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _of_strict(each)
