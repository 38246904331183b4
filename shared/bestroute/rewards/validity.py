"""Whether a response is what the request demanded: JSON, its schema, tool calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bestroute._extras import require
from bestroute.query import message_text


def why_invalid(message: Mapping[str, Any], params: Mapping[str, Any]) -> str | None:
    """What is wrong with a response; `None` when it can be used.

    Args:
        message: Assistant message in OpenAI format.
        params: Parameters of the request; response_format, tools and tool_choice are read. A
            `within_text` in the first allows text around the object.

    Returns:
        The reason in words, without any of the response's own text.
    """
    if message.get("refusal"):
        return "it is a refusal"
    calls = message.get("tool_calls") or ()
    if reason := _choice(calls, params.get("tool_choice")):
        return reason
    if calls:
        return _calls(calls, params.get("tools") or ())
    text = message_text(message)
    if not text.strip() and not message.get("images"):
        return "it is empty"
    return _format(text, params.get("response_format"))


def _choice(calls: Sequence[Mapping[str, Any]], choice: Any) -> str | None:
    if choice == "none" and calls:
        return "it calls a tool and must not"
    if choice in ("required", "any") and not calls:
        return "it calls no tool and must"
    if isinstance(choice, Mapping):
        wanted = (choice.get("function") or choice).get("name")
        names = [(call.get("function") or {}).get("name") for call in calls]
        if wanted is None and not calls:
            return "it calls no tool and must"
        if wanted is not None and wanted not in names:
            return f"it does not call {wanted}"
    return None


def _calls(calls: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> str | None:
    functions = [tool.get("function") or tool for tool in tools]
    schemas = {each.get("name"): each.get("parameters") for each in functions}
    for index, call in enumerate(calls):
        function = call.get("function") or {}
        if function.get("name") not in schemas:
            return f"call {index} is of a tool that was not offered"
        arguments = function.get("arguments")
        data = arguments if isinstance(arguments, Mapping) else _parse(arguments or "{}")
        if not isinstance(data, Mapping):
            return f"the arguments of call {index} are not a JSON object"
        if reason := _mismatch(data, schemas[function["name"]]):
            return f"the arguments of call {index} break the schema: {reason}"
    return None


def _format(text: str, wanted: Any) -> str | None:
    if isinstance(wanted, type) and hasattr(wanted, "model_json_schema"):
        wanted = {"type": "json_schema", "json_schema": {"schema": wanted.model_json_schema()}}
    if not isinstance(wanted, Mapping) or wanted.get("type") not in ("json_object", "json_schema"):
        return None
    data = _parse(text)
    if data is _BROKEN and wanted.get("within_text"):
        data = _parse(text[text.find("{") : text.rfind("}") + 1])
    if data is _BROKEN:
        return "it is not JSON"
    if wanted["type"] == "json_object" and not isinstance(data, dict):
        return "it is JSON, but not an object"
    schema = (wanted.get("json_schema") or {}).get("schema") or wanted.get("response_schema")
    reason = _mismatch(data, schema)
    return f"it breaks the schema: {reason}" if reason else None


_BROKEN = object()


def _parse(text: str) -> Any:
    """JSON by the book: NaN and Infinity are none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _BROKEN


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _mismatch(data: Any, schema: Any) -> str | None:
    """Where data breaks a schema; a schema that is itself broken, or refers elsewhere, passes."""
    if not isinstance(schema, Mapping):
        return None
    jsonschema = require("jsonschema", feature="Checking JSON schemas", extra="all")
    referencing = require("referencing", feature="Checking JSON schemas", extra="all")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
        # An empty registry: a schema of a request must not make us fetch addresses.
        checker = kind(schema, registry=referencing.Registry())
        error = jsonschema.exceptions.best_match(checker.iter_errors(data))
    except (
        jsonschema.exceptions.SchemaError,
        referencing.exceptions.Unresolvable,
        RecursionError,
    ):
        return None
    return f"{error.validator} at {error.json_path}" if error else None
