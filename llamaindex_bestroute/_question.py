"""One question on its way through the engine, and its answer in LlamaIndex's types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
)

from bestroute import BestRoute, RoutedResponse
from bestroute.sampling import Delta
from llamaindex_bestroute._messages import from_openai
from llamaindex_bestroute._tools import first_tool_call_only


@dataclass(frozen=True)
class Question:
    """What the engine is asked.

    Attributes:
        engine: Answers it.
        messages: Chat messages in OpenAI format.
        options: Call parameters in OpenAI's names, and the engine's own.
        one_tool_call: Whether further tool calls of the answer are left out.
    """

    engine: BestRoute
    messages: list[dict[str, Any]]
    options: dict[str, Any]
    one_tool_call: bool = False

    def answer(self) -> ChatResponse:
        """The whole answer."""
        return self._whole(self.engine.complete(self.messages, **self.options))

    async def aanswer(self) -> ChatResponse:
        """The whole answer."""
        return self._whole(await self.engine.acomplete(self.messages, **self.options))

    def stream(self) -> Iterator[ChatResponse]:
        """The answer so far, piece by piece; the last response carries `raw`."""
        partial = _Partial()
        items = self.engine.stream(self.messages, **self.options)
        with closing(items):
            for item in items:
                yield self._next(item, partial)

    async def astream(self) -> AsyncIterator[ChatResponse]:
        """The answer so far, piece by piece; the last response carries `raw`."""
        partial = _Partial()
        items = self.engine.astream(self.messages, **self.options)
        async with aclosing(items):
            async for item in items:
                yield self._next(item, partial)

    def _next(self, item: Delta | RoutedResponse, partial: _Partial) -> ChatResponse:
        if isinstance(item, RoutedResponse):
            return self._whole(item, delta="")
        return ChatResponse(message=self._cut(partial.add(item)), delta=item.text)

    def _whole(self, routed: RoutedResponse, delta: str | None = None) -> ChatResponse:
        usage = {
            "prompt_tokens": routed.usage.prompt_tokens,
            "completion_tokens": routed.usage.completion_tokens,
            "total_tokens": routed.usage.total_tokens,
        }
        return ChatResponse(
            message=self._cut(from_openai(routed.message)),
            delta=delta,
            raw={
                "usage": usage,
                "bestroute": routed.summary(),
                "model": routed.model,
                "finish_reason": routed.winner.finish_reason,
            },
            additional_kwargs=dict(usage),
        )

    def _cut(self, message: ChatMessage) -> ChatMessage:
        return first_tool_call_only(message) if self.one_tool_call else message


@dataclass
class _Partial:
    """A streamed message so far."""

    text: str = ""
    thoughts: str = ""
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)

    def add(self, delta: Delta) -> ChatMessage:
        """The message, this piece included."""
        self.text += delta.text
        self.thoughts += delta.reasoning
        for position, piece in enumerate(delta.tool_calls):
            call = self.calls.setdefault(piece.get("index", position), {"function": {}})
            function, new = call["function"], piece.get("function") or {}
            call["id"] = call.get("id") or piece.get("id")
            function["name"] = (function.get("name") or "") + (new.get("name") or "")
            function["arguments"] = (function.get("arguments") or "") + (new.get("arguments") or "")
        return from_openai(
            {
                "content": self.text,
                "reasoning_content": self.thoughts,
                "tool_calls": list(self.calls.values()),
            }
        )


def as_completion(response: ChatResponse) -> CompletionResponse:
    """A chat answer as a completion."""
    return CompletionResponse(
        text=response.message.content or "",
        delta=response.delta,
        raw=response.raw,
        additional_kwargs=response.additional_kwargs,
    )
