"""Tools and tool choices of LangChain in OpenAI format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from bestroute.errors import ConfigError

ToolLike = dict[str, Any] | type | Callable[..., Any] | BaseTool
ToolChoice = str | bool | Mapping[str, Any] | None

_CHOICES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def tool_params(
    tools: Sequence[ToolLike], choice: ToolChoice = None, *, strict: bool | None = None
) -> dict[str, Any]:
    """OpenAI's parameters that offer the tools.

    Args:
        tools: Tools in any form that LangChain knows.
        choice: auto, none, required (or any, or True), a tool's name, or OpenAI's own form.
        strict: Whether arguments must follow the schema exactly.

    Raises:
        ConfigError: The choice is not among the tools.
    """
    offered = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
    names = [str(tool.get("function", {}).get("name")) for tool in offered]
    chosen = _choice(choice, names)
    return {"tools": offered, **({} if chosen is None else {"tool_choice": chosen})}


def _choice(choice: ToolChoice, names: Sequence[str]) -> str | dict[str, Any] | None:
    if isinstance(choice, Mapping):
        return dict(choice)
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
