"""What LlamaIndex's handlers hear of a routed call: events, and a span for each candidate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from inspect import BoundArguments, isawaitable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMCompletionEndEvent
from llama_index.core.instrumentation.events.span import SpanDropEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from bestroute import BestRoute, Cascade, ModelPool
from bestroute.errors import SamplingError
from bestroute.rewards.judge import JudgeReward
from llamaindex_bestroute import (
    BestRouteDecisionEvent,
    BestRouteLLM,
    BestRouteSelectionEvent,
)
from tests.servers import Body, ChatServer, Reply

ASK = "What is six times seven?"  # five tokens to the server
LOSER = "It must be a loser"
WHOLE = ["chat", "achat", "complete", "acomplete"]
STREAMS = ["stream_chat", "astream_chat", "stream_complete", "astream_complete"]


class Number(BaseModel):
    """A number."""

    value: int


class _Events(BaseEventHandler):
    """Keeps what it is told."""

    seen: list[BaseEvent] = []

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.seen.append(event)

    def of(self, kind: type[BaseEvent]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]


class _Spans(SimpleSpanHandler):
    """Keeps the calls and the results of spans as well."""

    calls: dict[str, BoundArguments] = {}
    results: dict[str, Any] = {}

    def new_span(self, id_: str, bound_args: BoundArguments, *args: Any, **kwargs: Any) -> Any:
        self.calls[id_] = bound_args
        return super().new_span(id_, bound_args, *args, **kwargs)

    def prepare_to_exit_span(
        self, id_: str, bound_args: BoundArguments, *args: Any, **kwargs: Any
    ) -> Any:
        self.results[id_] = kwargs.get("result")
        return super().prepare_to_exit_span(id_, bound_args, *args, **kwargs)

    def candidates(self) -> list[str]:
        return [id_ for id_ in self.calls if "candidate" in id_]


@pytest.fixture
def events() -> Iterator[_Events]:
    root, handler = get_dispatcher(), _Events(seen=[])
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.fixture
def spans() -> Iterator[_Spans]:
    root, handler = get_dispatcher(), _Spans()
    handler.calls, handler.results = {}, {}
    root.add_span_handler(handler)
    yield handler
    root.span_handlers.remove(handler)


async def _call(llm: BestRouteLLM, method: str, **options: Any) -> Any:
    """The last response of any of the eight methods."""
    given: Any = [ChatMessage(ASK)] if "chat" in method else ASK
    answer = getattr(llm, method)(given, **options)
    answer = await answer if isawaitable(answer) else answer
    if isinstance(answer, AsyncIterator):
        return [piece async for piece in answer][-1]
    return list(answer)[-1] if isinstance(answer, Iterator) else answer


def _two_to_one(body: Body) -> Reply:
    return Reply(["It is 42", LOSER, "It is 42"])


def _llm(pool: Any, **options: Any) -> BestRouteLLM:
    """Content with two of three."""
    engine = BestRoute(ModelPool.from_dict(pool), policy=Cascade(agreement=0.6), **options)
    return BestRouteLLM(engine=engine)


@pytest.mark.parametrize("method", [*WHOLE, *STREAMS])
async def test_decision_and_selection_are_events(
    method: str, pool: Any, chat_server: ChatServer, events: _Events
) -> None:
    chat_server.reply = _two_to_one
    response = await _call(_llm(pool), method)
    [decided] = events.of(BestRouteDecisionEvent)
    [selected] = events.of(BestRouteSelectionEvent)
    assert decided.decision["arm"] == response.raw["bestroute"]["arm"] == "openai/small:3"
    assert decided.decision["policy"] == "cascade"
    assert selected.models == ["openai/small"] * 3
    assert selected.winner in (0, 2)
    assert selected.scores[1] == min(selected.scores)
    assert selected.invalid == {}
    usage = {name: response.raw["usage"][name] for name in selected.usage}
    assert (
        selected.usage
        == usage
        == {
            "prompt_tokens": 5,
            "completion_tokens": 11,
            "total_tokens": 16,
        }
    )
    assert selected.cost == pytest.approx(response.raw["bestroute"]["cost"])
    order = [type(event) for event in events.seen]
    ends = LLMChatEndEvent if "chat" in method else LLMCompletionEndEvent
    assert order.count(ends) == 1  # candidates end no call
    assert order.index(BestRouteDecisionEvent) < order.index(BestRouteSelectionEvent)
    assert order.index(BestRouteSelectionEvent) < order.index(ends)
    for event in (decided, selected):
        data = event.model_dump()
        assert data["class_name"] == type(event).__name__
        assert json.loads(json.dumps(data, default=str))


@pytest.mark.parametrize("method", [*WHOLE, *STREAMS])
async def test_each_candidate_is_a_span_of_the_call(
    method: str, pool: Any, chat_server: ChatServer, spans: _Spans, events: _Events
) -> None:
    chat_server.reply = _two_to_one
    await _call(_llm(pool), method)
    assert spans.open_spans == {}
    assert spans.dropped_spans == []
    done = {span.id_: span for span in spans.completed_spans}
    [call] = [id_ for id_ in done if id_.startswith(f"BestRouteLLM.{method}-")]
    candidates = spans.candidates()
    assert len(set(candidates)) == 3
    assert {done[id_].parent_id for id_ in candidates} == {call}
    assert {event.span_id for event in events.of(BestRouteDecisionEvent)} == {call}
    assert {event.span_id for event in events.of(BestRouteSelectionEvent)} == {call}
    called = [spans.calls[id_].arguments for id_ in candidates]
    assert [(each["model"], each["sample"]) for each in called] == [
        ("openai/small", 0),
        ("openai/small", 1),
        ("openai/small", 2),
    ]
    results = [spans.results[id_] for id_ in candidates]
    assert [each["usage"]["completion_tokens"] for each in results] == [3, 5, 3]
    assert sum(each["usage"]["prompt_tokens"] for each in results) == 5


@pytest.mark.parametrize("method", [*WHOLE, *STREAMS])
async def test_losers_are_not_told_of(
    method: str, pool: Any, chat_server: ChatServer, spans: _Spans, events: _Events
) -> None:
    chat_server.reply = _two_to_one
    await _call(_llm(pool), method)
    told = [event.model_dump() for event in events.seen]
    assert "It is 42" in str(told)
    assert LOSER not in str((told, spans.results, spans.calls))


@pytest.mark.parametrize("method", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_an_escalation(
    method: str, pool: Any, chat_server: ChatServer, spans: _Spans, events: _Events
) -> None:
    def reply(body: Body) -> Reply:
        return Reply(["42"] if body["model"] == "big" else ["41", "40", "43"])

    chat_server.reply = reply
    await _call(BestRouteLLM(pool), method)
    assert spans.open_spans == {}
    models = [spans.calls[id_].arguments["model"] for id_ in spans.candidates()]
    assert models == ["openai/small"] * 3 + ["openai/big"]
    assert len(events.of(BestRouteDecisionEvent)) == 1
    assert events.of(BestRouteSelectionEvent)[-1].models[-1] == "openai/big"


@pytest.mark.parametrize("method", [*WHOLE, *STREAMS])
async def test_a_failure_drops_the_spans(
    method: str, one_model: Any, chat_server: ChatServer, spans: _Spans, events: _Events
) -> None:
    chat_server.reply = Reply("no such model", status=404)
    with pytest.raises(SamplingError):
        await _call(BestRouteLLM(one_model), method)
    assert spans.open_spans == {}
    dropped = [span for span in spans.dropped_spans if "candidate" in span.id_]
    assert [span.id_ for span in dropped] == spans.candidates()
    assert dropped
    assert "no such model" in dropped[0].metadata["error"]
    assert dropped[0].id_ in {event.span_id for event in events.of(SpanDropEvent)}


@pytest.mark.parametrize("kept", [False, True])
async def test_a_stream_that_is_left_ends_at_once(
    kept: bool, one_model: Any, chat_server: ChatServer, spans: _Spans, events: _Events
) -> None:
    """Also where a handler keeps the exception, and with it LlamaIndex's own generator."""
    chat_server.reply = "one two three"
    llm = BestRouteLLM(one_model)
    if kept:
        llm.callback_manager = CallbackManager([LlamaDebugHandler(print_trace_on_end=False)])
    for stream in (llm.stream_chat([ChatMessage(ASK)]), llm.stream_complete(ASK)):
        next(stream)
        stream.close()
        assert spans.open_spans == {}
    for astream in (await llm.astream_chat([ChatMessage(ASK)]), await llm.astream_complete(ASK)):
        await anext(astream)
        await astream.aclose()
        assert spans.open_spans == {}
    dropped = [span for span in spans.dropped_spans if "candidate" in span.id_]
    assert [span.metadata["error"] for span in dropped] == ["the stream was left"] * 4


