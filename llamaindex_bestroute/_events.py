"""LlamaIndex's events of what the engine does: plain data, no candidate's text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index_instrumentation.base import BaseEvent

from bestroute import Decision
from bestroute.events import Decided, Selected
from bestroute.samples import Call, Sample, total_cost, total_usage


class BestRouteDecisionEvent(BaseEvent):
    """The router has decided; no model has been asked yet.

    Attributes:
        decision: The arm, why, by which policy, and the estimates behind it.
    """

    decision: dict[str, Any]

    @classmethod
    def class_name(cls) -> str:
        """The name in dumps."""
        return "BestRouteDecisionEvent"


class BestRouteSelectionEvent(BaseEvent):
    """The candidates have been compared; again for each time that others were asked.

    Attributes:
        models: Pool name of the model of each candidate.
        scores: What the reward model said of each; `None` where it said nothing.
        winner: Index of the best one; `None` when none is valid.
        invalid: Index of each candidate that cannot be used, and why.
        usage: Tokens of the candidates, and of a reward model that asks a model.
        cost: $ of the same; `None` if a price is unknown.
    """

    models: list[str]
    scores: list[float | None]
    winner: int | None
    invalid: dict[int, str]
    usage: dict[str, int]
    cost: float | None

    @classmethod
    def class_name(cls) -> str:
        """The name in dumps."""
        return "BestRouteSelectionEvent"


def as_event(event: object, span_id: str | None) -> BaseEvent | None:
    """An event of the engine in LlamaIndex's form, if it has one.

    Args:
        event: The event.
        span_id: The span of the call.
    """
    if isinstance(event, Decided):
        return BestRouteDecisionEvent(span_id=span_id, decision=_plain(event.decision))
    return _selection(event, span_id) if isinstance(event, Selected) else None


def _plain(decision: Decision) -> dict[str, Any]:
    return {**decision.model_dump(mode="json"), "arm": str(decision.arm)}


def _selection(event: Selected, span_id: str | None) -> BestRouteSelectionEvent:
    judged = total_usage(event.calls)
    prompt = sum(each.prompt_tokens for each in event.samples)
    completion = sum(each.completion_tokens for each in event.samples)
    return BestRouteSelectionEvent(
        span_id=span_id,
        models=[each.model for each in event.samples],
        scores=[each.score for each in event.samples],
        winner=event.winner,
        invalid=dict(event.invalid),
        usage=plain_usage(prompt + judged.prompt_tokens, completion + judged.completion_tokens),
        cost=_cost(event.samples, event.calls),
    )


def _cost(samples: Sequence[Sample], calls: Sequence[Call]) -> float | None:
    costs = [sample.cost for sample in samples] + [total_cost(calls)]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def plain_usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Tokens in OpenAI's names."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
