"""`model="bestroute/..."` in frameworks that speak LiteLLM, each by its own classes.

No extra brings them and their pins disagree: `make frameworks` installs them in virtual
environments of their own; elsewhere those that are absent are skipped. The model on loopback
refuses what OpenAI would refuse.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bestroute.provider
from tests.faithful_model import FaithfulModel
from tests.servers import ChatServer

os.environ |= {"OTEL_SDK_DISABLED": "true", "CREWAI_TRACING_ENABLED": "false"}

ASK = "What is six times seven?"
SAID = f"This is the answer to: {ASK}"
SUM = "Use add_numbers on 3 and 4"
SUMMED = "This is the answer to: 7"

INPUT = len(ASK.split())
OUTPUT = 3 * len(SAID.split())
COST = (INPUT + OUTPUT) / 1e6
"""Of all three samples, at $1 per 1M tokens."""


def add_numbers(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def server() -> Iterator[ChatServer]:
    faithful = FaithfulModel()
    with ChatServer(faithful) as running:
        yield running
    assert not faithful.refused


@pytest.fixture
def model(server: ChatServer, tmp_path: Path) -> str:
    """A pool file, as a LiteLLM model."""
    small = {"model": "openai/small", "name": "small", "max_samples": 3, "native_n": True}
    big = {"model": "openai/big", "name": "big", "reference": True}
    models: list[dict[str, Any]] = [
        {**small, "price": {"input": 1, "output": 1}, "params": server.params},
        {**big, "price": {"input": 10, "output": 10}, "params": server.params},
    ]
    path = tmp_path / "pool.yaml"
    path.write_text(json.dumps({"models": models}), encoding="utf-8")
    return f"bestroute/{path}"


def asked(server: ChatServer) -> list[tuple[str, int]]:
    return [(body["model"], body.get("n", 1)) for body in server.requests]


# The page's own examples

PAGE = Path(__file__).parents[2] / "docs" / "litellm.md"
EXAMPLES = dict(
    re.findall(
        r'^```python title="(.*?)"\n(.*?)^```', PAGE.read_text(encoding="utf-8"), re.M | re.S
    )
)
NEEDS = {
    "DSPy": "dspy",
    "OpenAI Agents SDK": "agents.extensions.models.litellm_model",
    "CrewAI": "crewai",
    "LangChain's ChatLiteLLM": "langchain_litellm",
    "LlamaIndex's LiteLLM": "llama_index.llms.litellm",
}


@pytest.mark.parametrize("title", NEEDS)
def test_the_page_s_example_runs(
    title: str,
    model: str,
    server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    pytest.importorskip(NEEDS[title])
    if title == "DSPy":
        request.getfixturevalue("dspy")  # which keeps answers on disk, from one run to the next
    monkeypatch.chdir(Path(model.removeprefix("bestroute/")).parent)
    bestroute.provider.provider._engines.clear()  # of another test's pool.yaml
    exec(compile(EXAMPLES[title], title, "exec"), {})
    assert server.requests


# LangChain's own LiteLLM class


async def test_langchain(server: ChatServer, model: str) -> None:
    chat = pytest.importorskip("langchain_litellm").ChatLiteLLM(model=model)
    usage = {"input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
    for message in (chat.invoke(ASK), await chat.ainvoke(ASK)):
        assert message.content == SAID
        assert message.usage_metadata.items() >= usage.items()
        assert message.response_metadata["response_cost"] == pytest.approx(COST)
    assert asked(server) == [("small", 3)] * 2


async def test_langchain_streams(model: str) -> None:
    chat = pytest.importorskip("langchain_litellm").ChatLiteLLM(model=model)
    for pieces in (list(chat.stream(ASK)), [each async for each in chat.astream(ASK)]):
        assert "".join(piece.content for piece in pieces) == SAID
        (usage,) = [piece.usage_metadata for piece in pieces if piece.usage_metadata]
        assert (usage["input_tokens"], usage["output_tokens"]) == (INPUT, OUTPUT)


def test_langchain_tools_and_options(server: ChatServer, model: str) -> None:
    module = pytest.importorskip("langchain_litellm")
    chat = module.ChatLiteLLM(model=model, model_kwargs={"max_n": 2}).bind_tools([add_numbers])
    (call,) = chat.invoke(SUM).tool_calls
    assert (call["name"], call["args"]) == ("add_numbers", {"a": 3, "b": 4})
    whole = None
    for piece in chat.stream(SUM):
        whole = piece if whole is None else whole + piece
    (call,) = whole.tool_calls
    assert (call["name"], call["args"]) == ("add_numbers", {"a": 3, "b": 4})
    assert asked(server) == [("small", 2)] * 2


# LlamaIndex's own LiteLLM class


async def test_llamaindex(server: ChatServer, model: str) -> None:
    llm = pytest.importorskip("llama_index.llms.litellm").LiteLLM(model=model)
    for response in (llm.complete(ASK), await llm.acomplete(ASK)):
        assert response.text == SAID
        assert response.raw.usage.completion_tokens == OUTPUT
        assert response.raw._hidden_params["bestroute"]["arm"] == "small:3"
        assert response.raw._hidden_params["response_cost"] == pytest.approx(COST)
    assert asked(server) == [("small", 3)] * 2


async def test_llamaindex_streams(model: str) -> None:
    llm = pytest.importorskip("llama_index.llms.litellm").LiteLLM(model=model)
    pieces = list(llm.stream_complete(ASK))
    assert pieces[-1].text == SAID
    pieces = [each async for each in await llm.astream_complete(ASK)]
    assert pieces[-1].text == SAID


def test_llamaindex_tools_and_options(server: ChatServer, model: str) -> None:
    module = pytest.importorskip("llama_index.llms.litellm")
    from llama_index.core.tools import FunctionTool

    llm = module.LiteLLM(model=model, additional_kwargs={"max_n": 2})
    tool = FunctionTool.from_defaults(add_numbers)
    answer = llm.chat_with_tools([tool], user_msg=SUM)
    (call,) = llm.get_tool_calls_from_response(answer)
    assert (call.tool_name, call.tool_kwargs) == ("add_numbers", {"a": 3, "b": 4})
    assert llm.metadata.is_function_calling_model  # LiteLLM was told, once the pool was read
    assert asked(server) == [("small", 2)]


# DSPy


@pytest.fixture
def dspy() -> Any:
    module = pytest.importorskip("dspy")
    module.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    return module


async def test_dspy(server: ChatServer, model: str, dspy: Any) -> None:
    lm = dspy.LM(model)
    for texts in (lm(ASK), await lm.acall(ASK)):
        assert texts == [SAID]
        told = lm.history[-1]
        assert told["cost"] == pytest.approx(COST)
        assert told["usage"]["completion_tokens"] == OUTPUT
        assert told["response"]._hidden_params["bestroute"]["arm"] == "small:3"
    assert asked(server) == [("small", 3)] * 2
    assert dspy.LM(model, extra_body={"max_n": 2})(ASK) == [SAID]
    assert asked(server)[-1] == ("small", 2)


async def test_a_dspy_program(server: ChatServer, model: str, dspy: Any) -> None:
    server.reply = "[[ ## answer ## ]]\nforty two\n\n[[ ## completed ## ]]"
    with dspy.context(lm=dspy.LM(model), track_usage=True):
        found = dspy.Predict("question -> answer")(question=ASK)
        assert found.answer == "forty two"
        (usage,) = found.get_lm_usage().values()
        assert usage["completion_tokens"] == 3 * len(server.reply.split())
        program = dspy.streamify(
            dspy.Predict("question -> answer"),
            stream_listeners=[dspy.streaming.StreamListener(signature_field_name="answer")],
        )
        items = [each async for each in program(question=ASK)]
    assert items[-1].answer == "forty two"


# The OpenAI Agents SDK


@pytest.fixture
def agents() -> Any:
    module = pytest.importorskip("agents")
    if not hasattr(module, "Runner"):
        pytest.skip("another package than OpenAI's calls itself agents")
    module.set_tracing_disabled(True)
    return module


def an_agent(agents: Any, model: str, **settings: Any) -> Any:
    from agents.extensions.models.litellm_model import LitellmModel

    return agents.Agent(
        name="helper",
        instructions="Be brief.",
        model=LitellmModel(model=model),
        tools=[agents.function_tool(add_numbers)],
        model_settings=agents.ModelSettings(include_usage=True, **settings),
    )


def check_usage(done: Any, *, samples: int) -> None:
    """That of all samples of both turns: the call of the tool, and the answer."""
    usage = done.context_wrapper.usage
    call, answer = usage.request_usage_entries
    told, result = len("Be brief.".split()), 1
    assert call.input_tokens == told + len(SUM.split())
    assert answer.input_tokens == call.input_tokens + result
    assert answer.output_tokens == samples * len(SUMMED.split())
    assert usage.requests == 2 and call.output_tokens >= samples


async def test_openai_agents(server: ChatServer, model: str, agents: Any) -> None:
    agent = an_agent(agents, model, extra_args={"max_n": 2})
    done = await agents.Runner.run(agent, SUM)
    assert done.final_output == SUMMED
    assert asked(server) == [("small", 2)] * 2
    check_usage(done, samples=2)


async def test_openai_agents_stream(model: str, agents: Any) -> None:
    running = agents.Runner.run_streamed(an_agent(agents, model), SUM)
    events = [each async for each in running.stream_events()]
    raw = [each.data for each in events if each.type == "raw_response_event"]
    text = [each.delta for each in raw if each.type == "response.output_text.delta"]
    assert "".join(text) == running.final_output == SUMMED
    check_usage(running, samples=3)


def test_openai_agents_by_name(model: str, agents: Any) -> None:
    agent = agents.Agent(name="helper", model=f"litellm/{model}")
    assert agents.Runner.run_sync(agent, ASK).final_output == SAID


# CrewAI


@pytest.fixture
def crewai() -> Any:
    module = pytest.importorskip("crewai")
    if module.__version__.startswith("0."):
        pytest.skip("CrewAI before 1.0: another interface")
    return module


def test_crewai(server: ChatServer, model: str, crewai: Any) -> None:
    assert crewai.LLM(model=model).call(ASK) == SAID
    assert crewai.LLM(model=model, stream=True).call(ASK) == SAID
    assert crewai.LLM(model=model, max_n=2).call(ASK) == SAID
    assert asked(server) == [("small", 3), ("small", 3), ("small", 2)]


def test_crewai_tools(model: str, crewai: Any) -> None:
    numbers = {name: {"type": "integer"} for name in "ab"}
    parameters = {"type": "object", "properties": numbers}
    tool = {"type": "function", "function": {"name": "add_numbers", "parameters": parameters}}
    llm = crewai.LLM(model=model)
    assert llm.call(SUM, tools=[tool], available_functions={"add_numbers": add_numbers}) == 7


async def test_a_crew(server: ChatServer, model: str, crewai: Any) -> None:
    server.reply = "Thought: I now can give a great answer\nFinal Answer: 42"
    agent = crewai.Agent(
        role="helper", goal="answer", backstory="none", llm=crewai.LLM(model=model)
    )
    task = crewai.Task(description=ASK, expected_output="a number", agent=agent)
    crew = crewai.Crew(agents=[agent], tasks=[task])
    assert (await crew.kickoff_async()).raw == "42"
    assert set(asked(server)) == {("small", 3)}
