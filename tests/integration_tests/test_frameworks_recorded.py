"""A chain, a query engine and an agent on what real models answered to exactly these messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import ToolCallResult

from bestroute.errors import UnrecordedError
from bestroute.recorded import Recording
from langchain_bestroute import ChatBestRoute
from llamaindex_bestroute import BestRouteLLM
from tests.scenarios import (
    COUNTRIES,
    DOCUMENT_QUESTIONS,
    MODELS,
    TICKETS,
    agent,
    chain,
    pool,
    query_engine,
)

CASSETTE = Path(__file__).parents[1] / "cassettes" / "frameworks.jsonl"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [json.loads(line) for line in CASSETTE.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(autouse=True)
def recording(rows: list[Row]) -> Iterator[None]:
    recording = Recording(rows)
    recording.install()
    yield
    recording.uninstall()


def _recorded(rows: list[Row], said: str) -> list[Row]:
    return [row for row in rows if said in row["messages"]]


@pytest.mark.parametrize("country", COUNTRIES)
def test_a_chain(country: str, rows: list[Row]) -> None:
    asked = _recorded(rows, country)
    assert chain(ChatBestRoute(pool=pool({}))).invoke({"country": country}) in {
        row["response"] for row in asked
    }


def test_a_chain_pays_for_every_sample(rows: list[Row]) -> None:
    prompt, llm = chain(ChatBestRoute(pool=pool({}))).steps[:2]  # type: ignore[attr-defined]
    message = (prompt | llm).invoke({"country": COUNTRIES[0]})
    asked = _recorded(rows, COUNTRIES[0])
    usage = message.usage_metadata
    assert usage["output_tokens"] == sum(row["completion_tokens"] for row in asked)
    about = message.response_metadata["bestroute"]
    assert about["policy"] == "cascade"
    assert about["calibrated"] is False
    assert set(about["usage_by_model"]) == {row["model"] for row in asked}


async def test_a_chain_in_a_batch_and_streamed() -> None:
    ask = chain(ChatBestRoute(pool=pool({})))
    inputs = [{"country": country} for country in COUNTRIES]
    whole = ask.batch(inputs)
    assert await ask.abatch(inputs) == whole
    assert ["".join(ask.stream(each)) for each in inputs] == whole


@pytest.mark.parametrize("question", DOCUMENT_QUESTIONS)
async def test_a_query_engine(question: str, rows: list[Row]) -> None:
    search = query_engine(BestRouteLLM(pool=pool({})))
    response = search.query(question)
    said = {row["response"] for row in _recorded(rows, question)}
    assert str(response) in {text.strip() for text in said} | said
    assert str(await search.aquery(question)) == str(response)


async def test_an_agent_calls_both_its_tools() -> None:
    handler = agent(BestRouteLLM(pool=pool({}))).run(TICKETS)
    called = [event async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
    assert [event.tool_name for event in called] == ["price", "multiply"]
    assert called[0].tool_kwargs == {"item": "ticket"}
    assert sorted(called[1].tool_kwargs.values()) == [37, 143]
    assert "5291" in str(await handler)


def test_the_models_were_right_where_it_is_easy() -> None:
    """The recording is of models that can answer, and the cascade keeps their answers."""
    answers = chain(ChatBestRoute(pool=pool({}))).batch([{"country": c} for c in COUNTRIES[:2]])
    assert "Paris" in answers[0]
    assert "Tokyo" in answers[1]
    search = query_engine(BestRouteLLM(pool=pool({})))
    assert "12,960" in str(search.query(DOCUMENT_QUESTIONS[0]))
    assert "2026-11-24" in str(search.query(DOCUMENT_QUESTIONS[1]))


def test_both_models_are_in_the_cassette(rows: list[Row]) -> None:
    assert {row["model"] for row in rows} == set(MODELS)


def test_what_was_not_recorded_raises() -> None:
    with pytest.raises(UnrecordedError, match="Atlantis"):
        chain(ChatBestRoute(pool=pool({}))).invoke({"country": "Atlantis"})
