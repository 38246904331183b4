"""A span for each candidate, in LlamaIndex's instrumentation, and the events of the call."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import active_instrument_tags
from llama_index_instrumentation.events.span import SpanDropEvent
from llama_index_instrumentation.span import active_span_id

from bestroute.errors import SamplingError
from bestroute.events import Drawing, Drew
from bestroute.samples import Sample
from llamaindex_bestroute._events import as_event, plain_usage

_dispatcher = get_dispatcher(__name__)
_LEFT = SamplingError("the stream was left")


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


def changes(event: object) -> Iterator[Begin | End]:
    """The spans that begin and end with an event of the engine."""
    if isinstance(event, Drawing):
        for sample in range(event.n):
            yield Begin((event.index, sample), event.model, sample, event.reason)
    elif isinstance(event, Drew):
        yield from _drew(event)


def _drew(event: Drew) -> Iterator[Begin | End]:
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
        "usage": plain_usage(sample.prompt_tokens, sample.completion_tokens),
        "cost": sample.cost,
    }


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
        for change in changes(event):
            if isinstance(change, Begin):
                self._begin(change)
            else:
                self._end(change)
        if told := as_event(event, self.span_id):
            _dispatcher.event(told)

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
