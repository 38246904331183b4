"""Tools on their way in, tool calls on their way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json

if TYPE_CHECKING:
    from llama_index.core.tools.types import BaseTool

_CHOICES = ("auto", "none", "required")


def tool_params(
    tools: Sequence[BaseTool],
    choice: str | dict[str, Any] | None,
    *,
    required: bool,
    strict: bool | None = None,
) -> dict[str, Any]:
    """OpenAI parameters that offer the tools; none if there are no tools.

    Args:
        tools: LlamaIndex tools.
        choice: auto, none, required (or any), a tool's name, or OpenAI's own form.
        required: Whether some tool must be called, where `choice` does not say.
        strict: Whether the provider is to keep to the tools' schemas.
    """
    if not tools:
        return {}
    offered = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
    for tool in offered if strict else ():
        tool["function"]["strict"] = True
        tool["function"]["parameters"]["additionalProperties"] = False
    return {"tools": offered, "tool_choice": _choice(choice, required)}


def _choice(choice: str | dict[str, Any] | None, required: bool) -> str | dict[str, Any] | None:
    if choice is None:
        return "required" if required else None
    if isinstance(choice, dict) or choice in _CHOICES:
        return choice
    if choice == "any":
        return "required"
    return {"type": "function", "function": {"name": choice}}


def tool_calls(message: ChatMessage) -> list[ToolSelection]:
    """The message's tool calls; arguments as far as they go, where it is still streaming."""
    return [
        ToolSelection(
            tool_id=block.tool_call_id or block.tool_name,
            tool_name=block.tool_name,
            tool_kwargs=_arguments(block.tool_kwargs),
        )
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]


def _arguments(arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    if not isinstance(arguments, str):
        return dict(arguments)
    try:
        parsed = parse_partial_json(arguments)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
