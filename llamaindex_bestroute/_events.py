"""What the engine does, as LlamaIndex's events and spans: plain data, no candidate's text."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.dispatcher import active_instrument_tags
from llama_index_instrumentation.events.span import SpanDropEvent
from llama_index_instrumentation.span import active_span_id

from bestroute import Decision
from bestroute.errors import SamplingError
from bestroute.events import Decided, Drawing, Drew, Selected
from bestroute.samples import Call, Sample, total_cost, total_usage

_dispatcher = get_dispatcher(__name__)
_LEFT = SamplingError("the stream was left")


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


@dataclass(frozen=True)
class Begin:
    """The span of a candidate begins."""

    key: Hashable
    model: str
    sample: int
    reason: str


@dataclass(frozen=True)
class End:
    """The span of a candidate ends, well or with an error."""

    key: Hashable
    result: dict[str, Any] | None = None
    error: SamplingError | None = None


Change = BaseEvent | Begin | End


def changes(event: object, span_id: str | None) -> Iterator[Change]:
    """What LlamaIndex's handlers are told of an event of the engine.

    Args:
        event: The event.
        span_id: The span of the call.
    """
    if isinstance(event, Decided):
        yield BestRouteDecisionEvent(span_id=span_id, decision=_plain(event.decision))
    elif isinstance(event, Drawing):
        for sample in range(event.n):
            yield Begin((event.index, sample), event.model, sample, event.reason)
    elif isinstance(event, Drew):
        yield from _drew(event)
    elif isinstance(event, Selected):
        yield _selection(event, span_id)


def _plain(decision: Decision) -> dict[str, Any]:
    return {**decision.model_dump(mode="json"), "arm": str(decision.arm)}


def _drew(event: Drew) -> Iterator[Change]:
    for index, sample in enumerate(event.samples):
        key = (event.index, index)
        if index >= event.asked:
            yield Begin(key, event.model, index, "more than asked for")
        yield End(key, _facts(sample))
    causes = "; ".join(call.error for call in event.calls if call.error)
    for index in range(len(event.samples), event.asked):
        error = SamplingError(f"{event.model} gave no sample ({causes})", calls=event.calls)
        yield End((event.index, index), error=error)


def _facts(sample: Sample) -> dict[str, Any]:
    return {
        "model": sample.model,
        "finish_reason": sample.finish_reason,
        "usage": _usage(sample.prompt_tokens, sample.completion_tokens),
        "cost": sample.cost,
    }


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
        usage=_usage(prompt + judged.prompt_tokens, completion + judged.completion_tokens),
        cost=_cost(event.samples, event.calls),
    )


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _cost(samples: Sequence[Sample], calls: Sequence[Call]) -> float | None:
    costs = [sample.cost for sample in samples] + [total_cost(calls)]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def candidate(*, model: str, sample: int, reason: str) -> None:
    """What a candidate's span says it was called with.

    Args:
        model: Name of the model in the pool.
        sample: Which sample of the draw, from 0.
        reason: Why it is drawn, in words.
    """


@dataclass
class Trace:
    """Events and spans of one call: those of the span in which it is made.

    LlamaIndex's handlers are told at once, in sync and async code alike, as by its own
    decorators.
    """

    span_id: str | None = field(default_factory=active_span_id.get)
    tags: dict[str, Any] = field(default_factory=active_instrument_tags.get)
    _open: dict[Hashable, tuple[str, inspect.BoundArguments]] = field(
        init=False, default_factory=dict
    )

    def see(self, event: object) -> None:
        """Tell the handlers what an event of the engine means to them."""
        for change in changes(event, self.span_id):
            if isinstance(change, Begin):
                self._begin(change)
            elif isinstance(change, End):
                self._end(change)
            else:
                _dispatcher.event(change)

    def _begin(self, change: Begin) -> None:
        arguments = inspect.signature(candidate).bind(
            model=change.model, sample=change.sample, reason=change.reason
        )
        span_id = f"BestRouteLLM.candidate-{uuid.uuid4()}"
        self._open[change.key] = span_id, arguments
        _dispatcher.span_enter(span_id, arguments, parent_id=self.span_id, tags=self.tags)

    def _end(self, change: End) -> None:
        if change.error is not None:
            self._drop(change.key, change.error)
            return
        span_id, arguments = self._open.pop(change.key)
        _dispatcher.span_exit(span_id, arguments, result=change.result)

    def _drop(self, key: Hashable, error: BaseException) -> None:
        span_id, arguments = self._open.pop(key)
        _dispatcher.event(SpanDropEvent(span_id=span_id, err_str=str(error)))
        _dispatcher.span_drop(span_id, arguments, err=error)

    def __enter__(self) -> Trace:
        """The trace of one call."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Drop the spans that are still open."""
        left = _LEFT if error is None or isinstance(error, GeneratorExit) else error
        for key in list(self._open):
            self._drop(key, left)
