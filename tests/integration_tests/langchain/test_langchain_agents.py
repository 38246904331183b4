"""Agents with two tools over HTTP, with and without BestRouteMiddleware."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    SummarizationMiddleware,
    wrap_model_call,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import BaseModel

from bestroute import Arm, BestRoute, ModelPool
from bestroute.errors import SamplingError
from bestroute.policy import Accept, Draw
from bestroute.policy.base import State
from bestroute.policy.once import settled
from bestroute.routers.base import Prediction
from langchain_bestroute import BestRouteMiddleware, ChatBestRoute
from tests.servers import Body, ChatServer, Reply
from tests.thinking_server import THOUGHT, ThinkingServer, said

ASK = "Twice the people of Oslo?"
THREAD: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": 50}


@tool
def population(city: str) -> int:
    """People who live in a city."""
    return {"Oslo": 700}[city]


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


TOOLS = [population, multiply]


def call(name: str, arguments: Any, id_: str) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": id_, "type": "function", "function": function}


def begins(body: Body) -> bool:
    """Whether a user turn does."""
    return bool(body["messages"][-1]["role"] == "user")


def counting(body: Body) -> Reply:
    """Looks the city up, doubles the number, says it; all samples agree."""
    last = body["messages"][-1]
    said: Any = f"It is {last['content']}"
    if last["role"] == "user":
        said = {"tool_calls": [call("population", {"city": "Oslo"}, "c1")]}
    elif last["content"] == "700":
        said = {"tool_calls": [call("multiply", {"a": 2, "b": 700}, "c2")]}
    return Reply([said] * (body.get("n") or 1))


class FlipFlop:
    """A policy that wants another model at each decision, as many samples as it can have."""

    name = "flip-flop"
    needs_router = False
    calibrated = False

    def __init__(self, *models: str) -> None:
        self.wanted = itertools.cycle(models)

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        if (end := settled(state)) is not None:
            return end
        wanted = next(self.wanted)
        arm = ([arm for arm in state.arms if arm.model == wanted] or state.arms)[-1]
        return (Draw(model=arm.model, n=arm.n, final=True),)


def pool(server: ChatServer, samples: int = 3) -> ModelPool:
    """A cheap model, a reference, and what they cost, also for a cached prompt."""
    params = server.params
    small = {"model": "openai/small", "name": "small", "max_samples": samples, "native_n": True}
    big = {"model": "openai/big", "name": "big", "reference": True}
    prices: Any = {"input": 1, "output": 1}, {"input": 5, "output": 5, "cached_input": 0.5}
    members = [
        {**member, "params": params, "price": price, "context_window": 100_000}
        for member, price in zip((small, big), prices, strict=True)
    ]
    return ModelPool.from_dict({"models": members})


def fickle(server: ChatServer, *models: str, samples: int = 3) -> ChatBestRoute:
    policy = FlipFlop(*(models or ("small", "big")))
    return ChatBestRoute(engine=BestRoute(pool(server, samples), policy=policy))


def routed(llm: ChatBestRoute, *others: AgentMiddleware[Any, Any], **options: Any) -> Any:
    """An agent whose own model is never asked."""
    options.setdefault("middleware", [BestRouteMiddleware(llm), *others])
    options.setdefault("tools", TOOLS)
    return create_agent(FakeListChatModel(responses=["never"]), **options)


async def run(agent: Any, door: str, said: Any, config: Any = None) -> dict[str, Any]:
    given = said if isinstance(said, Command) else {"messages": said}
    if door == "invoke":
        return agent.invoke(given, config)
    return await agent.ainvoke(given, config)


def models(server: ChatServer) -> list[str]:
    return [body["model"] for body in server.requests]


DOORS = ["invoke", "ainvoke"]


# Tools


@pytest.mark.parametrize("door", DOORS)
async def test_an_agent_with_two_tools(door: str, chat_server: ChatServer) -> None:
    chat_server.reply = counting
    found = await run(create_agent(ChatBestRoute(pool=pool(chat_server)), TOOLS), door, ASK)
    assert found["messages"][-1].content == "It is 1400"
    kinds = [message.type for message in found["messages"]]
    assert kinds == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert [body["n"] for body in chat_server.requests] == [3, 3, 3]


@pytest.mark.parametrize("door", DOORS)
async def test_without_the_middleware_a_turn_may_be_split(
    door: str, chat_server: ChatServer
) -> None:
    chat_server.reply = counting
    await run(create_agent(fickle(chat_server), TOOLS), door, ASK)
    assert models(chat_server) == ["small", "big", "small"]


@pytest.mark.parametrize("door", DOORS)
async def test_a_turn_is_never_split(door: str, chat_server: ChatServer) -> None:
    chat_server.reply = counting
    agent = routed(fickle(chat_server), checkpointer=InMemorySaver())
    for _ in range(2):
        found = await run(agent, door, ASK, THREAD)
        assert found["messages"][-1].content == "It is 1400"
    assert models(chat_server) == ["small"] * 3 + ["big"] * 3


def test_best_of_n_goes_on_within_a_turn(chat_server: ChatServer) -> None:
    chat_server.reply = counting
    routed(fickle(chat_server)).invoke({"messages": ASK})
    assert [body["n"] for body in chat_server.requests] == [3, 3, 3]


def test_tool_call_ids_and_results_reach_the_model(chat_server: ChatServer) -> None:
    chat_server.reply = counting
    routed(fickle(chat_server)).invoke({"messages": ASK})
    sent = chat_server.requests[-1]["messages"]
    assert [each["tool_calls"][0]["id"] for each in sent if each.get("tool_calls")] == ["c1", "c2"]
    assert [each["tool_call_id"] for each in sent if each["role"] == "tool"] == ["c1", "c2"]


def refused_after_the_first(body: Body) -> Reply:
    return counting(body) if begins(body) else Reply("no", status=401)


@pytest.mark.parametrize("door", DOORS)
async def test_no_other_model_of_the_pool_stands_in_within_a_turn(
    door: str, chat_server: ChatServer
) -> None:
    chat_server.reply = refused_after_the_first
    with pytest.raises(SamplingError, match="small"):
        await run(routed(fickle(chat_server)), door, ASK)
    assert set(models(chat_server)) == {"small"}


@pytest.mark.parametrize("door", DOORS)
async def test_a_fallback_that_the_user_listed_does(door: str, chat_server: ChatServer) -> None:
    chat_server.reply = refused_after_the_first
    fallback = ModelFallbackMiddleware(Recording(responses=["I take over"]))
    found = await run(routed(fickle(chat_server), fallback), door, ASK)
    assert found["messages"][-1].content == "I take over"
    assert fallback.models[0].bound == [{}]  # type: ignore[attr-defined]


class Recording(FakeListChatModel):
    """Keeps the settings that it is bound to."""

    bound: list[dict[str, Any]] = []

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        self.bound.append(kwargs)
        return self


@pytest.mark.parametrize("door", DOORS)
async def test_a_reminder_of_other_middleware_does_not_split_a_turn(
    door: str, chat_server: ChatServer
) -> None:
    chat_server.reply = lambda body: counting({"messages": body["messages"][:-1], "n": body["n"]})
    llm = fickle(chat_server)
    await run(routed(llm, middleware=[_Reminding(), BestRouteMiddleware(llm)]), door, ASK)
    assert models(chat_server) == ["small"] * 3


class _Reminding(AgentMiddleware[Any, Any]):
    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(self._reminded(request))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(self._reminded(request))

    def _reminded(self, request: Any) -> Any:
        return request.override(messages=[*request.messages, HumanMessage("Be brief.")])


# Thoughts


@pytest.fixture
def thinker() -> Iterator[ThinkingServer]:
    with ThinkingServer() as server:
        yield server


def thinking(server: ThinkingServer, **fields: Any) -> ChatBestRoute:
    member = {"model": "anthropic/claude-sonnet-4-20250514", "name": "claude", "reference": True}
    pool = {"models": [{**member, "params": server.params}]}
    return ChatBestRoute(pool=pool, max_retries=0, **fields)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("bare", [False, True])
async def test_thoughts_go_back_within_a_turn(
    bare: bool, streaming: bool, version: str | None, door: str, thinker: ThinkingServer
) -> None:
    llm = thinking(thinker, streaming=streaming, output_version=version)
    middleware = [] if bare else [BestRouteMiddleware(llm)]
    agent = create_agent(llm, [population], middleware=middleware, checkpointer=strict())
    for _ in range(2):
        found = await run(agent, door, ASK, THREAD)
        assert found["messages"][-1].text == "It is 700"
    thoughts = [[block for block in each if block == THOUGHT] for each in said(thinker.requests[3])]
    assert thoughts == [[], [], [THOUGHT]]


def test_thoughts_of_one_model_are_never_sent_to_another(chat_server: ChatServer) -> None:
    def thinks(body: Body) -> Reply:
        reply = counting(body)
        heard = {"reasoning_content": f"{body['model']} thinks"}
        given = [each if isinstance(each, str) else {**each, **heard} for each in reply.content]
        return replace(reply, content=given)

    chat_server.reply = thinks
    create_agent(fickle(chat_server, samples=1), TOOLS).invoke({"messages": ASK})
    sent = [
        [each.get("reasoning_content") for each in body["messages"] if each["role"] == "assistant"]
        for body in chat_server.requests
    ]
    assert models(chat_server) == ["small", "big", "small"]
    assert sent == [[], [None], ["small thinks", None]]
    assert "made_by" not in json.dumps(chat_server.requests)


# A session


class Words:
    """A router: the cheap model can do whatever is easy."""

    def __init__(self, arms: tuple[Arm, ...]) -> None:
        self.arms = arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        can = [
            [1.0 if arm.model == "big" else float("easy" in q) for arm in self.arms]
            for q in queries
        ]
        return Prediction(self.arms, np.array(can))


LONG = "Rule: be kind. " * 2000  # about 7,500 tokens


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("later", "options", "then"),
    [
        (0, {}, "big"),  # 7,500 x $0.5 is less than 7,500 x $1
        (299, {}, "big"),
        (301, {}, "small"),
        (0, {"cache_ttl": 0}, "small"),
        (0, {"min_cached_tokens": 10_000}, "small"),
    ],
)
async def test_a_session_stays_where_its_prompt_is_cached(
    door: str, later: float, options: dict[str, Any], then: str, chat_server: ChatServer
) -> None:
    now = 1000.0
    models_ = pool(chat_server, samples=1)
    engine = BestRoute(models_, router=Words(models_.arms), threshold=0.5)
    llm = ChatBestRoute(engine=engine)
    agent = routed(
        llm,
        middleware=[BestRouteMiddleware(llm, clock=lambda: now, **options)],
        tools=[],
        system_prompt=LONG,
        checkpointer=InMemorySaver(),
    )
    usage = {"prompt_tokens": 7500, "completion_tokens": 1, "total_tokens": 7501}
    chat_server.reply = Reply("ok", usage=usage)
    await run(agent, door, "This is hard.", THREAD)
    now += later
    await run(agent, door, "This is easy.", THREAD)
    assert models(chat_server) == ["big", then]


@pytest.mark.parametrize(("reported", "then"), [(7000, "big"), (0, "small")])
def test_a_provider_that_caches_nothing_is_found_out_within_a_turn(
    reported: int, then: str, chat_server: ChatServer
) -> None:
    tokens = {"prompt_tokens": 7500, "completion_tokens": 1, "total_tokens": 7501}
    usage = {**tokens, "prompt_tokens_details": {"cached_tokens": reported}}
    chat_server.reply = lambda body: replace(counting(body), usage=usage)
    models_ = pool(chat_server, samples=1)
    llm = ChatBestRoute(engine=BestRoute(models_, router=Words(models_.arms), threshold=0.5))
    agent = routed(llm, system_prompt=LONG, checkpointer=InMemorySaver())
    agent.invoke({"messages": "This is hard."}, THREAD)
    agent.invoke({"messages": "This is easy."}, THREAD)
    assert models(chat_server) == ["big"] * 3 + [then] * 3


# Checkpoints


def strict() -> InMemorySaver:
    """Only plain data and LangChain's own messages come back out of it."""
    return InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))


