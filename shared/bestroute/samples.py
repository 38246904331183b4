"""What comes back from models: samples, the calls that made them, and what they used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Usage(BaseModel):
    """Tokens that were billed.

    Attributes:
        prompt_tokens: Prompt tokens, counted as often as the provider bills them.
        completion_tokens: Completion tokens of all choices.
        cached_tokens: The share of the prompt tokens read from the provider's cache.
        reasoning_tokens: The share of the completion tokens spent on hidden reasoning.
        estimated: Whether a number had to be counted here, for want of a credible report.
    """

    model_config = ConfigDict(frozen=True)

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """The sum of two usages."""
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            estimated=self.estimated or other.estimated,
        )


class Sample(BaseModel):
    """One response of one model.

    Attributes:
        model: Name of the model in the pool.
        message: The assistant message in OpenAI format (content, tool_calls ...).
        finish_reason: Why it ended (stop, length, tool_calls, content_filter).
        completion_tokens: Tokens of this response alone, where known or estimated.
        prompt_tokens: Its part of the prompt tokens that its call was billed: an even one.
        cost: Its part of what its call cost in $, by its tokens; `None` when no price is known.
            The parts of a call's samples add up to the call: empty choices are no samples, and
            the others bear what they cost.
        logprobs: Log-probabilities of its tokens in OpenAI's form, where they were asked for.
        score: What the reward model said, once it has spoken.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    message: dict[str, Any]
    finish_reason: str = "stop"
    completion_tokens: int = 0
    prompt_tokens: int = 0
    cost: float | None = None
    logprobs: dict[str, Any] | None = None
    score: float | None = None

    @property
    def logprob(self) -> float | None:
        """Mean log-probability of its tokens in nats; `None` where none were given."""
        tokens = (self.logprobs or {}).get("content")
        given = [each.get("logprob") for each in tokens or () if isinstance(each, dict)]
        known = [value for value in given if isinstance(value, int | float)]
        return math.fsum(known) / len(known) if known else None

    @property
    def text(self) -> str:
        """The response's text; empty when it only calls tools."""
        content = self.message.get("content")
        return content if isinstance(content, str) else ""

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """Tool calls in OpenAI format."""
        return list(self.message.get("tool_calls") or ())


class Call(BaseModel):
    """One call to a provider, successful or not.

    Attributes:
        model: Name of the model in the pool.
        requested: Number of samples asked for.
        received: Number of samples that came.
        usage: Tokens billed.
        cost: $; `None` when no price is known.
        latency: Seconds.
        error: The exception's class and message when it failed.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    requested: int
    received: int = 0
    usage: Usage = Field(default_factory=Usage)
    cost: float | None = None
    latency: float = 0.0
    error: str | None = None


def total_usage(calls: Iterable[Call]) -> Usage:
    """Usage of several calls together."""
    return sum((call.usage for call in calls), Usage())


def total_cost(calls: Iterable[Call]) -> float | None:
    """$ of several calls together; `None` if a call that used tokens has no price."""
    billed = [call for call in calls if call.cost is not None or call.usage.total_tokens]
    known = [call.cost for call in billed if call.cost is not None]
    return sum(known) if len(known) == len(billed) else None


def causes(calls: Iterable[Call]) -> str:
    """Why calls failed, in words: each reason once, model by model."""
    failed = Counter((call.model, call.error) for call in calls if call.error)
    told: dict[str, list[str]] = {}
    for (model, error), times in failed.items():
        told.setdefault(model, []).append(f"{error} ({times} times)" if times > 1 else str(error))
    return "; ".join(f"{model}: {', '.join(errors)}" for model, errors in told.items())
