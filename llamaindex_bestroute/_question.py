"""One question on its way through the engine, and its answer in LlamaIndex's types."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LogProb,
)
from llama_index.core.rate_limiter import BaseRateLimiter

from bestroute import BestRoute, RoutedResponse
from bestroute.events import Delta, Drawing
from bestroute.samples import Usage
from llamaindex_bestroute._events import plain_usage
from llamaindex_bestroute._messages import first_tool_call_only, from_openai, with_thoughts
from llamaindex_bestroute._spans import Trace


@dataclass(frozen=True)
class Question:
    """What the engine is asked; made where the caller's span is the current one.

    Attributes:
        engine: Answers it.
        messages: Chat messages in OpenAI format.
        options: Call parameters in OpenAI's names, and the engine's own.
        one_tool_call: Whether further tool calls of the answer are left out.
        limiter: Asked for leave for every sample but the first, for which LlamaIndex asks.
        trace: Tells LlamaIndex's handlers what happens.
    """

    engine: BestRoute
    messages: list[dict[str, Any]]
    options: dict[str, Any]
    one_tool_call: bool = False
    limiter: BaseRateLimiter | None = None
    trace: Trace = field(default_factory=Trace)

    def answer(self) -> ChatResponse:
        """The whole answer."""
        [answer] = self._ask(self._begun())
        return answer

    async def aanswer(self) -> ChatResponse:
        """The whole answer."""
        [answer] = [each async for each in self._aask(self._begun())]
        return answer

    def stream(self) -> Generator[ChatResponse, None, None]:
        """The answer so far, piece by piece; the last response carries `raw`."""
        return self._ask(self._begun(streaming=True))

    def astream(self) -> AsyncGenerator[ChatResponse, None]:
        """The answer so far, piece by piece; the last response carries `raw`."""
        return self._aask(self._begun(streaming=True))

    def _begun(self, *, streaming: bool = False) -> _Answer:
        return _Answer(self.engine.pool.fingerprint, self.one_tool_call, streaming)

    def _ask(self, answer: _Answer) -> Generator[ChatResponse, None, None]:
        events = self.engine.events(self.messages, streaming=answer.streaming, **self.options)
        with self.trace, closing(events):
            for event in events:
                for limiter in self._limiters(answer.permits(event)):
                    limiter.acquire()
                self.trace.see(event)
                if response := answer.response(event):
                    yield response

    async def _aask(self, answer: _Answer) -> AsyncGenerator[ChatResponse, None]:
        events = self.engine.aevents(self.messages, streaming=answer.streaming, **self.options)
        with self.trace:
            async with aclosing(events):
                async for event in events:
                    for limiter in self._limiters(answer.permits(event)):
                        await limiter.async_acquire()
                    self.trace.see(event)
                    if response := answer.response(event):
                        yield response

    def _limiters(self, permits: int) -> list[BaseRateLimiter]:
        return [] if self.limiter is None else [self.limiter] * permits


@dataclass
class _Answer:
    """An answer so far, of a pool with that fingerprint."""

    pool: str
    one_tool_call: bool
    streaming: bool = False
    text: str = ""
    thoughts: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    permitted: int = 1

    def permits(self, event: object) -> int:
        """How many samples a draw asks for that nobody has been asked leave for."""
        if not isinstance(event, Drawing):
            return 0
        permitted, self.permitted = self.permitted, 0
        return event.n - permitted

    def response(self, event: object) -> ChatResponse | None:
        """What the caller sees of an event, if anything."""
        if isinstance(event, Delta):
            thought = {"thinking_delta": event.reasoning} if event.reasoning else {}
            return ChatResponse(
                message=self._so_far(event), delta=event.text, additional_kwargs=thought
            )
        if isinstance(event, RoutedResponse):
            usage = plain_usage(event.usage.prompt_tokens, event.usage.completion_tokens)
            return ChatResponse(
                message=with_thoughts(self._message(event.message), event, self.pool),
                delta="" if self.streaming else None,
                raw={
                    "usage": {**usage, **_details(event.usage)},
                    "bestroute": event.summary(),
                    "model": event.model,
                    "finish_reason": event.winner.finish_reason,
                    "logprobs": event.winner.logprobs,
                },
                additional_kwargs=usage,
                logprobs=_logprobs(event.winner.logprobs),
            )
        return None

    def _so_far(self, delta: Delta) -> ChatMessage:
        self.text += delta.text
        self.thoughts += delta.reasoning
        self.calls += delta.tool_calls  # they come whole
        return self._message(
            {
                "content": self.text,
                "reasoning_content": self.thoughts,
                "tool_calls": self.calls,
            }
        )

    def _message(self, message: dict[str, Any]) -> ChatMessage:
        made = from_openai(message)
        return first_tool_call_only(made) if self.one_tool_call else made


def _details(usage: Usage) -> dict[str, Any]:
    """In OpenAI's form; nothing where no provider said anything."""
    details: dict[str, Any] = {}
    if usage.cached_tokens:
        details["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens:
        details["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return details


def _logprobs(found: dict[str, Any] | None) -> list[list[LogProb]] | None:
    """Of each token, the likeliest alternatives, or the token alone where nobody asked for them."""
    tokens = (found or {}).get("content") or ()
    made = [[_logprob(each) for each in token.get("top_logprobs") or [token]] for token in tokens]
    return made or None


def _logprob(token: dict[str, Any]) -> LogProb:
    return LogProb(token=token["token"], logprob=token["logprob"], bytes=token.get("bytes") or [])


def as_completion(response: ChatResponse) -> CompletionResponse:
    """A chat answer as a completion."""
    return CompletionResponse(
        text=response.message.content or "",
        delta=response.delta,
        raw=response.raw,
        additional_kwargs=response.additional_kwargs,
        logprobs=response.logprobs,
    )


def as_completions(
    responses: Generator[ChatResponse, None, None],
) -> Generator[CompletionResponse, None, None]:
    """A streamed chat answer as a completion; leaving it leaves the answer."""
    with closing(responses):
        for response in responses:
            yield as_completion(response)


async def as_acompletions(
    responses: AsyncGenerator[ChatResponse, None],
) -> AsyncGenerator[CompletionResponse, None]:
    """A streamed chat answer as a completion; leaving it leaves the answer."""
    async with aclosing(responses):
        async for response in responses:
            yield as_completion(response)
