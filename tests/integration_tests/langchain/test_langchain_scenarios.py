"""What people build of a chat model: big batches, map-reduce, conversations, fallbacks."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph

from bestroute.errors import SamplingError
from langchain_bestroute import ChatBestRoute
from tests.scenarios import LIBRARY
from tests.servers import Body, ChatServer, Reply
from tests.small_router import EASY, HARD, routed


def _arm(message: BaseMessage) -> str:
    arm: str = message.response_metadata["bestroute"]["arm"]
    return arm


# A batch of fifty


def _echo(body: Body) -> Reply:
    """Answers come back in another order than they were asked for."""
    number = body["messages"][-1]["content"].split()[-1]
    return Reply(f"answer {number}", delay=0.02 * (-int(number) % 5))


@pytest.mark.parametrize("limit", [None, 4])
async def test_a_batch_of_fifty(limit: int | None, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _echo
    llm = ChatBestRoute(engine=routed(pool))
    asks = [f"{(EASY + HARD)[index % 6]} {index}" for index in range(50)]
    with get_usage_metadata_callback() as counted:
        messages = await llm.abatch(asks, {"max_concurrency": limit})  # type: ignore[arg-type]
    assert [message.content for message in messages] == [f"answer {index}" for index in range(50)]
    assert 1 < chat_server.peak <= (limit or 50)
    models = {"easy": [], "hard": []}  # type: dict[str, list[str]]
    for index, message in enumerate(messages):
        kind = "easy" if index % 6 < 3 else "hard"
        models[kind].append(message.response_metadata["model_name"])
    assert {kind: set(used) for kind, used in models.items()} == {
        "easy": {"openai/small"},
        "hard": {"openai/big"},
    }
    words = sum(len(ask.split()) for ask in asks)  # the server counts words
    for index, message in enumerate(messages):
        usage = message.usage_metadata
        assert usage is not None
        assert (usage["input_tokens"], usage["output_tokens"]) == (len(asks[index].split()), 2)
    assert sum(each["input_tokens"] for each in counted.usage_metadata.values()) == words
    assert set(counted.usage_metadata) == {"openai/small", "openai/big"}
    assert len(chat_server.requests) == 50


async def test_one_failure_in_a_batch_stays_alone(pool: Any, chat_server: ChatServer) -> None:
    def refusing(body: Body) -> Reply:
        bad = "nine" in body["messages"][-1]["content"]
        return Reply("no", status=400) if bad else Reply("ok")

    chat_server.reply = refusing
    asks = ["seven", "eight", "nine", "ten"]
    results = await ChatBestRoute(pool=pool).abatch(asks, return_exceptions=True)  # type: ignore[arg-type]
    assert [isinstance(result, SamplingError) for result in results] == [False, False, True, False]


# Map-reduce


def _summing_up(body: Body) -> str:
    """A summary is the text's last word; the reduce step gets them all."""
    system, text = (message["content"] for message in body["messages"])
    return f"about {text.split()[-1]}" if "one document" in system else f"in short: {text}"


