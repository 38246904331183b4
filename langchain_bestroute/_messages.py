"""LangChain's messages <-> messages in OpenAI format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
    convert_to_openai_messages,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call

from bestroute.errors import RequestError

# Thoughts are only valid for the model that had them; tool calls are in `tool_calls` as well.
_DROPPED_BLOCKS = (
    "thinking",
    "redacted_thinking",
    "reasoning",
    "reasoning_content",
    "tool_call",
    "tool_call_chunk",
    "invalid_tool_call",
    "function_call",
)


def to_openai(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Messages in OpenAI format; the given ones are not changed.

    Raises:
        RequestError: A message or a block that has no such form; names what is wrong.
    """
    try:
        return [
            converted
            for message in messages
            for converted in _with_invalid_calls(
                message, convert_to_openai_messages([_without_blocks(message)])
            )
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise RequestError(f"a message cannot be sent: {error}") from error


def _without_blocks(message: BaseMessage) -> BaseMessage:
    if isinstance(message.content, str):
        return message
    kept = [
        block
        for block in message.content
        if isinstance(block, str) or block.get("type") not in _DROPPED_BLOCKS
    ]
    return message.model_copy(update={"content": kept})


def _with_invalid_calls(
    message: BaseMessage, converted: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """A tool message may answer a call that was no JSON; without the call it is refused."""
    if isinstance(message, AIMessage) and message.invalid_tool_calls:
        calls = [unparsed(call) for call in message.invalid_tool_calls]
        converted[0]["tool_calls"] = [*converted[0].get("tool_calls", ()), *calls]
    return converted


def unparsed(call: InvalidToolCall) -> dict[str, Any]:
    """A tool call that is no JSON, in OpenAI format."""
    function = {"name": call["name"] or "", "arguments": call["args"] or ""}
    return {"type": "function", "id": call["id"], "function": function}


def from_openai(message: Mapping[str, Any]) -> AIMessage:
    """The assistant's message; a tool call whose arguments are no JSON object is kept apart."""
    # Not `convert_to_messages`: it raises on such a tool call.
    parsed = [parse_call(call) for call in message.get("tool_calls") or ()]
    return AIMessage(
        content=message.get("content") or "",
        additional_kwargs=additional(message),
        tool_calls=[call for call in parsed if call["type"] == "tool_call"],
        invalid_tool_calls=[call for call in parsed if call["type"] == "invalid_tool_call"],
    )


def additional(message: Mapping[str, Any]) -> dict[str, Any]:
    """What LangChain's message has no field for: thoughts, a refusal."""
    names = ("reasoning_content", "refusal")
    return {name: message[name] for name in names if message.get(name)}


def parse_call(call: Mapping[str, Any]) -> ToolCall | InvalidToolCall:
    """A tool call in OpenAI format."""
    function = call.get("function") or {}
    name, text, id_ = function.get("name") or "", function.get("arguments"), call.get("id")
    try:
        arguments = json.loads(text or "{}")  # some servers send nothing for no arguments
    except ValueError as error:
        return invalid_tool_call(name=name, args=text, id=id_, error=str(error))
    if not isinstance(arguments, dict):
        return invalid_tool_call(name=name, args=text, id=id_, error="not a JSON object")
    return tool_call(name=name, args=arguments, id=id_)