def test_the_memory_is_plain_data_and_private(chat_server: ChatServer) -> None:
    chat_server.reply = counting
    agent = routed(fickle(chat_server), checkpointer=strict())
    found = agent.invoke({"messages": ASK}, THREAD)
    assert "bestroute" not in found
    kept = agent.get_state(THREAD).values["bestroute"]
    assert json.loads(json.dumps(kept)) == kept
    assert kept["model"] == "small"
    assert kept["message"] == found["messages"][-1].id
    for schema in (agent.get_input_jsonschema(), agent.get_output_jsonschema()):
        assert "bestroute" not in schema["properties"]


DECISIONS: list[dict[str, Any]] = [
    {"type": "approve"},
    {"type": "edit", "edited_action": {"name": "multiply", "args": {"a": 3, "b": 700}}},
    {"type": "reject", "message": "not now"},
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: decision["type"])
async def test_an_interrupted_turn_goes_on_with_its_model(
    door: str,
    decision: dict[str, Any],
    chat_server: ChatServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    chat_server.reply = counting
    saver, ask = strict(), HumanInTheLoopMiddleware(interrupt_on={"multiply": True})
    asked = await run(
        routed(fickle(chat_server, "big", "small"), ask, checkpointer=saver), door, ASK, THREAD
    )
    assert asked["__interrupt__"]
    # Another process, whose router would rather have the other model.
    again = routed(fickle(chat_server, "small"), ask, checkpointer=saver)
    found = await run(again, door, Command(resume={"decisions": [decision]}), THREAD)
    assert isinstance(found["messages"][-1], AIMessage)
    assert models(chat_server) == ["big"] * 3
    assert "Blocked" not in caplog.text  # all that was kept came back


def test_a_client_that_sends_messages_back_without_metadata(chat_server: ChatServer) -> None:
    chat_server.reply = counting
    saver, ask = strict(), HumanInTheLoopMiddleware(interrupt_on={"population": True})
    agent = routed(fickle(chat_server, "big", "small"), ask, checkpointer=saver)
    stripped = agent.invoke({"messages": ASK}, THREAD)["messages"][-1]
    stripped.response_metadata = {}
    agent.update_state(THREAD, {"messages": [stripped]})
    assert not agent.get_state(THREAD).values["messages"][-1].response_metadata
    agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert set(models(chat_server)) == {"big"}


def test_an_agent_as_a_node_of_a_graph(chat_server: ChatServer) -> None:
    chat_server.reply = counting
    graph = StateGraph(MessagesState)
    graph.add_node("agent", routed(fickle(chat_server)))
    graph.add_edge(START, "agent")
    found = graph.compile(checkpointer=strict()).invoke({"messages": ASK}, THREAD)
    assert found["messages"][-1].content == "It is 1400"
    assert models(chat_server) == ["small"] * 3


# Summaries


@pytest.mark.parametrize("door", DOORS)
async def test_the_memory_outlives_the_messages(door: str, chat_server: ChatServer) -> None:
    chat_server.reply = counting
    with ChatServer("They spoke of Oslo.") as writer:
        member = {"model": "openai/writer", "reference": True, "params": writer.params}
        summary = SummarizationMiddleware(
            ChatBestRoute(pool={"models": [member]}), trigger=("messages", 4), keep=("messages", 2)
        )
        agent = routed(fickle(chat_server), summary, checkpointer=strict())
        for turn in (1, 2):
            found = await run(agent, door, f"{turn}: {ASK}", THREAD)
        assert writer.requests
    assert found["messages"][0].content.endswith("They spoke of Oslo.")
    assert agent.get_state(THREAD).values["bestroute"]["prompts"].keys() == {"small", "big"}
    assert [begins(body) for body in chat_server.requests] == [True, False, False] * 2
    assert models(chat_server) == ["small"] * 3 + ["big"] * 3


# Structured output


class City(BaseModel):
    """A city."""

    name: str
    people: int


CITY = {"name": "Oslo", "people": 700}


def describing(body: Body) -> Reply:
    """Looks the city up, then says it as it is to be said."""
    n = body.get("n") or 1
    if begins(body):
        return Reply([{"tool_calls": [call("population", {"city": "Oslo"}, "c1")]}] * n)
    if body.get("response_format"):
        return Reply([json.dumps(CITY)] * n)
    return Reply([{"tool_calls": [call("City", CITY, "c2")]}] * n)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy, lambda schema: schema])
