"""Observers: callbacks, events and spans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler


class Callbacks(BaseCallbackHandler):
    """Keeps the starts and ends of LLM events, as (id, payload)."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.starts: list[tuple[str, dict[Any, Any]]] = []
        self.ends: list[tuple[str, dict[Any, Any]]] = []

    @property
    def manager(self) -> CallbackManager:
        """For an LLM."""
        return CallbackManager([self])

    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        if event_type is CBEventType.LLM:
            self.starts.append((event_id, dict(payload or {})))
        return event_id

    def on_event_end(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        **kwargs: Any,
    ) -> None:
        if event_type is CBEventType.LLM:
            self.ends.append((event_id, dict(payload or {})))

    def start_trace(self, trace_id: str | None = None) -> None:
        """Not kept."""

    def end_trace(
        self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None
    ) -> None:
        """Not kept."""


class _Events(BaseEventHandler):
    seen: list[BaseEvent]

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.seen.append(event)


@dataclass
class Heard:
    """What the instrumentation told.

    Attributes:
        events: In their order.
        spans: Those that were opened.
    """

    events: list[BaseEvent] = field(default_factory=list)
    spans: SimpleSpanHandler = field(default_factory=SimpleSpanHandler)

    def of(self, kind: type[BaseEvent]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def listening() -> Iterator[Heard]:
    """Hear everything that is told meanwhile."""
    heard, root = Heard(), get_dispatcher()
    events = _Events.model_construct(seen=heard.events)
    root.add_event_handler(events)
    root.add_span_handler(heard.spans)
    try:
        yield heard
    finally:
        root.event_handlers.remove(events)
        root.span_handlers.remove(heard.spans)
