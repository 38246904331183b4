"""RAG over real documents, and an agent with two tools, on real models on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import ReActAgent
from llama_index.core.callbacks import TokenCountingHandler

from llamaindex_bestroute import BestRouteLLM
from tests.scenarios import DOCUMENT_QUESTIONS, TICKETS, agent, query_engine

pytestmark = pytest.mark.live


def test_a_query_engine_with_a_real_model(
    live_pool: dict[str, Any],
    counter: TokenCountingHandler,
    answers: list[dict[str, Any]],
    decisions: list[dict[str, Any]],
) -> None:
    llm = BestRouteLLM(live_pool)
    response = query_engine(llm).query(DOCUMENT_QUESTIONS[0])
    pieces = list(llm.stream_complete("Say hello.", max_n=1))
    assert "12,960" in response.source_nodes[0].text
    assert str(response).strip()  # what so small a model says is its own affair
    assert "".join(piece.delta or "" for piece in pieces) == pieces[-1].text != ""
    assert len(pieces) > 2
    paid = [answer["usage"]["completion_tokens"] for answer in answers]
    assert counter.completion_llm_token_count == sum(paid) > len(pieces)
    assert counter.prompt_llm_token_count > 200
    # One sample cannot agree with another: the reference is asked.
    assert [decision["arm"] for decision in decisions] == ["small:3", "big:1"]


async def test_an_agent_with_a_real_model(
    live_pool: dict[str, Any], answers: list[dict[str, Any]]
) -> None:
    """It gets as far as such a model does: an answer, all of it paid for and accounted for."""
    worker: ReActAgent = agent(BestRouteLLM(live_pool))
    said = await worker.run(TICKETS, max_iterations=4, early_stopping_method="generate")
    assert str(said).strip()
    assert answers
    assert all(answer["usage"]["completion_tokens"] > 0 for answer in answers)
    assert all(answer["bestroute"]["policy"] == "cascade" for answer in answers)