async def test_structured_output(door: str, strategy: Any, chat_server: ChatServer) -> None:
    chat_server.reply = describing
    llm = fickle(chat_server, "small", "big", "big", "small")
    agent = routed(llm, response_format=strategy(City), checkpointer=InMemorySaver())
    for _ in range(2):
        found = await run(agent, door, ASK, THREAD)
        assert found["structured_response"] == City(**CITY)
    assert models(chat_server) == ["small"] * 2 + ["big"] * 2


# Settings and history of another model


@wrap_model_call
def _caching(request: Any, handler: Any) -> Any:
    settings = {
        "temperature": 0.25,
        "cache_control": {"type": "ephemeral"},
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "reasoning_effort": "high",
    }
    return handler(request.override(model_settings=settings))


@pytest.mark.parametrize("keep", [(), ("service_tier",)])
def test_settings_of_the_agents_own_model_stay_behind(
    keep: tuple[str, ...], chat_server: ChatServer
) -> None:
    llm = fickle(chat_server)
    stack = [_caching, BestRouteMiddleware(llm, keep_settings=keep)]
    routed(llm, middleware=stack).invoke({"messages": ASK})
    for body in chat_server.requests:
        assert body["temperature"] == 0.25
        extra = {"cache_control", "prompt_cache_key", "service_tier", "reasoning_effort"}
        assert extra & body.keys() == set(keep)


