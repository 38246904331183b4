"""What the engine brings, in LangChain's types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from bestroute import ModelPool, RoutedResponse, Usage, catalog
from bestroute.events import Delta
from langchain_bestroute._messages import additional, from_openai

PROVIDER = "bestroute"
_NO_FORMAT = "litellm"
"""Of no format that LangChain knows. Not `PROVIDER`: LangChain's middleware takes a message whose
provider is the model's own for one call's usage, and ours is that of all samples."""
_OTHER_FORMATS = ("anthropic", "bedrock", "bedrock_converse")


def to_result(response: RoutedResponse, pool: ModelPool) -> ChatResult:
    """One generation, the winner, with the usage of all samples."""
    message = from_openai(response.message)
    message.usage_metadata = usage_metadata(response.usage)
    message.response_metadata = metadata(response, pool)
    return ChatResult(generations=[ChatGeneration(message=message)])


def to_chunk(item: Delta | RoutedResponse, pool: ModelPool) -> ChatGenerationChunk:
    """A piece of the winner; the response itself is the last chunk, and the only one with usage."""
    if isinstance(item, RoutedResponse):
        message = AIMessageChunk(
            content="",
            additional_kwargs=additional({**item.message, "reasoning_content": None}),
            usage_metadata=usage_metadata(item.usage),
            response_metadata=metadata(item, pool),
            chunk_position="last",
        )
    else:
        calls = [_call_chunk(call, position) for position, call in enumerate(item.tool_calls)]
        message = AIMessageChunk(
            content=item.text,
            additional_kwargs=additional({"reasoning_content": item.reasoning}),
            tool_call_chunks=calls,
        )
    return ChatGenerationChunk(message=message)


def _call_chunk(call: dict[str, Any], position: int) -> Any:
    function = call.get("function") or {}
    return tool_call_chunk(
        name=function.get("name"),
        args=function.get("arguments"),
        id=call.get("id"),
        index=call.get("index", position),
    )


def usage_metadata(usage: Usage) -> UsageMetadata:
    """Tokens of all samples together, as LangChain counts them."""
    counted = UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
    )
    if usage.cached_tokens:
        counted["input_token_details"] = InputTokenDetails(cache_read=usage.cached_tokens)
    if usage.reasoning_tokens:
        counted["output_token_details"] = OutputTokenDetails(reasoning=usage.reasoning_tokens)
    return counted


def metadata(response: RoutedResponse, pool: ModelPool) -> dict[str, Any]:
    """Which model really answered, why, and what everything cost."""
    member = pool[response.model]
    provider = catalog.provider(member)
    logprobs = response.winner.logprobs
    return {
        **({"logprobs": logprobs} if logprobs else {}),
        "model_name": member.model,
        "model_provider": _NO_FORMAT if _misread(provider, response.message) else provider,
        "finish_reason": response.winner.finish_reason,
        "bestroute": {**response.summary(), "provider": provider, "pool": pool.fingerprint},
    }


def _misread(provider: str, message: Mapping[str, Any]) -> bool:
    """Whether LangChain's `content_blocks`, told the provider, would miss tool calls or thoughts.

    It looks for them in that provider's own format; our content is in OpenAI's.
    """
    return provider in _OTHER_FORMATS or bool(message.get("reasoning_content"))
