"""The eight methods over HTTP: answers, streams, usage, callbacks and events."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LogProb
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.prompts import PromptTemplate
from llama_index.core.rate_limiter import BaseRateLimiter

from bestroute import BestRoute, Cascade, ModelPool
from bestroute.errors import RequestError, SamplingError
from bestroute.policy.base import Accept, Draw, State
from llamaindex_bestroute import BestRouteLLM
from tests.servers import Body, ChatServer, Reply

Response = ChatResponse | CompletionResponse

ASK = "What is six times seven?"  # five tokens to the server
CHAT = [ChatMessage(ASK)]
TOTAL = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}


def text(response: Response) -> str | None:
    return response.text if isinstance(response, CompletionResponse) else response.message.content


async def _whole(llm: BestRouteLLM, method: str, **options: Any) -> Response:
    chat = "chat" in method
    given: Any = CHAT if chat else ASK
    answer = getattr(llm, method)(given, **options)
    return await answer if inspect.isawaitable(answer) else answer


async def _pieces(llm: BestRouteLLM, method: str, **options: Any) -> list[Response]:
    stream = await _whole(llm, method, **options)
    if isinstance(stream, AsyncIterator):
        return [piece async for piece in stream]
    assert isinstance(stream, Iterator)
    return list(stream)


WHOLE = ["chat", "achat", "complete", "acomplete"]
STREAMS = ["stream_chat", "astream_chat", "stream_complete", "astream_complete"]


@pytest.mark.parametrize("method", WHOLE)
async def test_the_whole_answer(method: str, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    response = await _whole(BestRouteLLM(pool), method)
    assert text(response) == "It is 42"
    assert isinstance(response.raw, dict)
    assert response.raw["usage"] == TOTAL  # all three samples
    assert response.additional_kwargs == TOTAL
    assert response.raw["model"] == "openai/small"
    assert response.raw["finish_reason"] == "stop"
    assert response.raw["bestroute"]["arm"] == "openai/small:3"
    assert [body.get("n") for body in chat_server.requests] == [3]


@pytest.mark.parametrize("method", STREAMS)
async def test_one_sample_streams_as_it_comes(method: str, one_model: Any) -> None:
    pieces = await _pieces(BestRouteLLM(one_model), method)
    assert [piece.delta for piece in pieces] == ["ok", ""]


@pytest.mark.parametrize("method", STREAMS)
async def test_a_stream_accumulates(method: str, one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    *pieces, last = await _pieces(BestRouteLLM(one_model), method)
    assert [piece.delta for piece in pieces] == ["It", " is", " 42"]
    assert [text(piece) for piece in pieces] == ["It", "It is", "It is 42"]
    assert [piece.raw for piece in pieces] == [None] * 3
    assert (text(last), last.delta) == ("It is 42", "")
    assert isinstance(last.raw, dict)
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    assert last.raw["usage"] == last.additional_kwargs == usage


@pytest.mark.parametrize("method", STREAMS)
async def test_the_best_of_three_comes_in_one_piece(
    method: str, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = "It is 42"
    piece, last = await _pieces(BestRouteLLM(pool), method)
    assert (text(piece), piece.delta, piece.raw) == ("It is 42", "It is 42", None)
    assert (text(last), last.delta) == ("It is 42", "")
    assert isinstance(last.raw, dict)
    assert last.raw["usage"] == last.additional_kwargs == TOTAL


async def test_a_stream_may_be_left_early(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "one two three"
    counter = TokenCountingHandler()
    llm = BestRouteLLM(one_model, callback_manager=CallbackManager([counter]))
    stream = llm.stream_chat(CHAT)
    assert next(stream).delta == "one"
    stream.close()
    astream = await llm.astream_chat(CHAT)
    assert (await anext(astream)).delta == "one"
    await astream.aclose()
    assert len(counter.llm_token_counts) == 2  # each call has ended
    assert llm.chat(CHAT).message.content == "one two three"


async def test_samples_that_disagree_are_escalated(pool: Any, chat_server: ChatServer) -> None:
    def reply(body: Body) -> Reply:
        return Reply(["42"] if body["model"] == "big" else ["41", "40", "43"])

    chat_server.reply = reply
    response = BestRouteLLM(pool).chat(CHAT)
    assert response.message.content == "42"
    assert response.raw["model"] == "openai/big"
    assert response.raw["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "total_tokens": 14,
    }
    assert set(response.raw["bestroute"]["usage_by_model"]) == {"openai/small", "openai/big"}


async def test_async_calls_run_side_by_side(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("ok", delay=1)
    llm = BestRouteLLM(one_model)
    await llm.achat(CHAT)  # imports LiteLLM
    began = time.monotonic()
    await asyncio.gather(*(llm.achat(CHAT) for _ in range(5)))
    assert chat_server.peak > 1
    assert time.monotonic() - began < 5 * 1


def test_parameters_of_a_call(pool: Any, chat_server: ChatServer) -> None:
    llm = BestRouteLLM(pool, temperature=0.7, max_tokens=50)
    response = llm.chat(CHAT, max_n=2, stop=["\n"], temperature=0.9)
    assert response.raw["bestroute"]["n"] == 2
    [body] = chat_server.requests
    assert (body["n"], body["stop"], body["temperature"], body["max_tokens"]) == (
        2,
        ["\n"],
        0.9,
        50,
    )


def test_limits_of_the_model_itself(pool: Any, chat_server: ChatServer) -> None:
    assert BestRouteLLM(pool, max_n=2).chat(CHAT).raw["bestroute"]["n"] == 2
    greedy = BestRouteLLM(pool, temperature=0).chat(CHAT).raw["bestroute"]
    assert greedy["arm"] == "openai/big:1"  # equal samples say nothing


@pytest.mark.parametrize("method", [*WHOLE, *STREAMS])
async def test_a_call_may_name_its_model(method: str, pool: Any, chat_server: ChatServer) -> None:
    llm = BestRouteLLM(pool, max_n=3)
    last = (
        (await _pieces(llm, method, model="openai/small"))[-1]
        if "stream" in method
        else (await _whole(llm, method, model="openai/small"))
    )
    assert isinstance(last.raw, dict)
    told = last.raw["bestroute"]
    assert (told["policy"], told["arm"]) == ("named", "openai/small:1")
    assert [body["model"] for body in chat_server.requests] == ["small"]


def test_a_call_may_name_an_arm(pool: Any) -> None:
    assert BestRouteLLM(pool).chat(CHAT, model="openai/small:2").raw["bestroute"]["n"] == 2


def test_requests_may_stay_among_some_models(pool: Any, chat_server: ChatServer) -> None:
    pool["models"][1]["context_window"] = 500
    llm = BestRouteLLM(pool, models=("openai/small",))
    assert llm.metadata.context_window == 8000
    assert llm.to_payload()["models"] == ["openai/small"]
    chat_server.reply = Reply(["1", "2", "3"])
    assert llm.chat(CHAT).raw["model"] == "openai/small"  # they disagree, nobody else is asked
    assert llm.chat(CHAT, models=["openai/big"]).raw["model"] == "openai/big"


def test_a_budget(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply(["1", "2", "3"])
    cheap = BestRouteLLM(pool, max_cost=1e-4, max_tokens=20)
    assert cheap.chat(CHAT).raw["model"] == "openai/small"
    assert cheap.chat(CHAT, max_cost=1).raw["model"] == "openai/big"


async def test_a_stream_may_be_of_fewer_samples(pool: Any, chat_server: ChatServer) -> None:
    llm = BestRouteLLM(pool, streaming_max_n=1)
    *_, last = await _pieces(llm, "astream_chat")
    assert isinstance(last.raw, dict)
    assert last.raw["bestroute"]["arm"].endswith(":1")
    assert (await llm.achat(CHAT)).raw["bestroute"]["n"] == 3


def test_a_timeout(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("ok", delay=0.5)
    with pytest.raises(SamplingError, match="(?i)time"):
        BestRouteLLM(one_model, timeout=0.1, max_retries=0).chat(CHAT)


def test_what_the_router_reads_may_be_a_field(pool: Any) -> None:
    read: list[str] = []

    class Reading(Cascade):
        """Notes the query."""

        def next(self, state: State) -> tuple[Draw, ...] | Accept:
            read.append(state.query)
            return super().next(state)

    engine = BestRoute(ModelPool.from_dict(pool), policy=Reading())
    stuffed = "Context: a lot.\nQuestion: Why?\nAnswer:"
    BestRouteLLM(engine=engine, query_pattern="Question: (.*)").complete(stuffed)
    assert set(read) == {"Why?"}


def test_cached_and_reasoning_tokens(one_model: Any, chat_server: ChatServer) -> None:
    usage = {
        "prompt_tokens": 50,
        "completion_tokens": 30,
        "total_tokens": 80,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    chat_server.reply = Reply("42", usage=usage)
    response = BestRouteLLM(one_model).chat(CHAT)
    assert response.raw["usage"] == usage
    assert response.additional_kwargs == {
        "prompt_tokens": 50,
        "completion_tokens": 30,
        "total_tokens": 80,
    }


class _Limiter(BaseRateLimiter):
    """Counts."""

    asked = 0

    def acquire(self, num_tokens: int = 0) -> None:
        self.asked += 1

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.asked += 1


@pytest.mark.parametrize("method", [*WHOLE, *STREAMS])
async def test_every_sample_counts_for_a_rate_limiter(
    method: str, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = lambda body: Reply(["4"] if body["model"] == "big" else ["1", "2", "3"])
    limiter = _Limiter()
    await (_pieces if "stream" in method else _whole)(
        BestRouteLLM(pool, rate_limiter=limiter), method
    )
    assert limiter.asked == 3 + 1


@pytest.mark.parametrize("method", [*WHOLE, *STREAMS])
async def test_log_probabilities(method: str, one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    llm = BestRouteLLM(one_model)
    if "stream" in method:
        response = (await _pieces(llm, method, logprobs=True))[-1]
    else:
        response = await _whole(llm, method, logprobs=True)
    assert response.logprobs == [[LogProb(token=each, logprob=-0.7)] for each in "It is 42".split()]


@pytest.mark.parametrize("option", [{"streaming": True}, {"messages": []}])
def test_what_is_no_option(option: dict[str, Any], one_model: Any) -> None:
    with pytest.raises(RequestError, match=next(iter(option))):
        BestRouteLLM(one_model).complete("Hi", **option)


def test_the_completion_prompt(one_model: Any, chat_server: ChatServer) -> None:
    def shout(prompt: str) -> str:
        return prompt.upper()

    llm = BestRouteLLM(one_model, completion_to_prompt=shout)
    llm.complete("quiet")
    llm.complete("quiet", formatted=True)
    asked = [body["messages"][0]["content"] for body in chat_server.requests]
    assert asked == ["QUIET", "quiet"]


@pytest.mark.parametrize("method", [*WHOLE, *STREAMS])
async def test_tokens_are_counted(method: str, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    counter = TokenCountingHandler(tokenizer=_never)
    llm = BestRouteLLM(pool, callback_manager=CallbackManager([counter]))
    await (_pieces if "stream" in method else _whole)(llm, method)
    assert counter.prompt_llm_token_count == 5
    assert counter.completion_llm_token_count == 9
    assert counter.total_llm_token_count == 14


def _never(text: str) -> list[int]:
    raise AssertionError("counts are the provider's, not an estimate")


class _Events(BaseEventHandler):
    """Keeps what it is told."""

    seen: list[BaseEvent] = []

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.seen.append(event)


@pytest.fixture
def events() -> Iterator[list[BaseEvent]]:
    root, handler = get_dispatcher(), _Events(seen=[])
    root.add_event_handler(handler)
    yield handler.seen
    root.event_handlers.remove(handler)


def _of(kind: type[BaseEvent], events: list[BaseEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_events_of_a_chat(pool: Any, events: list[BaseEvent]) -> None:
    BestRouteLLM(pool).chat(CHAT)
    [start] = _of(LLMChatStartEvent, events)
    [end] = _of(LLMChatEndEvent, events)
    assert start.model_dict["model_name"] == "bestroute:openai/big"
    assert "api_key" not in str(start.model_dict)
    assert end.response.raw["bestroute"]["arm"] == "openai/small:3"


async def test_events_of_a_stream(one_model: Any, events: list[BaseEvent]) -> None:
    await _pieces(BestRouteLLM(one_model), "astream_chat")
    assert len(_of(LLMChatInProgressEvent, events)) == 2
    [end] = _of(LLMChatEndEvent, events)
    assert end.response.raw["model"] == "openai/big"


def test_events_of_a_completion(one_model: Any, events: list[BaseEvent]) -> None:
    BestRouteLLM(one_model).complete(ASK)
    assert len(_of(LLMCompletionStartEvent, events)) == 1
    assert len(_of(LLMCompletionEndEvent, events)) == 1
    assert not _of(LLMChatStartEvent, events)  # one call, one event


@pytest.fixture
def settings() -> Iterator[None]:
    before = Settings._llm
    yield
    Settings._llm = before


@pytest.mark.usefixtures("settings")
def test_as_the_llm_of_settings(one_model: Any, chat_server: ChatServer) -> None:
    Settings.llm = BestRouteLLM(one_model, system_prompt="Be brief.")
    assert Settings.llm.predict(PromptTemplate("Who is {who}?"), who="Ada") == "ok"
    assert chat_server.requests[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who is Ada?"},
    ]


@pytest.mark.parametrize("method", WHOLE)
async def test_nobody_answers(method: str, one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("no such model", status=404)
    with pytest.raises(SamplingError, match="no such model"):
        await _whole(BestRouteLLM(one_model), method)


@pytest.mark.parametrize("call", [BestRouteLLM.chat, BestRouteLLM.stream_chat])
def test_a_malformed_request(call: Callable[..., Any], one_model: Any) -> None:
    with pytest.raises(RequestError, match="messages"):
        list(call(BestRouteLLM(one_model), []))


def test_thoughts_are_told_apart_while_they_stream(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply([{"content": "42", "reasoning_content": "6 * 7"}])
    pieces = list(BestRouteLLM(one_model).stream_chat([ChatMessage(content="?")]))
    told = [piece.additional_kwargs.get("thinking_delta") for piece in pieces]
    assert "".join(each for each in told if each) == "6 * 7"
    assert all(piece.delta == "" for piece, thought in zip(pieces, told, strict=True) if thought)