def test_thoughts_and_marks_of_another_model_stay_behind(chat_server: ChatServer) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    use = {"type": "tool_use", "id": "t1", "name": "population", "input": {"city": "Oslo"}}
    told = AIMessage(
        [thought, {"type": "text", "text": "Let me look.", **mark}, use],
        tool_calls=[{"name": "population", "args": {"city": "Oslo"}, "id": "t1"}],
    )
    history = [
        HumanMessage([{"type": "text", "text": "How many?", **mark}]),
        told,
        ToolMessage("700", tool_call_id="t1"),
        AIMessage([{"type": "reasoning", "id": "r", "summary": []}, {"type": "text", "text": "7"}]),
        HumanMessage("Sure?"),
    ]
    routed(fickle(chat_server)).invoke({"messages": history})
    sent = json.dumps(chat_server.requests[0])
    for word in ("thinking", "signature", "sig", "cache_control", "reasoning", "tool_use"):
        assert f'"{word}"' not in sent
    messages = chat_server.requests[0]["messages"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == "t1"


# Streams


def texts(pieces: Sequence[Any]) -> list[str]:
    """What models said, piece by piece."""
    return [
        piece.text
        for piece, _ in pieces
        if isinstance(piece, AIMessage | AIMessageChunk) and piece.text
    ]


async def streamed(agent: Any, door: str) -> list[str]:
    said = {"messages": ASK}
    if door == "invoke":
        return texts(list(agent.stream(said, stream_mode="messages")))
    return texts([piece async for piece in agent.astream(said, stream_mode="messages")])


@pytest.mark.parametrize("door", DOORS)
async def test_one_sample_streams_word_by_word(door: str, chat_server: ChatServer) -> None:
    chat_server.reply = counting
    assert await streamed(routed(fickle(chat_server, samples=1)), door) == ["It", " is", " 1400"]


def disagreeing(body: Body) -> Reply:
    """Two samples of three say the same."""
    reply = counting(body)
    if isinstance(reply.content[0], str):
        return Reply(["It is 7", *reply.content[1:]])
    return reply


@pytest.mark.parametrize("door", DOORS)
async def test_of_several_samples_only_the_best_is_streamed(
    door: str, chat_server: ChatServer
) -> None:
    chat_server.reply = disagreeing
    agent = routed(fickle(chat_server, "small"))
    assert await streamed(agent, door) == ["It is 1400"]
    assert [body["n"] for body in chat_server.requests] == [3, 3, 3]


# The documentation

PAGE = Path(__file__).parents[3] / "docs" / "agents.md"


def test_the_page_on_agents_runs(chat_server: ChatServer) -> None:
    chat_server.reply = counting
    served = f'"openai/served", "params": {chat_server.params},'
    scope: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        here = re.sub(r'"(groq|openai)/[^"]+",', served, block).replace('"openai:gpt-4o"', "llm")
        exec(here.replace("717_710", "700"), scope)
    assert scope["found"]["messages"][-1].content == "It is 1400"
    assert len(chat_server.requests) == 2 * 3
