"""LangChain's messages <-> messages in OpenAI format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
    convert_to_openai_messages,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call

from bestroute import ModelPool
from bestroute.errors import RequestError
from bestroute.query import MADE_BY, THOUGHTS, thoughts_of
from langchain_bestroute._blocks import of_assistant, of_others

# What an answer has beside its text and tool calls, in LiteLLM's names.
_ADDITIONAL = (*THOUGHTS, "refusal", "annotations", "images")


def to_openai(
    messages: Sequence[BaseMessage], pool: ModelPool | None = None
) -> list[dict[str, Any]]:
    """Messages in OpenAI format; the given ones are not changed.

    Args:
        messages: A conversation.
        pool: Whose models are asked: thoughts of an unfinished tool loop go along, for the model
            that had them; all others are left out.

    Raises:
        RequestError: A message or a block that has no such form; names what is wrong.
    """
    try:
        converted = [_converted(message) for message in messages]
    except (ValueError, TypeError, KeyError) as error:
        raise RequestError(f"a message cannot be sent: {error}") from error
    if pool is not None:
        for position in _tool_loop(messages):
            converted[position] |= _thoughts(cast(AIMessage, messages[position]), pool)
    return converted


def _converted(message: BaseMessage) -> dict[str, Any]:
    known = message
    if not isinstance(message.content, str):
        blocks = of_assistant if isinstance(message, AIMessage) else of_others
        known = message.model_copy(update={"content": blocks(message.content)})
    (converted,) = convert_to_openai_messages([known])
    if isinstance(message, AIMessage):
        # A tool message may answer a call that was no JSON; without the call it is refused.
        calls = [unparsed(c) for c in message.invalid_tool_calls if c["id"] and c["name"]]
        if calls:
            converted["tool_calls"] = [*converted.get("tool_calls", ()), *calls]
    return converted


def _tool_loop(messages: Sequence[BaseMessage]) -> Iterator[int]:
    """Positions of what called tools since the last answer.

    What a person says does not end the loop: it may be a reminder that middleware puts in.
    """
    for position in reversed(range(len(messages))):
        message = messages[position]
        if isinstance(message, AIMessage):
            if not (message.tool_calls or message.invalid_tool_calls):
                return
            yield position


def _thoughts(message: AIMessage, pool: ModelPool) -> dict[str, Any]:
    """Thoughts and signatures of a model of the pool, for itself."""
    model, thoughts = maker(message, pool), thoughts_of(message.additional_kwargs)
    return {MADE_BY: model, **thoughts} if model and thoughts else {}


def maker(message: AIMessage, pool: ModelPool) -> str | None:
    """Name of the pool's model that wrote a message; `None` if none of this pool did."""
    routed = message.response_metadata.get("bestroute") or {}
    return routed["model"] if routed.get("pool") == pool.fingerprint else None


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
    """What LangChain's message has no field for: thoughts, a refusal, citations, images."""
    fields = message.get("provider_specific_fields") or {}
    own = {name: value for name, value in fields.items() if value and name not in message}
    known = {**message, "provider_specific_fields": own}
    return {name: known[name] for name in _ADDITIONAL if known.get(name)}


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