async def test_a_structured_answer_is_one_span(
    one_model: Any, chat_server: ChatServer, spans: _Spans
) -> None:
    function = {"name": "Number", "arguments": '{"value": 42}'}
    chat_server.reply = Reply([{"tool_calls": [{"id": "c1", "function": function}]}])
    one_model["models"][0]["tools"] = True
    llm = BestRouteLLM(one_model)
    assert llm.structured_predict(Number, PromptTemplate(ASK)).value == 42
    assert (await llm.astructured_predict(Number, PromptTemplate(ASK))).value == 42
    names = [span.id_.partition("-")[0] for span in spans.completed_spans]
    for name in ("structured_predict", "astructured_predict"):
        assert names.count(f"BestRouteLLM.{name}") == 1


async def test_a_stream_that_breaks_off(
    one_model: Any, chat_server: ChatServer, spans: _Spans
) -> None:
    chat_server.reply = Reply("one two three four", cut_after=3)
    llm = BestRouteLLM(one_model)
    for method in ("stream_chat", "astream_chat"):
        with pytest.raises(SamplingError, match="broke off"):
            await _call(llm, method)
    assert spans.open_spans == {}


async def test_calls_side_by_side_have_their_own_spans(
    pool: Any, chat_server: ChatServer, spans: _Spans
) -> None:
    chat_server.reply = _two_to_one
    llm = _llm(pool)
    await asyncio.gather(*(llm.achat([ChatMessage(ASK)]) for _ in range(4)))
    done = {span.id_: span for span in spans.completed_spans}
    parents = [done[id_].parent_id for id_ in spans.candidates()]
    assert sorted(map(parents.count, set(parents))) == [3, 3, 3, 3]


@pytest.mark.parametrize("method", [*WHOLE, *STREAMS])
async def test_what_a_judge_is_paid_is_counted(
    method: str, pool: Any, chat_server: ChatServer, events: _Events
) -> None:
    judging = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}

    def reply(body: Body) -> Reply:
        if body["model"] == "judge":
            return Reply("Score: 7", usage=judging)
        return _two_to_one(body)

    chat_server.reply = reply
    counter = TokenCountingHandler()
    llm = _llm(pool, reward=JudgeReward("openai/judge", params=chat_server.params))
    llm.callback_manager = CallbackManager([counter])
    response = await _call(llm, method)
    judged = sum(body["model"] == "judge" for body in chat_server.requests)
    assert judged
    assert counter.prompt_llm_token_count == 5 + judged * 100
    assert counter.completion_llm_token_count == 11 + judged * 7
    assert response.additional_kwargs["total_tokens"] == 16 + judged * 107
    [selected] = events.of(BestRouteSelectionEvent)
    assert selected.usage == response.additional_kwargs
