"""Tokens as the packages of LlamaIndex report them: each in its provider's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatResponse

_WHOLE_PROMPT = ("prompt_tokens", "prompt_token_count", "prompt_eval_count")
_PROMPT = ("input_tokens", "inputTokens")  # beside it, Anthropic and Bedrock count the cache's
_COMPLETION = (
    *("completion_tokens", "output_tokens", "candidates_token_count"),
    *("outputTokens", "eval_count"),
)
_READ = ("cache_read_input_tokens", "cacheReadInputTokens")
_WRITTEN = ("cache_creation_input_tokens", "cacheWriteInputTokens")
_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("cached_content_token_count",),
)
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
)
_THOUGHTS = (("thoughts_token_count",),)  # Google counts them beside the answer's


@dataclass(frozen=True)
class Counts:
    """Tokens of an answer, as in `bestroute.samples.Usage`; false where none are reported."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    def __bool__(self) -> bool:
        """Whether anything is reported."""
        return bool(self.prompt or self.completion)

    def __or__(self, other: Counts) -> Counts:
        """Of two reports in one stream, which grow, the larger numbers."""
        return Counts(
            prompt=max(self.prompt, other.prompt),
            completion=max(self.completion, other.completion),
            cached=max(self.cached, other.cached),
            reasoning=max(self.reasoning, other.reasoning),
        )


def at(value: Any, *path: str | int) -> Any:
    """What is there in mappings, lists and objects; `None` where there is nothing."""
    for name in path:
        if isinstance(name, int):
            value = value[name] if isinstance(value, Sequence) and len(value) > name else None
        else:
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def counts_in(response: ChatResponse) -> Counts:
    """What a response reports, from the first place that reports anything."""
    return next(filter(None, map(_counts, _places(response))), Counts())


def _places(response: ChatResponse) -> Iterator[Any]:
    known = response.message.additional_kwargs
    yield from (at(response.raw, "usage"), at(response.raw, "usage_metadata"))
    yield from (at(known, "usage"), response.raw, response.additional_kwargs, known)


def _counts(report: Any) -> Counts:
    whole, read = _first(report, *_paths(_WHOLE_PROMPT)), _first(report, *_paths(_READ))
    beside = _first(report, *_paths(_PROMPT)) + read + _first(report, *_paths(_WRITTEN))
    thoughts = _first(report, *_THOUGHTS)
    return Counts(
        prompt=whole or beside,
        completion=_first(report, *_paths(_COMPLETION)) + thoughts,
        cached=_first(report, *_CACHED) or read,
        reasoning=_first(report, *_REASONING) or thoughts,
    )


def _paths(names: Sequence[str]) -> list[tuple[str]]:
    return [(name,) for name in names]


def _first(report: Any, *paths: tuple[str, ...]) -> int:
    """The first number of tokens that is given."""
    found = (at(report, *path) for path in paths)
    return next((each for each in found if isinstance(each, int) and each > 0), 0)
