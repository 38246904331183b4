"""LlamaIndex's answers in LiteLLM's types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatResponse, LogProb

from bestroute.client import piece, reported
from llamaindex_bestroute._counts import Counts, at, counts_in
from llamaindex_bestroute._messages import calls_in, thoughts_in

_FINISH_REASONS = ("finish_reason", "stop_reason", "stopReason", "done_reason")


def completion(response: ChatResponse) -> Any:
    """A `litellm.ModelResponse` with one choice."""
    from litellm import ModelResponse

    calls = calls_in(response.message)
    said = {
        **thoughts_in(response.message),
        "role": "assistant",
        "content": response.message.content or None,
        "tool_calls": calls or None,
        "refusal": at(response.raw, "choices", 0, "message", "refusal"),
    }
    choice = {
        "index": 0,
        "message": {name: value for name, value in said.items() if value is not None},
        "finish_reason": _finish_reason(_reason(response), calls=bool(calls)),
        "logprobs": _logprobs(response),
    }
    return ModelResponse(choices=[choice], **_usage(counts_in(response)))


class Pieces:
    """Makes `litellm.ModelResponseStream` objects of a stream's responses, one after the other.

    Each response has all that was said so far. Tool calls come whole, at the end.
    """

    def __init__(self) -> None:
        self._text = self._thoughts = ""
        self._signed: list[dict[str, Any]] = []
        self._calls: dict[str, dict[str, Any]] = {}
        self._reason: Any = None
        self._counts = Counts()

    def piece(self, response: ChatResponse) -> Any:
        """What one response adds."""
        message, thoughts = response.message, thoughts_in(response.message)
        text = _added(response.delta, message.content or "", self._text)
        told = response.additional_kwargs.get("thinking_delta")
        thought = _added(told, thoughts.get("reasoning_content", ""), self._thoughts)
        self._text += text
        self._thoughts += thought
        self._signed = thoughts.get("thinking_blocks") or self._signed
        self._calls |= {call["id"]: call for call in calls_in(message)}
        self._reason = _reason(response) or self._reason
        self._counts |= counts_in(response)
        delta = {"content": text or None, "reasoning_content": thought or None}
        return piece({"delta": delta, "logprobs": _logprobs(response)})

    def last(self) -> Any:
        """Its tool calls, why it ended, and the usage."""
        calls = [{"index": index, **call} for index, call in enumerate(self._calls.values())]
        delta = {"tool_calls": calls or None, "thinking_blocks": self._signed or None}
        choice = {
            "delta": {name: value for name, value in delta.items() if value},
            "finish_reason": _finish_reason(self._reason, calls=bool(calls)),
        }
        return piece(choice, **_usage(self._counts))


def _added(delta: str | None, so_far: str, before: str) -> str:
    """What is new; not every package says, and some say it as a whole."""
    if delta:
        return delta
    return so_far.removeprefix(before) if so_far.startswith(before) else ""


def _reason(response: ChatResponse) -> Any:
    """Why it ended, in the provider's own word."""
    raw, known = response.raw, response.message.additional_kwargs
    places = (at(raw, "choices", 0), raw, at(raw, "delta"), known, response.additional_kwargs)
    found = (at(place, name) for place in places for name in _FINISH_REASONS)
    cut = "length" if at(raw, "status") == "incomplete" else None  # OpenAI's Responses API
    return next(filter(None, found), cut)


def _finish_reason(found: Any, *, calls: bool) -> str:
    """In the provider's word, which LiteLLM's types translate."""
    word = str(getattr(found, "value", found or "stop"))
    return "tool_calls" if calls and word.lower() == "stop" else word


def _logprobs(response: ChatResponse) -> dict[str, Any] | None:
    """In OpenAI's form; nothing where it is not told which of several tokens was taken."""
    given = at(response.raw, "choices", 0, "logprobs", "content")
    if given:
        return {"content": list(map(_plain, given))}
    tokens = response.logprobs or []
    told = bool(tokens) and all(len(each) == 1 for each in tokens)
    return {"content": list(_taken(tokens))} if told else None


def _taken(tokens: Sequence[Sequence[LogProb]]) -> Iterator[dict[str, Any]]:
    for (token,) in tokens:
        yield {**token.model_dump(), "top_logprobs": []}


def _plain(token: Any) -> dict[str, Any]:
    return dict(token if isinstance(token, Mapping) else token.model_dump())


def _usage(counts: Counts) -> dict[str, Any]:
    """`Usage`, where it was reported."""
    if not counts:
        return {}
    return reported(
        prompt_tokens=counts.prompt,
        completion_tokens=counts.completion,
        cached_tokens=counts.cached,
        reasoning_tokens=counts.reasoning,
    )
