"""LangChain's answers in LiteLLM's types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata, add_usage

from bestroute.client import piece, reported
from langchain_bestroute._messages import additional, unparsed

_FINISH_REASONS = ("finish_reason", "stop_reason", "stopReason", "done_reason")


def completion(message: AIMessage) -> Any:
    """A `litellm.ModelResponse` with one choice."""
    from litellm import ModelResponse

    calls = _tool_calls(message)
    said = {
        **additional(message.additional_kwargs),
        "role": "assistant",
        "content": str(message.text) or None,
        "reasoning_content": _reasoning(message),
        "tool_calls": calls or None,
    }
    choice = {
        "index": 0,
        "message": {name: value for name, value in said.items() if value is not None},
        "finish_reason": _finish_reason(message.response_metadata, calls=bool(calls)),
        "logprobs": _logprobs(message.response_metadata),
    }
    return ModelResponse(choices=[choice], **_usage(message.usage_metadata))


class Pieces:
    """Makes `litellm.ModelResponseStream` objects of a stream's chunks, one after the other."""

    def __init__(self) -> None:
        self._calls: dict[Any, int] = {}
        self._metadata: dict[str, Any] = {}
        self._usage: UsageMetadata | None = None

    def piece(self, message: AIMessage) -> Any:
        """What one chunk says."""
        chunk = _as_chunk(message)
        self._metadata |= chunk.response_metadata
        if chunk.usage_metadata:
            self._usage = add_usage(self._usage, chunk.usage_metadata)
        delta = {
            "content": str(chunk.text) or None,
            "reasoning_content": _reasoning(chunk),
            "tool_calls": [self._call(call) for call in chunk.tool_call_chunks] or None,
        }
        return piece({"delta": delta, "logprobs": _logprobs(chunk.response_metadata)})

    def last(self) -> Any:
        """Why it ended, and the usage."""
        finish_reason = _finish_reason(self._metadata, calls=bool(self._calls))
        return piece({"delta": {}, "finish_reason": finish_reason}, **_usage(self._usage))

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        # Some count blocks of text among them, some send whole calls without a number.
        number = call.get("index")
        key = object() if number is None else number
        return {
            "index": self._calls.setdefault(key, len(self._calls)),
            "id": call.get("id"),
            "type": "function",
            "function": {"name": call.get("name"), "arguments": call.get("args") or ""},
        }


def _as_chunk(message: AIMessage) -> AIMessageChunk:
    """A model that cannot stream brings the whole message as its only piece."""
    if isinstance(message, AIMessageChunk):
        return message
    return AIMessageChunk(**message.model_dump(exclude={"type"}))


def _tool_calls(message: AIMessage) -> list[dict[str, Any]]:
    parsed = [
        {
            "id": call["id"],
            "type": "function",
            "function": {
                "name": call["name"],
                "arguments": json.dumps(call["args"], ensure_ascii=False),
            },
        }
        for call in message.tool_calls
    ]
    return [*parsed, *(unparsed(call) for call in message.invalid_tool_calls)]


def _reasoning(message: AIMessage) -> str | None:
    thoughts = [
        block.get("reasoning") or ""
        for block in message.content_blocks
        if block["type"] == "reasoning"
    ]
    return "".join(thoughts) or None


def _finish_reason(metadata: Mapping[str, Any], *, calls: bool) -> str:
    """In the provider's own words, which LiteLLM's types translate."""
    found = next((metadata[name] for name in _FINISH_REASONS if metadata.get(name)), None)
    if found is None and metadata.get("status") == "incomplete":  # OpenAI's Responses API
        found = "length"
    if found is None or str(found).lower() == "stop":
        return "tool_calls" if calls else "stop"
    return str(found)


def _logprobs(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Where they are in OpenAI's form."""
    found = metadata.get("logprobs")
    return found if isinstance(found, Mapping) and found.get("content") else None


def _usage(counted: UsageMetadata | None) -> dict[str, Any]:
    """`Usage`, where it was reported."""
    if counted is None:
        return {}
    read, made = counted.get("input_token_details") or {}, counted.get("output_token_details") or {}
    return reported(
        prompt_tokens=counted["input_tokens"],
        completion_tokens=counted["output_tokens"],
        cached_tokens=read.get("cache_read") or 0,
        reasoning_tokens=made.get("reasoning") or 0,
    )
