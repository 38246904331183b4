"""Members of a pool that are LlamaIndex LLMs, over HTTP: asked n times, counted once."""

from __future__ import annotations

import asyncio
import itertools
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import LLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from bestroute import BestRoute, Cascade, ModelPool, PooledModel, asking
from bestroute.errors import ConfigError, SamplingError
from llamaindex_bestroute import BestRouteLLM, LLMClient
from tests.house_llm import HouseLLM, HouseText
from tests.servers import Body, ChatServer, Reply

ASK = "What is six times seven?"  # five tokens to the server
KEY = "sk-member"
DOORS = ("chat", "achat", "stream_chat", "astream_chat")
PROMPT = {"house": 5, "text": 7, "openai": 5}  # a text says who speaks

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_DELAY", 0.001)


def _maker(kind: str, chat_server: ChatServer) -> Make:
    if kind == "openai":
        like = pytest.importorskip(
            "llama_index.llms.openai_like", reason="pip install llama-index-llms-openai-like"
        )

        def make(server: ChatServer = chat_server, **fields: Any) -> LLM:
            says = {"is_chat_model": True, "is_function_calling_model": True}
            given = {"model": "small", "max_retries": 0, "api_key": KEY, **says, **fields}
            return like.OpenAILike(api_base=server.url, **given)

        return make
    house: Any = HouseLLM if kind == "house" else HouseText
    return lambda server=chat_server, **fields: house(url=server.url, api_key=KEY, **fields)


