"""Members of a pool that are LangChain chat models, over HTTP: asked n times, heard once."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import (
    BaseCallbackHandler,
    get_usage_metadata_callback,
)
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.context import collect_runs
from pydantic import BaseModel

from bestroute import BestRoute, Cascade, ModelPool, PooledModel, asking
from bestroute.errors import SamplingError
from langchain_bestroute import ChatBestRoute, ChatModelClient
from tests.house_chat import HouseChat
from tests.servers import Body, ChatServer, Reply

ASK = "What is six times seven?"  # five tokens to the server
KEY = "sk-member"
DOORS = ("invoke", "ainvoke", "stream", "astream")

Make = Callable[..., BaseChatModel]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_DELAY", 0.001)


@pytest.fixture(params=["house", "openai"])
def make(request: pytest.FixtureRequest, chat_server: ChatServer) -> Make:
    """Makes chat models of one kind, which the server answers, or another one."""
    if request.param == "house":
        return lambda server=chat_server, **fields: HouseChat(url=server.url, api_key=KEY, **fields)
    openai = pytest.importorskip("langchain_openai")
    return lambda server=chat_server, **fields: openai.ChatOpenAI(
        **{"model": "small", "max_retries": 0, "api_key": KEY, **fields}, base_url=server.url
    )


def pool_of(server: ChatServer, small: BaseChatModel, **fields: Any) -> dict[str, Any]:
    """A chat model, of which three samples may be drawn, and a reference through LiteLLM."""
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


async def answered(llm: Any, door: str, ask: Any = ASK, **config: Any) -> AIMessage:
    """The whole message by any door."""
    if door == "invoke":
        return llm.invoke(ask, config)
    if door == "ainvoke":
        return await llm.ainvoke(ask, config)
    if door == "stream":
        chunks = list(llm.stream(ask, config))
    else:
        chunks = [chunk async for chunk in llm.astream(ask, config)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def scattered(body: Body) -> str:
    """The small model disagrees with itself, the big one knows."""
    return f"guess {next(_guesses)}" if body["model"] == "small" else "It is 42"


_guesses = itertools.count()


@pytest.mark.parametrize("door", DOORS)
async def test_n_samples_are_parallel_calls_and_one_bill(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    everyone = threading.Barrier(3, timeout=30)

    def reply(body: Body) -> str:
        everyone.wait()  # breaks unless all three are in flight at once
        return "It is 42"

    chat_server.reply = reply
    message = await answered(ChatBestRoute(pool=pool_of(chat_server, make())), door)
    assert message.content == "It is 42"
    assert message.usage_metadata == {"input_tokens": 15, "output_tokens": 9, "total_tokens": 24}
    facts = message.response_metadata["bestroute"]
    assert (facts["arm"], facts["n"]) == ("small:3", 3)
    assert facts["cost"] == pytest.approx((15 * 1 + 9 * 2) / 1e6)
    assert facts["estimated_costs"]["small:3"] == pytest.approx(
        3 * facts["estimated_costs"]["small:1"]  # no native n: the prompt is billed three times
    )
    assert [body["messages"] for body in asked(chat_server)] == [
        [{"role": "user", "content": ASK}]
    ] * 3
    assert not [body for body in chat_server.requests if "n" in body]
    assert {headers["authorization"] for headers in map(_lower, chat_server.headers)} == {
        f"Bearer {KEY}"
    }


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("door", DOORS)
async def test_escalation_to_the_reference_bills_both(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = scattered
    message = await answered(ChatBestRoute(pool=pool_of(chat_server, make())), door)
    assert message.content == "It is 42"
    assert message.usage_metadata == {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29}
    split = message.response_metadata["bestroute"]["usage_by_model"]
    assert split["small"]["prompt_tokens"] == 15
    assert split["big"]["prompt_tokens"] == 5


async def test_sync_and_async_callers_may_take_turns(make: Make, chat_server: ChatServer) -> None:
    # An async client belongs to one event loop, and a sync caller has none.
    llm = ChatBestRoute(pool=pool_of(chat_server, make()))
    for _ in range(2):
        assert (await asyncio.to_thread(llm.invoke, ASK)).content == "ok"
        assert (await llm.ainvoke(ASK)).content == "ok"
        assert "".join(chunk.text for chunk in llm.stream(ASK)) == "ok"
    assert not asked(chat_server, "big")


async def test_a_batch(make: Make, chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: body["messages"][0]["content"].upper()
    llm = ChatBestRoute(pool=pool_of(chat_server, make()))
    asks = [f"word {index}" for index in range(12)]
    assert [message.content for message in await llm.abatch(asks)] == [a.upper() for a in asks]
    batch = await asyncio.to_thread(llm.batch, asks)
    assert [message.content for message in batch] == [ask.upper() for ask in asks]
    assert len(chat_server.requests) == 2 * 3 * len(asks)


# Nobody hears of candidates


class Handler(BaseCallbackHandler):
    """Keeps what it is told of models."""

    def __init__(self) -> None:
        self.started = 0
        self.texts: list[str] = []
        self.tokens: list[str] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """A model's run begins."""
        self.started += 1

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        """A piece."""
        self.tokens.append(token)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        """A model's run ends."""
        self.texts.append(response.generations[0][0].text)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("within_a_chain", [False, True])
