"""Tools, tool choices and schemas of LangChain in OpenAI format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.utils.function_calling import (
    convert_to_openai_function,
    convert_to_openai_tool,
)

from bestroute.errors import ConfigError

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

ToolLike: TypeAlias = "dict[str, Any] | type | Callable[..., Any] | BaseTool"
ToolChoice = str | bool | Mapping[str, Any] | None
Schema = dict[str, Any] | type

_CHOICES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def tool_params(
    tools: Sequence[ToolLike], choice: ToolChoice = None, *, strict: bool | None = None
) -> dict[str, Any]:
    """OpenAI's parameters that offer the tools.

    Args:
        tools: Tools in any form that LangChain knows; none are no parameters at all.
        choice: auto, none, required (or any, or True), a tool's name, or OpenAI's or
            Anthropic's own form.
        strict: Whether arguments must follow the schema exactly.

    Raises:
        ConfigError: The choice is not among the tools.
    """
    offered = [_tool(tool, strict) for tool in tools]
    names = [str(tool["function"]["name"]) for tool in offered if "function" in tool]
    chosen = _choice(choice, names)
    if offered:
        return {"tools": offered, **({} if chosen is None else {"tool_choice": chosen})}
    if chosen in (None, "auto", "none"):
        return {}
    raise ConfigError(f"tool_choice is {choice!r}, and no tools are given")


def tool_name(schema: Schema) -> str:
    """The name of the tool that a schema is sent as."""
    return str(_tool(schema, None)["function"]["name"])


def json_schema(schema: Schema) -> dict[str, Any]:
    """The JSON schema of what a schema describes."""
    if isinstance(schema, dict) and schema.get("type") == "object":
        return schema  # which needs no name
    return dict(_tool(schema, None)["function"].get("parameters") or {})


def response_format(schema: Schema, *, strict: bool | None = None) -> dict[str, Any]:
    """OpenAI's `response_format` that demands an answer of the schema.

    Args:
        schema: Pydantic class, TypedDict, JSON schema, or function or tool in OpenAI's form.
        strict: Whether the answer must follow the schema exactly.
    """
    function = dict(_tool(schema, strict)["function"])
    wanted = function.pop("parameters", {"type": "object", "properties": {}})
    return {"type": "json_schema", "json_schema": {**function, "schema": wanted}}


def _tool(tool: ToolLike, strict: bool | None) -> dict[str, Any]:
    if strict is None or not (isinstance(tool, dict) and "function" in tool):
        return convert_to_openai_tool(tool, strict=strict)
    # LangChain takes OpenAI's own form as it is, without `strict`.
    return {**tool, "function": convert_to_openai_function(tool["function"], strict=strict)}


def _choice(choice: ToolChoice, names: Sequence[str]) -> str | dict[str, Any] | None:
    if isinstance(choice, Mapping):
        return _spelt_out(choice, names)
    if isinstance(choice, bool) or not choice:
        return "required" if choice else None
    if choice in names:
        return {"type": "function", "function": {"name": choice}}
    if choice in _CHOICES:
        return _CHOICES[choice]
    raise ConfigError(
        f"tool_choice {choice!r} is none of the tools ({', '.join(names)}) "
        f"and none of {', '.join(_CHOICES)}"
    )


def _spelt_out(choice: Mapping[str, Any], names: Sequence[str]) -> str | dict[str, Any] | None:
    """OpenAI's form as it is, Anthropic's in OpenAI's words."""
    kind = choice.get("type")
    if kind in _CHOICES:
        return _choice(str(kind), names)
    return _choice(str(choice.get("name")), names) if kind == "tool" else dict(choice)
