"""Tools on their way in, tool calls on their way out."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index.core.tools.types import BaseTool, ToolMetadata, ToolOutput
from pydantic import BaseModel, create_model

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


@dataclass
class _Metadata(ToolMetadata):
    """What a model is told of a tool: the schema as it was given."""

    parameters: dict[str, Any] = field(default_factory=dict)

    def get_parameters_dict(self) -> dict[str, Any]:
        return copy.deepcopy(self.parameters)  # packages write into it


class _Offered(BaseTool):
    """A tool in OpenAI format, to be offered to a model of LlamaIndex's and not to be run."""

    def __init__(self, tool: Mapping[str, Any]) -> None:
        function = tool["function"]
        name, parameters = function["name"], function.get("parameters") or {"type": "object"}
        self._metadata = _Metadata(
            description=function.get("description") or "",
            name=name,
            fn_schema=_schema_class(name, parameters),
            parameters=parameters,
        )

    @property
    def metadata(self) -> ToolMetadata:
        """What the model is told."""
        return self._metadata

    def __call__(self, input: Any) -> ToolOutput:
        """Not here: who asked runs it."""
        raise NotImplementedError("a tool that is offered to a member of a pool is not run here")


class _Arguments(BaseModel):
    """Says the schema that it was given, which is all that packages ask such a class for."""

    given: ClassVar[dict[str, Any]] = {}

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return copy.deepcopy(cls.given)


def _schema_class(name: str, parameters: dict[str, Any]) -> type[BaseModel]:
    made = create_model(name, __base__=_Arguments)
    made.given = parameters
    return made


def offer(params: Mapping[str, Any], *, openai: bool, takes: Container[str]) -> dict[str, Any]:
    """Arguments of `chat_with_tools` that say what OpenAI's parameters do; none without tools.

    Not every package knows a choice by name, or of none: elsewhere than at OpenAI's no other
    tool is offered then.

    Args:
        params: OpenAI's parameters of a call.
        openai: Whether the model's package takes a choice in OpenAI's words.
        takes: Names of the arguments that the package has.

    Raises:
        ValueError: A tool that is no function.
    """
    tools, choice = params.get("tools") or [], params.get("tool_choice")
    for tool in tools:
        if "function" not in tool:
            raise ValueError(f"a tool of type {tool.get('type')!r} is no tool of LlamaIndex's")
    function = choice.get("function") if isinstance(choice, Mapping) else None
    named = function["name"] if function else None
    if not openai:
        tools = [] if choice == "none" else tools
        tools = [tool for tool in tools if named in (None, tool["function"]["name"])]
    if not tools:
        return {}
    strict = any(tool["function"].get("strict") for tool in tools)
    return {
        "tools": [_Offered(tool) for tool in tools],
        "tool_required": choice == "required" or named is not None,
        "allow_parallel_tool_calls": params.get("parallel_tool_calls") is not False,
        **({"tool_choice": choice} if openai and choice else {}),
        **({"strict": True} if strict and "strict" in takes else {}),
    }


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
