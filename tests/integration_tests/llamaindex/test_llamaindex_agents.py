"""Agents with two tools, on native tool calls and in text, alone and in a workflow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.memory import Memory
from llama_index.core.tools import FunctionTool, QueryEngineTool

from llamaindex_bestroute import BestRouteLLM
from tests.servers import Body, ChatServer, Message, Reply
from tests.thinking_server import THOUGHT, ThinkingServer, said

ASK = "How many seats do 4 rows of 10 have, and 2 more?"
BOTH = [("multiply", {"a": 4, "b": 10}, "40"), ("add", {"a": 40, "b": 2}, "42")]


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


TOOLS = [FunctionTool.from_defaults(each) for each in (multiply, add)]


def _call(name: str, **arguments: Any) -> Message:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"tool_calls": [{"id": f"call-{name}", "type": "function", "function": function}]}


def _native(body: Body) -> Reply:
    """Multiplies, adds, answers; each time one of three samples calls a tool that is none."""
    brought = [m["content"] for m in body["messages"] if m["role"] == "tool"]
    steps = [_call("multiply", a=4, b=10), _call("add", a=40, b=2)]
    said: Any = f"{brought[-1]} seats" if len(brought) > 1 else steps[len(brought)]
    return Reply([said, _call("guess"), said][: body.get("n") or 1])


def _in_text(body: Body) -> Reply:
    """The same in ReAct's format."""
    brought = [m["content"] for m in body["messages"] if m["content"].startswith("Observation:")]
    steps = [
        'Thought: I need a tool.\nAction: multiply\nAction Input: {"a": 4, "b": 10}',
        'Thought: One more.\nAction: add\nAction Input: {"a": 40, "b": 2}',
        "Thought: I can answer.\nAnswer: 42 seats",
    ]
    said = steps[len(brought)]
    return Reply([said, "Answer: many", said][: body["n"]])


async def _run(agent: Any, **options: Any) -> tuple[str, list[Any], list[str]]:
    """The answer, the tools called, and what streamed."""
    handler = agent.run(ASK, **options)
    called, streamed = [], []
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            output = event.tool_output
            called.append((event.tool_name, event.tool_kwargs, str(output.content)))
        elif isinstance(event, AgentStream):
            streamed.append(event.delta)
    return str(await handler), called, streamed


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(("kind", "script"), [(FunctionAgent, _native), (ReActAgent, _in_text)])
async def test_an_agent_with_two_tools(
    kind: Any,
    script: Any,
    streaming: bool,
    llm: BestRouteLLM,
    router: Any,
    chat_server: ChatServer,
    answers: list[dict[str, Any]],
) -> None:
    chat_server.reply = script
    llm.callback_manager.add_handler(counter := TokenCountingHandler())
    said, called, streamed = await _run(kind(tools=TOOLS, llm=llm, streaming=streaming))
    assert said == "42 seats"
    assert called == BOTH
    assert "42 seats" in "".join(streamed) if streaming else not streamed
    assert router.read == [ASK] * 3  # not what the tools brought
    assert [body["n"] for body in chat_server.requests] == [3] * 3
    assert [answer["bestroute"]["arm"] for answer in answers] == ["openai/small:3"] * 3
    paid = sum(answer["usage"]["total_tokens"] for answer in answers)
    assert counter.total_llm_token_count == paid > 0


async def test_every_call_keeps_its_answer_beside_it(
    llm: BestRouteLLM, chat_server: ChatServer
) -> None:
    chat_server.reply = _native
    await _run(FunctionAgent(tools=TOOLS, llm=llm))
    roles = [message["role"] for message in chat_server.requests[-1]["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "tool"]
    messages = chat_server.requests[-1]["messages"]
    for asked, answered in ((1, 2), (3, 4)):
        [call] = messages[asked]["tool_calls"]
        assert messages[answered]["tool_call_id"] == call["id"]


async def test_a_conversation_goes_on(
    llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = _native
    agent = FunctionAgent(tools=TOOLS, llm=llm)
    memory = Memory.from_defaults(token_limit=4000)
    await _run(agent, memory=memory)
    chat_server.reply = lambda body: Reply(["You are welcome"] * body["n"])
    assert str(await agent.run("Thank you", memory=memory)) == "You are welcome"
    assert router.read[-1] == "Thank you"
    assert [m["role"] for m in chat_server.requests[-1]["messages"]].count("tool") == 2


async def test_a_workflow_of_two_agents(
    llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    def reply(body: Body) -> Reply:
        offered = {tool["function"]["name"] for tool in body["tools"]}
        if "handoff" in offered and "multiply" not in offered:
            handing = _call("handoff", to_agent="counter", reason="sums")
            return Reply([handing] * body["n"])
        shown = [m for m in body["messages"] if m.get("content") in ("40", "42")]
        steps: list[Any] = [_call("multiply", a=4, b=10), _call("add", a=40, b=2), "42 seats"]
        return Reply([steps[len(shown)]] * body["n"])

    chat_server.reply = reply
    host = FunctionAgent(
        name="host", description="Greets.", llm=llm, tools=[], can_handoff_to=["counter"]
    )
    clerk = FunctionAgent(name="counter", description="Counts.", llm=llm, tools=TOOLS)
    said, called, _ = await _run(AgentWorkflow(agents=[host, clerk], root_agent="host"))
    assert said == "42 seats"
    assert called[1:] == BOTH
    assert called[0][:2] == ("handoff", {"to_agent": "counter", "reason": "sums"})
    assert set(router.read) == {ASK}


async def test_a_query_engine_as_a_tool(
    index: Any, llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    def reply(body: Body) -> Reply:
        if not body.get("tools"):  # the query engine
            return Reply(["C, G, D and A"] * body["n"])
        brought = [m["content"] for m in body["messages"] if m["role"] == "tool"]
        said: Any = brought[-1] if brought else _call("library", input="How is a cello tuned?")
        return Reply([said] * body["n"])

    chat_server.reply = reply
    library = QueryEngineTool.from_defaults(
        index.as_query_engine(llm=llm), name="library", description="Knows things."
    )
    agent = FunctionAgent(tools=[library, *TOOLS], llm=llm)
    assert str(await agent.run("Tell me about cellos.")) == "C, G, D and A"
    cellos = "Tell me about cellos."
    assert router.read == [cellos, "How is a cello tuned?", cellos]


def population(city: str) -> int:
    """People who live in a city."""
    return {"Oslo": 700}[city]


@pytest.mark.parametrize("streaming", [False, True])
async def test_thoughts_go_back_within_a_turn(streaming: bool) -> None:
    with ThinkingServer() as server:
        member = {"model": "anthropic/claude-sonnet-4-20250514", "reference": True}
        llm = BestRouteLLM({"models": [{**member, "params": server.params}]}, max_retries=0)
        tools = [FunctionTool.from_defaults(population)]
        agent = FunctionAgent(tools=tools, llm=llm, streaming=streaming)
        memory = Memory.from_defaults(session_id="1")
        for _ in range(2):
            answer, _called, _streamed = await _run(agent, memory=memory)
            assert answer == "It is 700"
    thoughts = [[block for block in each if block == THOUGHT] for each in said(server.requests[3])]
    assert thoughts[-1] == [THOUGHT]
    assert not any(thoughts[:-1])
