"""Chat engines and query engines over query engines: each step's question is what is read."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from llama_index.core import Document, SummaryIndex, VectorStoreIndex
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.selectors import (
    LLMMultiSelector,
    LLMSingleSelector,
    PydanticMultiSelector,
    PydanticSingleSelector,
)
from llama_index.core.tools import QueryEngineTool

from bestroute import BestRoute, ModelPool
from llamaindex_bestroute import BestRouteLLM
from tests.integration_tests.llamaindex.conftest import TEXTS
from tests.servers import Body, ChatServer, Reply

FIRST = "Which strings does a cello have?"
THEN = "And in which order?"
STANDALONE = "In which order are a cello's strings?"
CELLO = TEXTS[4]

CHAT_MODES = {
    "simple": [FIRST, THEN],
    "context": [FIRST, THEN],
    "condense_question": [FIRST, THEN, STANDALONE],
    "condense_plus_context": [FIRST, THEN, THEN],
    "best": [FIRST, THEN, THEN],
}
"""What the router is to read in two turns: where a question is condensed first, that too."""


def _talk(body: Body) -> Reply:
    said = body["messages"][-1]["content"].lower()
    answer = STANDALONE if "standalone question" in said else "C, G, D and A"
    return Reply([answer, "Eh?", answer][: body["n"]])


async def _said(chat: Any, door: str, message: str) -> str:
    response = getattr(chat, door)(message)
    if inspect.isawaitable(response):
        response = await response
    if door == "stream_chat":
        return "".join(response.response_gen)
    if door == "astream_chat":
        return "".join([piece async for piece in response.async_response_gen()])
    return str(response)


@pytest.mark.parametrize("mode", CHAT_MODES)
@pytest.mark.parametrize("door", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_a_chat_engine(
    mode: str,
    door: str,
    counter: TokenCountingHandler,  # before the index, which takes it over
    index: VectorStoreIndex,
    llm: BestRouteLLM,
    router: Any,
    chat_server: ChatServer,
    answers: list[dict[str, Any]],
) -> None:
    chat_server.reply = _talk
    chat = index.as_chat_engine(chat_mode=mode, llm=llm)
    assert [await _said(chat, door, each) for each in (FIRST, THEN)] == ["C, G, D and A"] * 2
    assert router.read == CHAT_MODES[mode]
    assert {answer["bestroute"]["arm"] for answer in answers} == {"openai/small:3"}
    assert len(answers) == len(chat_server.requests) == len(router.read)
    assert [body["n"] for body in chat_server.requests] == [3] * len(router.read)
    assert (CELLO in str(chat_server.requests[0]["messages"])) == (mode != "simple")
    history = [message.content for message in chat.chat_history]
    assert history == [FIRST, "C, G, D and A", THEN, "C, G, D and A"]
    assert counter.completion_llm_token_count == sum(
        answer["usage"]["completion_tokens"] for answer in answers
    )


def _tools(llm: BestRouteLLM, index: VectorStoreIndex) -> list[QueryEngineTool]:
    rivers = SummaryIndex.from_documents([Document(text=TEXTS[0])])
    return [
        QueryEngineTool.from_defaults(rivers.as_query_engine(llm=llm), "rivers", "On rivers."),
        QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), "music", "On music."),
    ]


def _choose(*choices: int, native: bool) -> Any:
    """Chooses by number, then answers from what it is shown, one of three samples amiss."""

    def reply(body: Body) -> Reply:
        said = body["messages"][-1]["content"]
        if "Some choices are given below" not in said:
            return Reply(["C, G, D and A", "Eh?", "C, G, D and A"][: body["n"]])
        if not native:
            text = json.dumps([{"choice": each, "reason": "fits"} for each in choices])
            return Reply([text, "the second", text][: body["n"]])
        function = body["tools"][0]["function"]["name"]
        made = [{"index": each, "reason": "fits"} for each in choices]
        arguments = made[0] if function == "SingleSelection" else {"selections": made}
        call = {"name": function, "arguments": json.dumps(arguments)}
        calls = {"tool_calls": [{"id": "c0", "type": "function", "function": call}]}
        return Reply([calls, "the second", calls][: body["n"]])

    return reply


SELECTORS = [
    (LLMSingleSelector, (2,), False),
    (LLMMultiSelector, (1, 2), False),
    (PydanticSingleSelector, (2,), True),
    (PydanticMultiSelector, (1, 2), True),
]


@pytest.mark.parametrize(("selector", "choices", "native"), SELECTORS)
@pytest.mark.parametrize("door", ["query", "aquery"])
async def test_a_router_query_engine(
    selector: Any,
    choices: tuple[int, ...],
    native: bool,
    door: str,
    index: VectorStoreIndex,
    llm: BestRouteLLM,
    router: Any,
    chat_server: ChatServer,
) -> None:
    chat_server.reply = _choose(*choices, native=native)
    engine = RouterQueryEngine.from_defaults(
        _tools(llm, index), llm=llm, selector=selector.from_defaults(llm=llm)
    )
    response: Any = engine.query(FIRST) if door == "query" else await engine.aquery(FIRST)
    assert str(response) == "C, G, D and A"
    chosen = response.metadata["selector_result"]
    assert [each.index for each in chosen.selections] == [each - 1 for each in choices]
    calls = {1: 2, 2: 4}[len(choices)]  # select, answer; select, answer twice, combine
    assert router.read == [FIRST] * calls
    assert [body["n"] for body in chat_server.requests] == [3] * calls


def test_a_router_query_engine_prefers_tools(index: VectorStoreIndex, llm: BestRouteLLM) -> None:
    engine = RouterQueryEngine.from_defaults(_tools(llm, index), llm=llm)
    assert isinstance(engine._selector, PydanticSingleSelector)


@pytest.mark.parametrize("use_async", [True, False])
async def test_a_sub_question_query_engine(
    use_async: bool,
    index: VectorStoreIndex,
    llm: BestRouteLLM,
    router: Any,
    chat_server: ChatServer,
) -> None:
    asked = {"rivers": "Where does the Nile flow?", "music": FIRST}
    items = [{"sub_question": text, "tool_name": name} for name, text in asked.items()]
    written = "```json\n" + json.dumps({"items": items}) + "\n```"
    answered = {asked["rivers"]: "Through Egypt", FIRST: "C, G, D and A"}
    whole = "Compare rivers and cellos."

    def reply(body: Body) -> Reply:
        said = body["messages"][-1]["content"]
        if "<Tools>" in said:
            text = written
        else:
            text = next((a for q, a in answered.items() if f"Query: {q}" in said), "Both flow.")
        return Reply([text] * body["n"])

    chat_server.reply = reply
    engine = SubQuestionQueryEngine.from_defaults(
        _tools(llm, index),
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        use_async=use_async,
        verbose=False,
    )
    response = await engine.aquery(whole) if use_async else engine.query(whole)
    assert str(response) == "Both flow."
    assert sorted(router.read) == sorted([whole, *asked.values(), whole])
    combined = chat_server.requests[-1]["messages"][-1]["content"]
    assert all(text in combined for text in answered.values())


def _of_windows(pool: Any, router: Any, small: int, **fields: Any) -> BestRouteLLM:
    pool["models"][0]["context_window"] = small
    engine = BestRoute(ModelPool.read(pool), router=router, threshold=0.5)
    return BestRouteLLM(engine=engine, **fields)


def test_context_fit_sees_the_whole_prompt(
    pool: Any, router: Any, chat_server: ChatServer, decisions: list[dict[str, Any]]
) -> None:
    """The question alone would fit the small model, but not what it is stuffed with."""
    llm = _of_windows(pool, router, 400, context_window=8000)
    documents = [Document(text=f"{CELLO} " * 60)]
    engine = SummaryIndex.from_documents(documents).as_query_engine(llm=llm)
    llm.complete(FIRST)
    engine.query(FIRST)
    assert router.read == [FIRST, FIRST]
    alone, stuffed = decisions
    assert (alone["arm"], alone["excluded"]) == ("openai/small:3", {})
    assert stuffed["arm"] == "openai/big:1"
    assert set(stuffed["excluded"]) == {f"openai/small:{n}" for n in (1, 2, 3)}
    assert all("400" in reason for reason in stuffed["excluded"].values())
    assert [body["model"] for body in chat_server.requests] == ["small", "big"]


def test_by_default_prompts_are_packed_for_the_smallest_window(
    pool: Any, router: Any, chat_server: ChatServer
) -> None:
    llm = _of_windows(pool, router, 2000)
    documents = [Document(text=f"{CELLO} " * 300)]
    engine = SummaryIndex.from_documents(documents).as_query_engine(llm=llm)
    engine.query(FIRST)
    assert len(chat_server.requests) > 1
    assert {body["model"] for body in chat_server.requests} == {"small"}
    assert set(router.read) == {FIRST}


def test_cost_sees_the_whole_prompt(
    index: VectorStoreIndex, llm: BestRouteLLM, answers: list[dict[str, Any]]
) -> None:
    llm.complete(FIRST)
    index.as_query_engine(llm=llm).query(FIRST)
    alone, stuffed = (answer["bestroute"]["estimated_cost"] for answer in answers)
    assert stuffed > alone