async def test_map_reduce(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _summing_up
    llm, parser = ChatBestRoute(engine=routed(pool)), StrOutputParser()
    each = ChatPromptTemplate.from_messages([("system", "Sum up one document."), "{text}"])
    joined = ChatPromptTemplate.from_messages([("system", "Sum up the summaries."), "{text}"])
    mapped = each | llm.bind(max_n=1) | parser
    reduced = joined | llm.bind(model="openai/big") | parser

    def texts(documents: Any) -> list[dict[str, str]]:
        return [{"text": text} for text in documents]

    def joined_text(summaries: Any) -> dict[str, str]:
        return {"text": "; ".join(summaries)}

    chain: Runnable[Any, str] = (
        RunnableLambda(texts) | mapped.map() | RunnableLambda(joined_text) | reduced
    )
    short = "in short: " + "; ".join(f"about {text.split()[-1]}" for text in LIBRARY)
    with get_usage_metadata_callback() as counted:
        assert await chain.ainvoke(LIBRARY) == short
    assert chain.invoke(LIBRARY) == short
    models = [body["model"] for body in chat_server.requests]
    assert sorted(models[: len(LIBRARY)]) == ["small"] * len(LIBRARY)
    assert models[len(LIBRARY)] == models[-1] == "big"
    assert counted.usage_metadata["openai/big"]["output_tokens"] == len(short.split())


# Conversations

ON = "Please go on."


def _after(question: str) -> list[BaseMessage]:
    return [HumanMessage(question), AIMessage("So far so good."), HumanMessage(ON)]


def test_a_window_of_turns_tells_what_go_on_means(pool: Any, chat_server: ChatServer) -> None:
    engine = routed(pool)
    last, window = ChatBestRoute(engine=engine), ChatBestRoute(engine=engine, query_turns=2)
    assert _arm(last.invoke(_after(EASY[2]))) == _arm(last.invoke(_after(HARD[0])))
    assert _arm(window.invoke(_after(EASY[2]))) == "openai/small:1"
    assert _arm(window.invoke(_after(HARD[0]))) == "openai/big:1"
    assert _arm(last.bind(query_turns=2).invoke(_after(HARD[0]))) == "openai/big:1"
    assert [len(body["messages"]) for body in chat_server.requests] == [3] * 5


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
async def test_a_message_history(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: f"turn {len(body['messages']) // 2}"
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be brief."), MessagesPlaceholder("past"), ("human", "{ask}")]
    )
    sessions: dict[str, InMemoryChatMessageHistory] = {}
    chat = RunnableWithMessageHistory(
        prompt | ChatBestRoute(engine=routed(pool)),
        lambda session_id: sessions.setdefault(session_id, InMemoryChatMessageHistory()),
        input_messages_key="ask",
        history_messages_key="past",
    )
    mine: Any = {"configurable": {"session_id": "mine"}}
    assert chat.invoke({"ask": EASY[0]}, mine).content == "turn 1"
    second = await chat.ainvoke({"ask": HARD[0]}, mine)
    assert second.content == "turn 2"
    assert _arm(second) == "openai/big:1"  # the last turn is read
    pieces = list(chat.stream({"ask": EASY[1]}, mine))
    assert "".join(str(piece.content) for piece in pieces) == "turn 3"
    kept = sessions["mine"].messages
    assert [message.content for message in kept[::2]] == [EASY[0], HARD[0], EASY[1]]
    assert [message.content for message in kept[1::2]] == [f"turn {turn}" for turn in (1, 2, 3)]


async def test_a_conversation_that_langgraph_remembers(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: f"turn {(len(body['messages']) + 1) // 2}"
    llm = ChatBestRoute(engine=routed(pool), query_turns=2)

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await llm.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.set_entry_point("answer")
    chat = graph.compile(checkpointer=InMemorySaver())
    mine: Any = {"configurable": {"thread_id": "mine"}}
    for turn, ask in enumerate((HARD[0], ON, EASY[2], ON), start=1):
        state = await chat.ainvoke({"messages": [HumanMessage(ask)]}, mine)
        assert state["messages"][-1].content == f"turn {turn}"
    answers = state["messages"][1::2]
    assert _arm(answers[1]) == "openai/big:1"  # going on with a proof
    assert _arm(answers[3]) == "openai/small:1"
    other: Any = {"configurable": {"thread_id": "other"}}
    state = await chat.ainvoke({"messages": [HumanMessage(ON)]}, other)
    assert state["messages"][-1].content == "turn 1"


# When things fail


def test_fallbacks(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("down", status=500, headers={"Retry-After": "0"})
    llm = ChatBestRoute(pool=pool, max_retries=0)
    safe = llm.with_fallbacks([FakeListChatModel(responses=["plan B"])])
    assert safe.invoke("Hi").content == "plan B"
    assert "".join(str(piece.content) for piece in safe.stream("Hi")) == "plan B"
    picky = llm.with_fallbacks(
        [FakeListChatModel(responses=["plan B"])], exceptions_to_handle=(KeyError,)
    )
    with pytest.raises(SamplingError):
        picky.invoke("Hi")
    chat_server.reply = "plan A"
    assert safe.invoke("Hi").content == "plan A"


async def test_retries_of_the_runnable(one_model: Any, chat_server: ChatServer) -> None:
    def second_time_lucky(body: Body) -> Reply:
        odd = len(chat_server.requests) % 2 == 1
        return Reply("busy", status=500, headers={"Retry-After": "0"}) if odd else Reply("ok")

    chat_server.reply = second_time_lucky
    llm = ChatBestRoute(pool=one_model, max_retries=0)
    again = llm.with_retry(
        retry_if_exception_type=(SamplingError,),
        wait_exponential_jitter=False,
        stop_after_attempt=2,
    )
    assert again.invoke("Hi").content == "ok"
    assert (await again.ainvoke("Hi")).content == "ok"
    assert len(chat_server.requests) == 4
    with pytest.raises(SamplingError):
        llm.invoke("Hi")


# Knobs of a chain


def test_knobs_of_a_chain(pool: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(engine=routed(pool)).configurable_fields(
        threshold=ConfigurableField(id="threshold"), max_n=ConfigurableField(id="max_n")
    )
    prompt = ChatPromptTemplate.from_template("{question}")
    chain = prompt | llm
    easy = {"question": EASY[0]}
    assert _arm(chain.invoke(easy)) == "openai/small:1"
    strict = chain.with_config(configurable={"threshold": 0.9})
    assert _arm(strict.invoke(easy)) == "openai/big:1"
    batch: Any = [{"configurable": {"threshold": threshold}} for threshold in (0.1, 0.9)]
    assert [_arm(message) for message in chain.batch([easy, easy], batch)] == [
        "openai/small:1",
        "openai/big:1",
    ]
    bound = prompt | llm.bind(threshold=0.9, stop=["END"], temperature=0.1)
    assert _arm(bound.invoke(easy)) == "openai/big:1"
    assert {name: chat_server.requests[-1][name] for name in ("stop", "temperature")} == {
        "stop": ["END"],
        "temperature": 0.1,
    }


def test_alternatives_of_a_chain(pool: Any, chat_server: ChatServer) -> None:
    engine = routed(pool)
    llm = ChatBestRoute(engine=engine).configurable_alternatives(
        ConfigurableField(id="mood"),
        default_key="thrifty",
        careful=ChatBestRoute(engine=engine, threshold=0.9),
    )
    chain = ChatPromptTemplate.from_template("{question}") | llm
    assert _arm(chain.invoke({"question": EASY[0]})) == "openai/small:1"
    careful = chain.with_config(configurable={"mood": "careful"})
    assert _arm(careful.invoke({"question": EASY[0]})) == "openai/big:1"