async def test_callbacks_hear_of_one_model_and_count_once(
    door: str, within_a_chain: bool, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = scattered
    llm: Any = ChatBestRoute(pool=pool_of(chat_server, make()))
    if within_a_chain:
        llm = RunnableLambda(lambda given: given) | llm
    handler = Handler()
    with get_usage_metadata_callback() as counter, collect_runs() as runs:
        await answered(llm, door, callbacks=[handler])
    assert (handler.started, handler.texts) == (1, ["It is 42"])
    assert not [token for token in handler.tokens if "guess" in token]
    assert [use["total_tokens"] for use in counter.usage_metadata.values()] == [29]
    assert len(runs.traced_runs) == 1


@pytest.mark.parametrize("door", ["invoke", "ainvoke"])
async def test_no_handler_reaches_the_member_but_its_own(
    door: str, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGSMITH_API_KEY", "none")
    own = Handler()
    house = HouseChat(url=chat_server.url, callbacks=[own])
    llm = ChatBestRoute(pool=pool_of(chat_server, house))
    traced: Any = RunnableLambda(lambda given: given) | llm
    from langsmith.run_helpers import tracing_context

    with (
        get_usage_metadata_callback(),
        collect_runs(),
        tracing_context(enabled=True, client=_Off()),
    ):
        await answered(traced, door, callbacks=[Handler()])
    assert house.heard == [own] * 3
    assert own.texts == ["ok"] * 3


class _Off:
    """A LangSmith client that sends nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


async def test_a_graph_streams_the_answer_alone(make: Make, chat_server: ChatServer) -> None:
    graphs = pytest.importorskip("langgraph.graph")
    chat_server.reply = scattered
    llm = ChatBestRoute(pool=pool_of(chat_server, make()))

    async def node(state: Any) -> Any:
        return {"messages": [await llm.ainvoke(state["messages"])]}

    graph = graphs.StateGraph(graphs.MessagesState)
    graph.add_node("ask", node)
    graph.add_edge(graphs.START, "ask")
    compiled = graph.compile()
    given = {"messages": [HumanMessage(ASK)]}
    pieces = [piece.text async for piece, _ in compiled.astream(given, stream_mode="messages")]
    assert "".join(pieces) == "It is 42"
    assert len(asked(chat_server)) == 3


async def test_a_cache_never_answers_for_a_sample(make: Make, chat_server: ChatServer) -> None:
    chat_server.reply = scattered
    set_llm_cache(InMemoryCache())
    try:
        llm = ChatBestRoute(pool=pool_of(chat_server, make(), max_samples=2))
        first = await llm.ainvoke(ASK)
        assert len(asked(chat_server)) == 2
        assert (await llm.ainvoke(ASK)).content == first.content
        assert len(asked(chat_server)) == 2  # the answer as a whole is cached
        await llm.ainvoke(ASK, query_turns=2)  # another request, which asks the member the same
        assert len(asked(chat_server)) == 4
    finally:
        set_llm_cache(None)


async def test_a_member_s_own_rate_limiter_is_asked_for_every_sample(
    chat_server: ChatServer,
) -> None:
    class Limiter(InMemoryRateLimiter):
        """Counts."""

        asked = 0

        async def aacquire(self, *, blocking: bool = True) -> bool:
            """One call may go."""
            Limiter.asked += 1
            return True

    house = HouseChat(url=chat_server.url, rate_limiter=Limiter())
    await ChatBestRoute(pool=pool_of(chat_server, house)).ainvoke(ASK)
    assert Limiter.asked == 3


# What a request says


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def call_of(arguments: str, **fields: Any) -> dict[str, Any]:
    function = {"name": "multiply", "arguments": arguments}
    return {"tool_calls": [{"id": "c1", "type": "function", "function": function}], **fields}


@pytest.mark.parametrize("door", DOORS)
async def test_tools_and_their_calls(door: str, make: Make, chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply([call_of('{"a": 6, "b": 7}')])
    llm = ChatBestRoute(pool=pool_of(chat_server, make())).bind_tools(
        [multiply], tool_choice="multiply", parallel_tool_calls=False
    )
    message = await answered(llm, door)
    (call,) = message.tool_calls
    assert (call["name"], call["args"]) == ("multiply", {"a": 6, "b": 7})
    assert message.response_metadata["finish_reason"] == "tool_calls"
    for body in asked(chat_server):
        assert [tool["function"]["name"] for tool in body["tools"]] == ["multiply"]
        assert "multiply" in str(body["tool_choice"])
        assert body["parallel_tool_calls"] is False


@pytest.mark.parametrize("door", DOORS)
async def test_a_call_that_is_no_json_loses_against_one_that_is(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    answers = itertools.cycle(["{nonsense", '{"a": 6, "b": 7}'])
    lock = threading.Lock()

    def reply(body: Body) -> Reply:
        with lock:
            return Reply([call_of(next(answers))])

    chat_server.reply = reply
    llm = ChatBestRoute(pool=pool_of(chat_server, make(), max_samples=2)).bind_tools([multiply])
    message = await answered(llm, door)
    assert [call["args"] for call in message.tool_calls] == [{"a": 6, "b": 7}]
    assert not message.invalid_tool_calls


async def test_a_history_of_tools_reaches_the_member(make: Make, chat_server: ChatServer) -> None:
    function = {"name": "multiply", "args": "{nonsense", "id": "c0", "error": "no JSON"}
    history = [
        HumanMessage([{"type": "text", "text": "6 * 7?"}]),
        AIMessage(
            "Well",
            tool_calls=[{"name": "multiply", "args": {"a": 6, "b": 7}, "id": "c1"}],
            invalid_tool_calls=[{"type": "invalid_tool_call", **function}],
        ),
        ToolMessage("42", tool_call_id="c1"),
        ToolMessage("no JSON", tool_call_id="c0", status="error"),
    ]
    await ChatBestRoute(pool=pool_of(chat_server, make())).ainvoke(history)
    roles = [message["role"] for message in asked(chat_server)[0]["messages"]]
    assert roles == ["user", "assistant", "tool", "tool"]
    called = asked(chat_server)[0]["messages"][1]["tool_calls"]
    assert called[0]["function"]["name"] == "multiply"


class Product(BaseModel):
    """A product of two numbers."""

    value: int


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
async def test_structured_output(method: str, make: Make, chat_server: ChatServer) -> None:
    def reply(body: Body) -> Reply:
        if not body.get("tools"):
            return Reply(['{"value": 42}'])
        function = {"name": "Product", "arguments": '{"value": 42}'}
        return Reply([{"tool_calls": [{"id": "1", "type": "function", "function": function}]}])

    chat_server.reply = reply
    llm = ChatBestRoute(pool=pool_of(chat_server, make()))
    structured = llm.with_structured_output(Product, method=method)
    assert await structured.ainvoke(ASK) == Product(value=42)
    assert await asyncio.to_thread(structured.invoke, ASK) == Product(value=42)
    assert len(asked(chat_server)) == 6


async def test_parameters_of_a_call_reach_the_member(make: Make, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=pool_of(chat_server, make(temperature=0.5), params={"top_p": 0.9}))
    await llm.ainvoke(ASK, seed=5, stop=["x"], max_tokens=9, temperature=0.8)
    bodies = asked(chat_server)
    assert sorted(body["seed"] for body in bodies) == [5, 6, 7]
    for body in bodies:
        assert (body["stop"], body["temperature"], body["top_p"]) == (["x"], 0.8, 0.9)
        assert 9 in (body.get("max_tokens"), body.get("max_completion_tokens"))
        assert "timeout" not in body


async def test_at_temperature_zero_a_member_gives_one_sample(
    make: Make, chat_server: ChatServer
) -> None:
    llm = ChatBestRoute(pool=pool_of(chat_server, make(temperature=0)))
    assert {"small:2", "small:3"} <= set(llm.engine.route(ASK).excluded)
    await llm.ainvoke(ASK, model="small")
    assert [body["temperature"] for body in asked(chat_server)] == [0]


# Streams


@pytest.mark.parametrize("door", ["stream", "astream"])
async def test_one_sample_streams_piece_by_piece_and_usage_comes_last(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = Reply("one two three")
    llm = ChatBestRoute(pool=pool_of(chat_server, make())).bind(model="small")
    chunks: list[AIMessageChunk] = (
        list(llm.stream(ASK)) if door == "stream" else [c async for c in llm.astream(ASK)]
    )
    assert [chunk.text for chunk in chunks if chunk.text] == ["one", " two", " three"]
    with_usage = [chunk for chunk in chunks if chunk.usage_metadata]
    assert [chunk.usage_metadata for chunk in with_usage] == [
        {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
    ]
    assert len(chat_server.requests) == 1


async def test_a_stream_that_is_left_ends_the_member_s(make: Make, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("word " * 50)
    before = set(threading.enumerate())
    llm = ChatBestRoute(pool=pool_of(chat_server, make())).bind(model="small")
    stream = llm.astream(ASK)
    assert (await anext(stream)).text
    await stream.aclose()
    sync = llm.stream(ASK)
    assert next(sync).text
    sync.close()
    await asyncio.sleep(0.05)
    assert not [task for task in asyncio.all_tasks() if "TaskWalk" in repr(task.get_coro())]
    for thread in set(threading.enumerate()) - before:
        if thread.name == "bestroute-call":
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


@pytest.mark.parametrize("door", ["stream", "astream"])
async def test_a_stream_that_breaks_off_is_an_error(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = Reply("one two three", cut_after=2)
    llm = ChatBestRoute(pool=pool_of(chat_server, make())).bind(model="small")
    with pytest.raises(SamplingError, match="small broke off") as caught:
        await answered(llm, door)
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
    llm = ChatBestRoute(pool=pool_of(chat_server, make(), max_samples=2))
    message = await answered(llm, door)
    assert message.content == "It is 42"
    assert len(asked(chat_server)) == 2 * tries
    (degraded,) = message.response_metadata["bestroute"]["degraded"]
    assert "0 of 2 samples of small came" in degraded


@pytest.mark.parametrize("door", ["invoke", "ainvoke"])
async def test_a_passing_failure_is_tried_again(
    door: str, make: Make, chat_server: ChatServer
) -> None:
    chat_server.reply = lambda body: (
        Reply("busy", status=429, headers={"Retry-After": "0"})
        if len(chat_server.requests) < 3
        else "all is well"
    )
    llm = ChatBestRoute(pool=pool_of(chat_server, make())).bind(model="small")
    assert (await answered(llm, door)).content == "all is well"
    assert len(asked(chat_server)) == 3


@pytest.mark.parametrize("door", ["invoke", "ainvoke"])
async def test_a_server_that_is_not_there_is_tried_again(door: str, make: Make) -> None:
    with ChatServer() as gone:
        pass
    away = make(gone)
    with ChatServer("It is 42") as server:
        message = await answered(ChatBestRoute(pool=pool_of(server, away)), door)
        named = ChatBestRoute(pool=pool_of(server, away)).bind(model="small")
        with pytest.raises(SamplingError) as caught:
            await answered(named, door)
    assert message.content == "It is 42"
    (degraded,) = message.response_metadata["bestroute"]["degraded"]
    assert "0 of 3 samples of small came" in degraded
    assert len(caught.value.calls) == 3


@pytest.mark.parametrize("door", DOORS)
async def test_a_call_has_a_time_limit(door: str, make: Make, chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply("late", delay=1.5 if body["model"] == "small" else 0)
    pool = pool_of(chat_server, make(), params={"timeout": 0.3})
    llm = ChatBestRoute(pool=pool, max_retries=0)
    message = await answered(llm, door)
    assert message.content == "late"
    (degraded,) = message.response_metadata["bestroute"]["degraded"]
    assert "0 of 3 samples of small came" in degraded


async def test_a_time_limit_says_so(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("late", delay=1)
    client = ChatModelClient(HouseChat(url=chat_server.url))
    with pytest.raises(TimeoutError, match=r"nothing came for 0\.2 seconds"):
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
    llm = ChatBestRoute(pool=pool_of(chat_server, make(), price=price)).bind(model="small")
    message = await answered(llm, door)
    facts = message.response_metadata["bestroute"]
    assert facts["cost"] == pytest.approx((40 * 2 + 60 * 0.5 + 5 * 10) / 1e6)
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_token_details"] == {"cache_read": 60}


# By hand


async def test_a_pool_built_by_hand(make: Make, chat_server: ChatServer) -> None:
    small = PooledModel(
        model="house/small", name="small", max_samples=2, client=ChatModelClient(make())
    )
    big = PooledModel(
        model="openai/big", name="big", reference=True, client=ChatModelClient(make(model="big"))
    )
    engine = BestRoute(ModelPool(models=(small, big)), policy=Cascade(n=2))
    assert (await engine.acomplete(ASK)).text == "ok"
    assert (await asyncio.to_thread(engine.complete, ASK)).text == "ok"
    assert len(asked(chat_server)) == 4
    assert (await ChatBestRoute(engine=engine).ainvoke(ASK)).content == "ok"
