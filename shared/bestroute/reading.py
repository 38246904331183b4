"""Samples out of a response, each with its part of what the call used and cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from bestroute import catalog
from bestroute.billing import Billing, call_cost
from bestroute.pool import PooledModel, Price
from bestroute.samples import Sample, Usage


def read(
    response: Any, member: PooledModel, prompt_text: str, billing: Billing
) -> tuple[list[Sample], Usage, float | None]:
    """The usable samples of a call, its usage, and its cost in $.

    Args:
        response: LiteLLM's, or one like it.
        member: Who answered.
        prompt_text: What was sent.
        billing: Knows what the provider's report is worth.
    """
    messages = [choice.message.model_dump(exclude_none=True) for choice in response.choices]
    counts = [billing.tokens(member, message) for message in messages]
    usage = billing.usage(response, member, prompt_text, counts)
    cost = call_cost(response, member, usage)
    written = _apportion(usage.completion_tokens, counts)
    usable = [
        index
        for index, message in enumerate(messages)
        if any(message.get(name) for name in ("content", "tool_calls", "refusal", "images"))
    ]
    prompts = _apportion(usage.prompt_tokens, [1] * len(usable))
    costs = _cost_parts(member, cost, prompts, [written[index] for index in usable])
    samples = [
        Sample(
            model=member.name,
            message=messages[index],
            finish_reason=response.choices[index].finish_reason or "stop",
            completion_tokens=written[index],
            prompt_tokens=prompt_tokens,
            cost=part,
            logprobs=_plain(getattr(response.choices[index], "logprobs", None)),
        )
        for index, prompt_tokens, part in zip(usable, prompts, costs, strict=True)
    ]
    return samples, usage, cost


def streamed_logprobs(chunks: Sequence[Any]) -> dict[str, Any] | None:
    """Log-probabilities of all tokens of a stream of one choice, in OpenAI's form."""
    pieces = [
        _plain(getattr(choice, "logprobs", None)) for chunk in chunks for choice in chunk.choices
    ]
    tokens = [token for piece in pieces if piece for token in piece.get("content") or ()]
    return {"content": tokens} if tokens else None


def _plain(logprobs: Any) -> dict[str, Any] | None:
    if logprobs is None or isinstance(logprobs, dict):
        return logprobs or None
    found: dict[str, Any] = logprobs.model_dump()
    return found


def _apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole parts that are as the weights and add up to the total; even ones if all are 0."""
    weights = weights if any(weights) else [1] * len(weights)
    ends = [round(total * end / sum(weights)) for end in accumulate(weights)]
    return [end - start for start, end in pairwise([0, *ends])]


def _cost_parts(
    member: PooledModel, cost: float | None, prompts: Sequence[int], written: Sequence[int]
) -> list[float | None]:
    """Parts of a call's cost in $, by the price of each sample's tokens."""
    if cost is None:
        return [None] * len(prompts)
    price = catalog.price(member) or Price(input=1, output=1)
    weights = [price.cost(*tokens) for tokens in zip(prompts, written, strict=True)]
    whole = sum(weights)
    return [cost * each / whole if whole else cost / len(weights) for each in weights]
