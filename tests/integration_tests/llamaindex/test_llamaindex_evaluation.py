"""LlamaIndex's evaluators on a routed LLM: the question is read, the verdict kept."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.evaluation import (
    AnswerRelevancyEvaluator,
    BatchEvalRunner,
    ContextRelevancyEvaluator,
    CorrectnessEvaluator,
    FaithfulnessEvaluator,
    GuidelineEvaluator,
    PairwiseComparisonEvaluator,
    RelevancyEvaluator,
)
from llama_index.core.indices.query.query_transform import HyDEQueryTransform

from llamaindex_bestroute import BestRouteLLM
from tests.servers import Body, ChatServer, Reply

QUERY = "Which strings does a cello have?"
RESPONSE = "C, G, D and A."
CONTEXTS = ["The cello is tuned in fifths: C, G, D and A."]
GUIDELINE = '{"passing": true, "feedback": "Clear."}'
JUDGED = f"Question: {QUERY}\nResponse: {RESPONSE}"

EVALUATORS = {
    FaithfulnessEvaluator: ("YES", 1.0, True, RESPONSE),
    RelevancyEvaluator: ("YES", 1.0, True, JUDGED),
    CorrectnessEvaluator: ("4.5\nRight.", 4.5, True, QUERY),
    AnswerRelevancyEvaluator: ("Fitting.\n[RESULT] 2", 1.0, None, QUERY),
    ContextRelevancyEvaluator: ("Fitting.\n[RESULT] 4", 1.0, None, QUERY),
    GuidelineEvaluator: (GUIDELINE, 1.0, True, QUERY),
}
"""What the judge says; the score; whether it passes; what the router is to read."""


@pytest.mark.parametrize("evaluator", EVALUATORS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("door", ["evaluate", "aevaluate"])
async def test_an_evaluator(
    evaluator: Any,
    door: str,
    llm: BestRouteLLM,
    router: Any,
    chat_server: ChatServer,
    answers: list[dict[str, Any]],
) -> None:
    verdict, score, passing, read = EVALUATORS[evaluator]
    chat_server.reply = lambda body: Reply([verdict, "Hm.", verdict][: body["n"]])
    judge = evaluator(llm=llm)
    given: dict[str, Any] = {"query": QUERY, "response": RESPONSE, "contexts": CONTEXTS}
    if evaluator is CorrectnessEvaluator:
        given["reference"] = RESPONSE
    # The sync door starts an event loop of its own.
    result = await judge.aevaluate(**given) if door == "aevaluate" else judge.evaluate(**given)
    assert (result.score, result.passing) == (score, passing)
    assert router.read == [read]
    assert [answer["bestroute"]["arm"] for answer in answers] == ["openai/small:3"]
    [body] = chat_server.requests
    assert RESPONSE in str(body["messages"]) or CONTEXTS[0] in str(body["messages"])


def _prefers_the_second(body: Body) -> Reply:
    first, second = body["messages"][-1]["content"].split("Assistant B", 1)
    return Reply(["[[B]]" if RESPONSE in second and RESPONSE not in first else "[[A]]"] * body["n"])


async def test_a_pairwise_comparison(
    llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = _prefers_the_second
    judge = PairwiseComparisonEvaluator(llm=llm)
    result = await judge.aevaluate(query=QUERY, response="No idea.", second_response=RESPONSE)
    assert result.score == 0.0
    assert router.read == [QUERY, QUERY]  # both orders
    assert len(chat_server.requests) == 2


async def test_a_batch(llm: BestRouteLLM, router: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "YES"
    judges: Any = {
        "faithful": FaithfulnessEvaluator(llm=llm),
        "relevant": RelevancyEvaluator(llm=llm),
    }
    results = await BatchEvalRunner(judges, workers=2).aevaluate_response_strs(
        queries=[QUERY, QUERY], response_strs=[RESPONSE] * 2, contexts_list=[CONTEXTS] * 2
    )
    assert [[each.passing for each in results[name]] for name in judges] == [[True, True]] * 2
    assert sorted(router.read) == sorted([RESPONSE, JUDGED] * 2)


def test_a_hypothetical_document(llm: BestRouteLLM, router: Any, chat_server: ChatServer) -> None:
    chat_server.reply = RESPONSE
    transformed = HyDEQueryTransform(llm=llm)(QUERY)
    assert transformed.custom_embedding_strs == [RESPONSE, QUERY]
    assert router.read == [QUERY]
