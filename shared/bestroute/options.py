"""The options of a routed call: the router's knobs, and the parameters of the model called."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from numbers import Integral, Real
from re import Pattern
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

from bestroute.errors import ConfigError
from bestroute.query import Request
from bestroute.target import ASKED, KNOBS, OnUncertified, Target

Messages = str | Sequence[Mapping[str, Any]]

LIMITS = ("model", "models", "max_n", "max_cost", "timeout", "cached_tokens")
READING = ("query_text", "query_turns", "query_pattern")
_FOR_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")

_KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    **dict.fromkeys(
        (*KNOBS, "confidence", "max_cost", "timeout", "temperature"), (Real, "a number")
    ),
    **dict.fromkeys(("max_n", "streaming_max_n", "query_turns"), (Integral, "a whole number")),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "seed"), (Integral, "a whole number")),
    **dict.fromkeys(("model", "query_text"), (str, "a text")),
    "models": (Collection, "names of models"),
    "cached_tokens": (Mapping, "tokens by the name of a model"),
    "query_pattern": ((str, Pattern), "a regular expression"),
    "answer_schema": (Mapping, "a JSON schema"),
    **dict.fromkeys(("extra_headers", "extra_body"), (Mapping, "values by name")),
}
"""What options must be, where a wrong type would go far before it is noticed."""

_LARGEST = 2**63
"""Larger numbers are neither a float nor a provider's integer."""


class Options(TypedDict, total=False):
    """What a call may say beside its messages; `None` is as good as left out.

    Attributes:
        threshold: Smallest match probability that qualifies an arm, instead of the engine's
            policy; or, one of them,
        max_drop: the largest relative quality drop that is promised, or
        target_cost: $ for 1,000 queries, as measured in calibration.
        confidence: Of `max_drop`, by default 0.95.
        on_uncertified: Whether a `max_drop` that is not certified raises (the default), or asks
            the reference.
        model: Name or LiteLLM id of a member of the pool (one sample of it), or an arm
            `name:n`: it answers without routing, and no other model stands in.
        models: Names in the pool: the call is routed among these alone.
        max_n: Largest number of samples of one model.
        streaming_max_n: The same, where the answer is streamed: one sample streams as it comes,
            of several the best comes in one piece.
        max_cost: $ that this request may cost at most, escalation included: docs/money.md.
        timeout: Seconds for the whole call, retries, reward model and streaming included. When
            only the engine's `fallback_share` of them is left and nothing has come, all other
            models are asked side by side; at the end the best of what came is the answer.
        cached_tokens: By model, how many tokens of the prompt its provider still holds in its
            prompt cache: they are estimated at the cached price.
        query_text: What the router reads, where the caller knows better than the messages.
        query_turns: How many of the last user turns the router reads, by default one.
        query_pattern: Regular expression that finds the query in those turns: its first group,
            or all that it matches, is what the router reads; without a match, all of them.
        answer_schema: JSON schema that the answer's text must follow, or the object within it;
            samples that do not are dropped. It is not sent: for prompts that ask for JSON, and
            JSON mode.
        temperature, top_p, max_tokens, max_completion_tokens, stop, seed, tools,
            tool_choice, parallel_tool_calls, response_format, presence_penalty,
            frequency_penalty, logit_bias, logprobs, top_logprobs, reasoning_effort, user,
            extra_headers, extra_body: OpenAI's parameters in LiteLLM's names; any
            other that LiteLLM knows is taken as well. They win over the pool's own.
    """

    threshold: float | None
    max_drop: float | None
    target_cost: float | None
    confidence: float | None
    on_uncertified: OnUncertified | None
    model: str | None
    models: Collection[str] | None
    max_n: int | None
    streaming_max_n: int | None
    max_cost: float | None
    timeout: float | None
    cached_tokens: Mapping[str, int] | None
    query_text: str | None
    query_turns: int | None
    query_pattern: str | None
    answer_schema: Mapping[str, Any] | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: Any
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    reasoning_effort: str | None
    user: str | None
    extra_headers: Mapping[str, str] | None
    extra_body: Any


@dataclass(frozen=True)
class Limits:
    """What a call rules out, and what it knows about the providers' caches; see `Options`.

    Raises:
        ConfigError: A value is out of range.
    """

    model: str | None = None
    models: Collection[str] | None = None
    max_n: int | None = None
    max_cost: float | None = None
    timeout: float | None = None
    cached_tokens: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.max_n is not None and self.max_n < 1:
            raise ConfigError(f"max_n is {self.max_n}; expected at least 1")
        if self.max_cost is not None and not 0 <= self.max_cost < math.inf:
            raise ConfigError(f"max_cost is {self.max_cost}; expected $ for one request")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigError(f"timeout is {self.timeout}; expected seconds for the whole call")
        for model, tokens in self.cached_tokens.items():
            if not (isinstance(tokens, Integral) and tokens >= 0):
                raise ConfigError(f"cached_tokens of {model!r} is {tokens!r}; expected 0 or more")


class Asked(NamedTuple):
    """A call, read: the request, what is asked of the router, and what limits it."""

    request: Request
    target: Target
    limits: Limits


def read(messages: Messages, options: Mapping[str, Any], *, streaming: bool = False) -> Asked:
    """Sort a call's options by whom they are for.

    Args:
        messages: OpenAI-format messages, or the text of one user message.
        options: See `Options`.
        streaming: Whether the answer is streamed.

    Raises:
        RequestError: The request is malformed.
        ConfigError: Options contradict each other, are out of range, or of a wrong type.
    """
    given = {name: value for name, value in options.items() if value is not None}
    _check_kinds(given)
    if "tools" in given and not given["tools"]:
        _taken(given, _FOR_TOOLS)  # providers refuse an empty list, and the rest without one
    target = Target(**_taken(given, ASKED))
    most_when_streaming = given.pop("streaming_max_n", None)
    limits = _taken(given, LIMITS)
    if streaming and most_when_streaming is not None:
        limits["max_n"] = min(most_when_streaming, limits.get("max_n", most_when_streaming))
    fields = _taken(given, (*READING, "answer_schema"))
    _check_spelling(given)
    return Asked(Request.build(messages, given, **fields), target, Limits(**limits))


def _check_kinds(given: Mapping[str, Any]) -> None:
    for name in _KINDS.keys() & given:
        (kind, words), value = _KINDS[name], given[name]
        fits = isinstance(value, kind) and not isinstance(value, bool)
        if fits and isinstance(value, int | float):
            fits = abs(value) <= _LARGEST or abs(value) == math.inf  # and not NaN
        if not fits or (name == "models" and isinstance(value, str | bytes)):
            raise ConfigError(f"{name} is {value!r:.200}; expected {words}")


_SHORT = 5
"""Names up to this length are alike too easily: `mode` is no `model`."""


def _check_spelling(params: Mapping[str, Any]) -> None:
    """What is left goes to the provider; a misspelt option of ours would do nothing there."""
    ours = (*ASKED, *LIMITS, *READING, "streaming_max_n")
    for name in params.keys() - Options.__annotations__.keys():
        close = get_close_matches(name, ours, n=1, cutoff=0.85)
        if close and len(name) > _SHORT:
            raise ConfigError(f"unknown option {name!r}; did you mean {close[0]!r}?")


def _taken(given: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: given.pop(name) for name in names if name in given}
