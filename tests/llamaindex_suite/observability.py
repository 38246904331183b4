"""Callbacks and instrumentation."""

from __future__ import annotations

import pytest
from llama_index.core.callbacks import EventPayload
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
    LLMCompletionStartEvent,
)

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import ANSWER, ASK, CHATS, DOORS, STREAMS, WHOLE, last, text
from tests.llamaindex_suite.listening import Callbacks, listening
from tests.servers import Reply

_CHAT = (LLMChatStartEvent, LLMChatInProgressEvent, LLMChatEndEvent)
_COMPLETION = (LLMCompletionStartEvent, LLMCompletionInProgressEvent, LLMCompletionEndEvent)


class Observability(Capabilities):
    """What observers are told of a call."""

    @pytest.mark.parametrize("door", DOORS)
    async def test_callbacks(self, door: str) -> None:
        """One call is one LLM event: decorate each method, and call undecorated ones inside."""
        callbacks = Callbacks()
        await last(self.llm(callback_manager=callbacks.manager), door)
        [(started, start)], [(ended, end)] = callbacks.starts, callbacks.ends
        assert started == ended
        if door in CHATS:
            assert [each.content for each in start[EventPayload.MESSAGES]] == [ASK]
            assert text(end[EventPayload.RESPONSE]) == ANSWER
        else:
            assert start[EventPayload.PROMPT] == ASK
            assert text(end[EventPayload.COMPLETION]) == ANSWER

    @pytest.mark.parametrize("door", WHOLE)
    async def test_callbacks_of_a_failure(self, door: str) -> None:
        """A call that fails ends too, with its exception: raise inside the decorated method."""
        callbacks = Callbacks()
        self.provider.script = Reply("no such thing", status=400)
        with pytest.raises(Exception, match="no such thing"):
            await last(self.llm(callback_manager=callbacks.manager), door)
        [(_, end)] = callbacks.ends
        assert "no such thing" in str(end[EventPayload.EXCEPTION])

    @pytest.mark.parametrize("door", STREAMS)
    async def test_callbacks_of_a_failing_stream(self, door: str) -> None:
        """So does a stream: let exceptions pass through its generator."""
        callbacks = Callbacks()
        self.provider.script = Reply("no such thing", status=400)
        with listening() as heard, pytest.raises(Exception, match="no such thing"):
            await last(self.llm(callback_manager=callbacks.manager), door)
        [(_, end)] = callbacks.ends
        assert "no such thing" in str(end[EventPayload.EXCEPTION])
        told = [str(each.exception) for each in heard.of(ExceptionEvent)]
        assert not told or "no such thing" in told[0]

    @pytest.mark.parametrize("door", DOORS)
    async def test_events(self, door: str) -> None:
        """Start, pieces and end of its own kind, once: decorate with the right decorator."""
        llm = self.llm()
        with listening() as heard:
            await last(llm, door)
        own, other = (_CHAT, _COMPLETION) if door in CHATS else (_COMPLETION, _CHAT)
        start, progress, end = (heard.of(kind) for kind in own)
        assert len(start) == len(end) == 1
        assert bool(progress) == (door in STREAMS)
        assert text(end[0].response) == ANSWER
        assert start[0].model_dict["class_name"] == llm.class_name()
        assert not any(heard.of(kind) for kind in other)

    @pytest.mark.parametrize("door", DOORS)
    async def test_spans(self, door: str) -> None:
        """A call is a span, and it closes: leave spans to the base class and the decorators."""
        with listening() as heard:
            await last(self.llm(), door)
        name = f"{self.llm_class.__name__}.{door}"
        assert [each for each in heard.spans.completed_spans if each.id_.startswith(name)]
        assert heard.spans.open_spans == {}
        assert heard.spans.dropped_spans == []

    @pytest.mark.parametrize("door", WHOLE)
    async def test_span_of_a_failure(self, door: str) -> None:
        """The span of a call that fails is dropped, not left open."""
        self.provider.script = Reply("no such thing", status=400)
        with listening() as heard, pytest.raises(Exception, match="no such thing"):
            await last(self.llm(), door)
        assert heard.spans.open_spans == {}
        assert heard.spans.dropped_spans

    @pytest.mark.parametrize("door", DOORS)
    async def test_events_can_be_written_down(self, door: str) -> None:
        """Observers store events as JSON: make `raw` plain data, or a pydantic model."""
        with listening() as heard:
            await last(self.llm(), door)
        for kind in (*_CHAT, *_COMPLETION):
            for event in heard.of(kind):
                assert event.model_dump(mode="json")