@pytest.fixture(params=["house", "text", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(kind: str, chat_server: ChatServer) -> Make:
    """Makes LLMs of one kind, which the server answers, or another one."""
    return _maker(kind, chat_server)


@pytest.fixture(params=["house", "openai"])
def make_calling(request: pytest.FixtureRequest, chat_server: ChatServer) -> Make:
    """The same, of those that call tools."""
    return _maker(request.param, chat_server)


def pool_of(server: ChatServer, small: Any, **fields: Any) -> dict[str, Any]:
    """An LLM, of which three samples may be drawn, and a reference through LiteLLM."""
    big = {"model": "openai/big", "name": "big", "reference": True, "params": server.params}
    member = {"model": small, "name": "small", "max_samples": 3, "context_window": 8000}
    return {
        "models": [
            {**member, "price": {"input": 1, "output": 2}, **fields},
            {**big, "price": {"input": 10, "output": 20}, "context_window": 8000},
        ]
    }


def asked(server: ChatServer, model: str = "small") -> list[Body]:
    return [body for body in server.requests if body["model"] == model]


async def answered(llm: Any, door: str, ask: Any = ASK, **options: Any) -> ChatResponse:
    """The last response of any door."""
    messages = [ChatMessage(ask)] if isinstance(ask, str) else ask
    if door == "chat":
        return await asyncio.to_thread(llm.chat, messages, **options)
    if door == "achat":
        return await llm.achat(messages, **options)
    if door == "stream_chat":
        return (await asyncio.to_thread(lambda: list(llm.stream_chat(messages, **options))))[-1]
    return [each async for each in await llm.astream_chat(messages, **options)][-1]


_guesses = itertools.count()


def scattered(body: Body) -> str:
    """The small model disagrees with itself, the big one knows."""
    return f"guess {next(_guesses)}" if body["model"] == "small" else "It is 42"


@pytest.mark.parametrize("door", DOORS)
async def test_n_samples_are_parallel_calls_and_one_bill(
    door: str, kind: str, make: Make, chat_server: ChatServer
) -> None:
    everyone = threading.Barrier(3, timeout=30)

    def reply(body: Body) -> str:
        everyone.wait()  # breaks unless all three are in flight at once
        return "It is 42"

    chat_server.reply = reply
    response = await answered(BestRouteLLM(pool_of(chat_server, make())), door)
    assert response.message.content == "It is 42"
    prompt = 3 * PROMPT[kind]
    assert response.raw["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": 9,
        "total_tokens": prompt + 9,
    }
    facts = response.raw["bestroute"]
    assert (facts["arm"], facts["n"], facts["degraded"]) == ("small:3", 3, [])
    assert facts["cost"] == pytest.approx((prompt * 1 + 9 * 2) / 1e6)
    assert facts["estimated_costs"]["small:3"] == pytest.approx(
        3 * facts["estimated_costs"]["small:1"]  # no native n: the prompt is billed three times
    )
    bodies = asked(chat_server)
    assert len(bodies) == 3
    assert all(ASK in body["messages"][0]["content"] for body in bodies)
    assert not [body for body in bodies if "n" in body]
    assert {headers["authorization"] for headers in map(_lower, chat_server.headers)} == {
        f"Bearer {KEY}"
    }


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("door", DOORS)
async def test_escalation_to_the_reference_bills_both(
    door: str, kind: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = scattered
    response = await answered(BestRouteLLM(pool_of(chat_server, make())), door)
    assert response.message.content == "It is 42"
    split = response.raw["bestroute"]["usage_by_model"]
    assert split["small"]["prompt_tokens"] == 3 * PROMPT[kind]
    assert split["big"]["prompt_tokens"] == 5
    assert response.raw["usage"]["total_tokens"] == 3 * PROMPT[kind] + 6 + 5 + 3


async def test_sync_and_async_callers_may_take_turns(make: Make, chat_server: ChatServer) -> None:
    # An async client belongs to one event loop, and a sync caller has none.
    llm = BestRouteLLM(pool_of(chat_server, make()))
    for _ in range(2):
        for door in DOORS:
            response = await answered(llm, door)
            assert response.message.content == "ok"
            assert not response.raw["bestroute"]["degraded"]
    assert not asked(chat_server, "big")


async def test_the_reference_may_be_one_too(make: Make, chat_server: ChatServer) -> None:
    chat_server.reply = scattered
    big = {"model": make(model="big"), "name": "big", "reference": True}
    price = {"price": {"input": 10, "output": 20}, "context_window": 8000}
    small, _ = pool_of(chat_server, make())["models"]
    llm = BestRouteLLM({"models": [small, {**big, **price}]})
    assert (await answered(llm, "achat")).message.content == "It is 42"
    assert (len(asked(chat_server)), len(asked(chat_server, "big"))) == (3, 1)


async def test_openai_s_own(chat_server: ChatServer) -> None:
    package = pytest.importorskip(
        "llama_index.llms.openai", reason="pip install llama-index-llms-openai"
    )

    def openai(model: str) -> Any:
        return package.OpenAI(model=model, api_base=chat_server.url, api_key=KEY, max_retries=0)

    small = {"model": openai("gpt-4o-mini"), "max_samples": 2}
    big = {"model": openai("gpt-4o"), "reference": True}
    llm = BestRouteLLM({"models": [small, big]})
    response = await answered(llm, "achat")
    facts = response.raw["bestroute"]
    assert (facts["arm"], facts["degraded"]) == ("openai/gpt-4o-mini:2", [])
    assert facts["cost"] == pytest.approx((10 * 0.15 + 2 * 0.6) / 1e6)  # LiteLLM's map knows
    assert llm.metadata.context_window == 128_000
    with pytest.raises(ConfigError, match="OpenAI does not know its model"):
        BestRouteLLM({"models": [{"model": openai("mystery"), "reference": True}]})


# Who hears of candidates


@pytest.fixture
def counter() -> Iterator[TokenCountingHandler]:
    """Counts for all LLMs, as an application sets it up."""
    before = Settings._callback_manager
    handler = TokenCountingHandler()
    Settings.callback_manager = CallbackManager([handler])
    yield handler
    Settings._callback_manager = before


@pytest.mark.parametrize("door", DOORS)
async def test_tokens_are_counted_once(
    door: str, counter: TokenCountingHandler, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = scattered
    small = make()  # which has the handlers of all, like the router
    assert small.callback_manager.handlers == [counter]
    response = await answered(BestRouteLLM(pool_of(chat_server, small)), door)
    assert len(counter.llm_token_counts) == 1
    assert counter.total_llm_token_count == response.raw["usage"]["total_tokens"]
    assert small.callback_manager.handlers == [counter]  # asked elsewhere it is counted


async def test_a_handler_of_the_object_s_own_does_hear(
    counter: TokenCountingHandler, make: Make, chat_server: ChatServer
) -> None:
    own = TokenCountingHandler()
    small = make(callback_manager=CallbackManager([own, counter]))
    await answered(BestRouteLLM(pool_of(chat_server, small)), "achat")
    heard = len(own.llm_token_counts)
    assert heard >= 3  # a text completes within a chat: LlamaIndex tells of both
    assert len(counter.llm_token_counts) == 1


async def test_its_client_is_opened_once(
    counter: TokenCountingHandler, chat_server: ChatServer
) -> None:
    make = _maker("openai", chat_server)
    small = make()
    llm = BestRouteLLM(pool_of(chat_server, small))
    await answered(llm, "achat", temperature=0.7)
    first = small._aclient
    await answered(llm, "achat", temperature=0.9)
    assert first is not None
    assert small._aclient is first


class _Events(BaseEventHandler):
    """Keeps what it is told."""

    seen: list[BaseEvent] = []

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        """One event."""
        self.seen.append(event)


@pytest.fixture
def events() -> Iterator[list[BaseEvent]]:
    root, handler = get_dispatcher(), _Events(seen=[])
    root.add_event_handler(handler)
    yield handler.seen
    root.event_handlers.remove(handler)


@pytest.mark.parametrize("door", DOORS)
async def test_events_of_candidates_have_a_tag(
    door: str, events: list[BaseEvent], make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = scattered
    await answered(BestRouteLLM(pool_of(chat_server, make())), door)
    ends = [event for event in events if isinstance(event, LLMChatEndEvent)]
    untagged = [end for end in ends if end.tags.get("bestroute") != "candidate"]
    assert [end.response.message.content for end in untagged if end.response] == ["It is 42"]
    assert len(ends) >= 4
    assert len({end.id_ for end in ends}) == len(ends)
    plain = [each for each in events if each.tags.get("bestroute") != "candidate"]
    assert "guess" not in str([event.model_dump() for event in plain])


class _Spans(SimpleSpanHandler):
    """Keeps the tags of spans by what has one."""

    told: list[tuple[str, dict[str, Any]]] = []

    def new_span(
        self,
        id_: str,
        bound_args: Any,
        instance: Any = None,
        parent_span_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """One span."""
        self.told.append((type(instance).__name__, dict(tags or {})))
        return super().new_span(id_, bound_args, instance, parent_span_id, tags, **kwargs)


@pytest.mark.parametrize("door", ["chat", "achat"])
async def test_spans_of_candidates_have_a_tag(door: str, chat_server: ChatServer) -> None:
    root, handler = get_dispatcher(), _Spans()
    root.add_span_handler(handler)
    try:
        llm = BestRouteLLM(pool_of(chat_server, HouseLLM(url=chat_server.url)))
        await answered(llm, door)
    finally:
        root.span_handlers.remove(handler)
    members = [tags for kind, tags in handler.told if kind == "HouseLLM"]
    assert members == [{"bestroute": "candidate"}] * 3
    assert not [tags for kind, tags in handler.told if kind == "BestRouteLLM" and tags]
    assert not handler.open_spans


async def test_a_member_s_own_rate_limiter_is_asked_for_every_sample(
    chat_server: ChatServer,
) -> None:
    class Limiter(BaseRateLimiter):
        """Counts."""

        asked = 0

        def acquire(self) -> None:
            """One call may go."""
            Limiter.asked += 1

        async def async_acquire(self) -> None:
            """One call may go."""
            Limiter.asked += 1

    small = HouseLLM(url=chat_server.url, rate_limiter=Limiter())
    llm = BestRouteLLM(pool_of(chat_server, small))
    await answered(llm, "achat")
    await answered(llm, "chat")
    assert Limiter.asked == 6


# What a request says


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


MULTIPLY = FunctionTool.from_defaults(multiply)


def call_of(arguments: str, **fields: Any) -> dict[str, Any]:
    function = {"name": "multiply", "arguments": arguments}
    return {"tool_calls": [{"id": "c1", "type": "function", "function": function}], **fields}


async def called(llm: BestRouteLLM, door: str, **options: Any) -> ChatResponse:
    """The last response of any door with the tool."""
    given: dict[str, Any] = {"tools": [MULTIPLY], "user_msg": ASK, **options}
    ask = getattr(llm, f"{door}_with_tools")
    if door == "chat":
        return await asyncio.to_thread(ask, **given)
    if door == "achat":
        return await ask(**given)
    if door == "stream_chat":
        return (await asyncio.to_thread(lambda: list(ask(**given))))[-1]
    return [each async for each in await ask(**given)][-1]


@pytest.mark.parametrize("door", DOORS)
async def test_tools_and_their_calls(
    door: str, make_calling: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = lambda body: Reply([call_of('{"a": 6, "b": 7}')])
    llm = BestRouteLLM(pool_of(chat_server, make_calling()))
    response = await called(llm, door, tool_required=True)
    (call,) = llm.get_tool_calls_from_response(response)
    assert (call.tool_name, call.tool_kwargs) == ("multiply", {"a": 6, "b": 7})
    assert response.raw["finish_reason"] == "tool_calls"
    assert response.raw["bestroute"]["model"] == "small"
    bodies = asked(chat_server)
    assert len(bodies) == 3
    for body in bodies:
        (tool,) = body["tools"]
        assert (tool["function"]["name"], tool["function"]["description"].splitlines()[-1]) == (
            "multiply",
            "Multiply two numbers.",
        )
        assert set(tool["function"]["parameters"]["properties"]) == {"a", "b"}
        assert tool["function"]["parameters"]["required"] == ["a", "b"]
        assert body["tool_choice"] == "required"


@pytest.mark.parametrize("door", ["chat", "achat"])
async def test_a_tool_by_name(door: str, make_calling: Make, chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply([call_of('{"a": 6, "b": 7}')])
    other = FunctionTool.from_defaults(multiply, name="other")
    small = make_calling()
    llm = BestRouteLLM(pool_of(chat_server, small))
    await called(llm, door, tools=[other, MULTIPLY], tool_choice="multiply")
    for body in asked(chat_server):
        offered = [tool["function"]["name"] for tool in body["tools"]]
        if isinstance(small, HouseLLM):  # which has no way to name one: no other is offered
            assert (offered, body["tool_choice"]) == (["multiply"], "required")
        else:
            assert offered == ["other", "multiply"]
            assert body["tool_choice"] == {"type": "function", "function": {"name": "multiply"}}


@pytest.mark.parametrize("door", DOORS)
async def test_a_call_that_is_no_json_loses_against_one_that_is(
    door: str, make_calling: Make, chat_server: ChatServer
) -> None:
    answers = itertools.cycle(["{nonsense", '{"a": 6, "b": 7}'])
    lock = threading.Lock()

    def reply(body: Body) -> Reply:
        with lock:
            return Reply([call_of(next(answers))])

    chat_server.reply = reply
    llm = BestRouteLLM(pool_of(chat_server, make_calling(), max_samples=2))
    response = await called(llm, door)
    (call,) = llm.get_tool_calls_from_response(response)
    assert call.tool_kwargs == {"a": 6, "b": 7}
    assert response.raw["bestroute"]["model"] == "small"


@pytest.mark.parametrize("door", ["chat", "achat"])
async def test_a_model_that_calls_no_tools_is_not_asked_for_any(
    door: str, chat_server: ChatServer
) -> None:
    chat_server.reply = lambda body: Reply([call_of('{"a": 6, "b": 7}')])
    llm = BestRouteLLM(pool_of(chat_server, HouseText(url=chat_server.url)))
    assert not llm.metadata.is_function_calling_model
    response = await called(llm, door)
    assert response.raw["bestroute"]["model"] == "big"
    assert not asked(chat_server)


async def test_a_history_of_tools_reaches_the_member(
    make_calling: Make, chat_server: ChatServer
) -> None:
    history = [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="6 * 7?"),
        ChatMessage(
            role="assistant",
            blocks=[
                TextBlock(text="Well"),
                ToolCallBlock(
                    tool_call_id="c1", tool_name="multiply", tool_kwargs={"a": 6, "b": 7}
                ),
                ToolCallBlock(tool_call_id="c2", tool_name="multiply", tool_kwargs="{nonsense"),
            ],
        ),
        ChatMessage(role="tool", content="42", additional_kwargs={"tool_call_id": "c1"}),
        ChatMessage(role="tool", content="no JSON", additional_kwargs={"tool_call_id": "c2"}),
    ]
    llm = BestRouteLLM(pool_of(chat_server, make_calling()))
    await llm.achat(history)
    system, user, assistant, *tools = asked(chat_server)[0]["messages"]
    assert (system["role"], system["content"]) == ("system", "Be brief.")
    assert (user["role"], user["content"]) == ("user", "6 * 7?")
    assert assistant["content"] == "Well"
    assert [call["id"] for call in assistant["tool_calls"]] == ["c1", "c2"]
    assert [call["function"]["arguments"] for call in assistant["tool_calls"]] == [
        '{"a": 6, "b": 7}',
        "{nonsense",
    ]
    assert [(tool["role"], tool["tool_call_id"], tool["content"]) for tool in tools] == [
        ("tool", "c1", "42"),
        ("tool", "c2", "no JSON"),
    ]


PIXEL = (
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    b"rkJggg=="
)


async def test_images_reach_the_member(make_calling: Make, chat_server: ChatServer) -> None:
    llm = BestRouteLLM(pool_of(chat_server, make_calling(), vision=True))
    message = ChatMessage(
        role="user", blocks=[TextBlock(text="What is it?"), ImageBlock(image=PIXEL)]
    )
    response = await llm.achat([message])
    assert response.raw["bestroute"]["model"] == "small"
    (text, image) = asked(chat_server)[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert image["image_url"]["url"] == f"data:image/png;base64,{PIXEL.decode()}"


@pytest.mark.parametrize("door", DOORS)
async def test_parameters_of_a_call_win_over_the_object_s(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    small = make(temperature=0.3, max_tokens=50)
    llm = BestRouteLLM(pool_of(chat_server, small))
    await answered(llm, door, temperature=0.7, max_tokens=9, stop=["x"])
    for body in asked(chat_server):
        assert (body["temperature"], body["max_tokens"], body["stop"]) == (0.7, 9, ["x"])
    assert (small.temperature, small.max_tokens) == (0.3, 50)
    before = len(chat_server.requests)
    await answered(llm, door)
    for body in chat_server.requests[before:]:
        assert (body["temperature"], body["max_tokens"]) == (0.3, 50)


async def test_at_temperature_0_one_sample_is_drawn(make: Make, chat_server: ChatServer) -> None:
    llm = BestRouteLLM(pool_of(chat_server, make(temperature=0)))
    response = await answered(llm, "achat", model="small")
    assert len(asked(chat_server)) == 1
    assert response.raw["bestroute"]["n"] == 1


async def test_each_sample_has_a_seed_of_its_own(make: Make, chat_server: ChatServer) -> None:
    await answered(BestRouteLLM(pool_of(chat_server, make())), "achat", seed=7)
    assert sorted(body["seed"] for body in asked(chat_server)) == [7, 8, 9]


@pytest.mark.parametrize("door", DOORS)
async def test_log_probabilities(door: str, make_calling: Make, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    llm = BestRouteLLM(pool_of(chat_server, make_calling()))
    response = await answered(llm, door, model="small", logprobs=True)
    tokens = response.raw["logprobs"]["content"]
    assert [token["token"] for token in tokens] == ["It", "is", "42"]
    assert {token["logprob"] for token in tokens} == {-0.7}


@pytest.mark.parametrize("door", DOORS)
async def test_an_answer_that_was_cut_says_so(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = Reply("It is", finish_reason="length")
    llm = BestRouteLLM(pool_of(chat_server, make()))
    response = await answered(llm, door, model="small")
    assert response.raw["finish_reason"] == "length"


class Number(BaseModel):
    """A number."""

    value: int


@pytest.mark.parametrize("door", ["structured_predict", "astructured_predict"])
async def test_structured_output(door: str, make_calling: Make, chat_server: ChatServer) -> None:
    answers = itertools.cycle(['{"value": "many"}', '{"value": 42}', '{"value": 42}'])
    lock = threading.Lock()

    def reply(body: Body) -> Reply:
        function = {"name": body["tools"][0]["function"]["name"], "arguments": ""}
        with lock:
            function["arguments"] = next(answers)
        return Reply([{"tool_calls": [{"id": "c", "type": "function", "function": function}]}])

    chat_server.reply = reply
    llm = BestRouteLLM(pool_of(chat_server, make_calling()))
    prompt = PromptTemplate("What is {question}?")
    ask = getattr(llm, door)
    made = (
        await ask(Number, prompt, question="6 * 7")
        if door.startswith("a")
        else await asyncio.to_thread(ask, Number, prompt, question="6 * 7")
    )
    assert made == Number(value=42)
    assert len(asked(chat_server)) == 3
    assert not asked(chat_server, "big")


async def test_structured_output_in_text(chat_server: ChatServer) -> None:
    chat_server.reply = '{"value": 42}'
    llm = BestRouteLLM(pool_of(chat_server, HouseText(url=chat_server.url)))
    made = await llm.astructured_predict(Number, PromptTemplate("What is {q}?"), q="6 * 7")
    assert made == Number(value=42)
    assert not asked(chat_server, "big")


async def test_an_agent(make_calling: Make, chat_server: ChatServer) -> None:
    def reply(body: Body) -> Reply:
        done = any(message["role"] == "tool" for message in body["messages"])
        return Reply("It is 42") if done else Reply([call_of('{"a": 6, "b": 7}')])

    chat_server.reply = reply
    llm = BestRouteLLM(pool_of(chat_server, make_calling()))
    answer = await FunctionAgent(tools=[MULTIPLY], llm=llm).run(ASK)
    assert str(answer) == "It is 42"
    told = [body for body in asked(chat_server) if body["messages"][-1]["role"] == "tool"]
    assert told[0]["messages"][-1]["content"] == "42"


# Streams


@pytest.mark.parametrize("door", ["stream_chat", "astream_chat"])
async def test_one_sample_streams_word_by_word(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = "one two three"
    llm = BestRouteLLM(pool_of(chat_server, make()))
    messages = [ChatMessage(ASK)]
    if door == "stream_chat":
        pieces = await asyncio.to_thread(lambda: list(llm.stream_chat(messages, model="small")))
    else:
        pieces = [each async for each in await llm.astream_chat(messages, model="small")]
    assert [each.delta for each in pieces if each.delta] == ["one", " two", " three"]
    assert pieces[-1].message.content == "one two three"
    assert pieces[-1].raw["usage"]["completion_tokens"] == 3
    assert len(chat_server.requests) == 1


async def test_a_stream_that_is_left_ends_the_member_s(make: Make, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("word " * 50)
    before = set(threading.enumerate())
    llm = BestRouteLLM(pool_of(chat_server, make()))
    stream: Any = await llm.astream_chat([ChatMessage(ASK)], model="small")
    assert (await anext(stream)).delta
    await stream.aclose()
    sync: Any = llm.stream_chat([ChatMessage(ASK)], model="small")
    assert next(sync).delta
    sync.close()
    await asyncio.sleep(0.05)
    assert not [task for task in asyncio.all_tasks() if "TaskWalk" in repr(task.get_coro())]
    for thread in set(threading.enumerate()) - before:
        if thread.name == "bestroute-call":
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


@pytest.mark.parametrize("door", ["stream_chat", "astream_chat"])
async def test_a_stream_that_breaks_off_is_an_error(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = Reply("one two three", cut_after=2)
    llm = BestRouteLLM(pool_of(chat_server, make()))
    with pytest.raises(SamplingError, match="small broke off") as caught:
        await answered(llm, door, model="small")
    assert caught.value.calls[0].usage.estimated


# Failures


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("status", "tries"), [(401, 1), (503, 3)])
async def test_a_member_that_fails_gives_way_to_the_reference(
    door: str, status: int, tries: int, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = lambda body: (
        Reply("no", status=status) if body["model"] == "small" else "It is 42"
    )
    llm = BestRouteLLM(pool_of(chat_server, make(), max_samples=2))
    response = await answered(llm, door)
    assert response.message.content == "It is 42"
    assert len(asked(chat_server)) == 2 * tries
    (degraded,) = response.raw["bestroute"]["degraded"]
    assert "0 of 2 samples of small came" in degraded


@pytest.mark.parametrize("door", DOORS)
async def test_a_provider_that_quotes_the_key(
    door: str, make_calling: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = Reply(f"{KEY} is not known here", status=401)
    llm = BestRouteLLM(pool_of(chat_server, make_calling()))
    with pytest.raises(SamplingError) as caught:
        await answered(llm, door, model="small")
    assert "401" in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in f"{caught.value.calls}{caught.value.causes!r}"


@pytest.mark.parametrize("door", ["chat", "achat"])
async def test_a_passing_failure_is_tried_again(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = lambda body: (
        Reply("busy", status=429, headers={"Retry-After": "0"})
        if len(chat_server.requests) < 3
        else "all is well"
    )
    llm = BestRouteLLM(pool_of(chat_server, make()))
    assert (await answered(llm, door, model="small")).message.content == "all is well"
    assert len(asked(chat_server)) == 3


@pytest.mark.parametrize("door", ["chat", "achat"])
async def test_a_server_that_is_not_there_is_tried_again(door: str, make: Make) -> None:
    with ChatServer() as gone:
        pass
    away = make(gone)
    with ChatServer("It is 42") as server:
        llm = BestRouteLLM(pool_of(server, away))
        response = await answered(llm, door)
        with pytest.raises(SamplingError) as caught:
            await answered(BestRouteLLM(pool_of(server, away)), door, model="small")
    assert response.message.content == "It is 42"
    assert len(caught.value.calls) == 3


@pytest.mark.parametrize("door", DOORS)
async def test_a_call_has_a_time_limit(door: str, make: Make, chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply("late", delay=1.5 if body["model"] == "small" else 0)
    pool = pool_of(chat_server, make(), params={"timeout": 0.3})
    response = await answered(BestRouteLLM(pool, max_retries=0), door)
    assert response.message.content == "late"
    (degraded,) = response.raw["bestroute"]["degraded"]
    assert "0 of 3 samples of small came" in degraded


async def test_a_time_limit_says_so(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("late", delay=1)
    client = LLMClient(HouseLLM(url=chat_server.url))
    with pytest.raises(TimeoutError, match=r"nothing came within 0\.2 seconds"):
        await client.acompletion(messages=[{"role": "user", "content": "hi"}], timeout=0.2)


# Costs


@pytest.mark.parametrize("door", DOORS)
async def test_cached_tokens_cost_what_they_cost(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 60}}
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, **details}
    chat_server.reply = Reply("ok", usage=usage)
    price = {"input": 2, "output": 10, "cached_input": 0.5}
    llm = BestRouteLLM(pool_of(chat_server, make(), price=price))
    response = await answered(llm, door, model="small")
    facts = response.raw["bestroute"]
    assert facts["cost"] == pytest.approx((40 * 2 + 60 * 0.5 + 5 * 10) / 1e6)
    assert response.raw["usage"]["prompt_tokens_details"] == {"cached_tokens": 60}


@pytest.mark.parametrize("door", ["chat", "achat"])
async def test_tokens_that_nobody_reports_are_estimated(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = Reply("x" * 40, usage={})
    llm = BestRouteLLM(pool_of(chat_server, make()))
    response = await answered(llm, door, model="small")
    assert response.raw["usage"]["completion_tokens"] == 10


# By hand


async def test_a_pool_built_by_hand(make: Make, chat_server: ChatServer) -> None:
    small = PooledModel(model="house/small", name="small", max_samples=2, client=LLMClient(make()))
    big = PooledModel(
        model="openai/big", name="big", reference=True, client=LLMClient(make(model="big"))
    )
    engine = BestRoute(ModelPool(models=(small, big)), policy=Cascade(n=2))
    assert (await engine.acomplete(ASK)).text == "ok"
    assert (await asyncio.to_thread(engine.complete, ASK)).text == "ok"
    assert len(asked(chat_server)) == 4
    assert (await BestRouteLLM(engine=engine).acomplete(ASK)).text == "ok"
