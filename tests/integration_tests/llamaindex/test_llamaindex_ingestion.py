"""An ingestion pipeline whose metadata extractors ask a routed LLM, and its cache."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.extractors import (
    KeywordExtractor,
    PydanticProgramExtractor,
    QuestionsAnsweredExtractor,
    SummaryExtractor,
    TitleExtractor,
)
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.program import FunctionCallingProgram
from pydantic import BaseModel

from llamaindex_bestroute import BestRouteLLM
from tests.integration_tests.llamaindex.conftest import TEXTS
from tests.servers import Body, ChatServer, Reply
from tests.static_embedding import StaticEmbedding


class Topic(BaseModel):
    """What a section is about."""

    topic: str


DEMANDS = {
    "unique keywords": "cello, fifths",
    "Summarize the key topics": "A summary.",
    "questions this context can": "How is it tuned?",
    "title": "On Cellos",  # last: the others are shown the title
}
"""What the extractors ask for."""


def _librarian(body: Body) -> Reply:
    """Metadata as each extractor asks for it."""
    if body.get("tools"):
        function = {"name": "Topic", "arguments": json.dumps({"topic": "cellos"})}
        call = {"id": "c0", "type": "function", "function": function}
        return Reply([{"tool_calls": [call]}] * body["n"])
    asked = body["messages"][-1]["content"]
    fitting = next(answer for demand, answer in DEMANDS.items() if demand in asked)
    return Reply([fitting, "Eh?", fitting][: body["n"]])


def _extractors(llm: BestRouteLLM) -> list[Any]:
    program = FunctionCallingProgram.from_defaults(Topic, "{input}", llm=llm)
    return [
        TitleExtractor(llm=llm),
        KeywordExtractor(llm=llm, keywords=2),
        SummaryExtractor(llm=llm, summaries=["self"]),
        QuestionsAnsweredExtractor(llm=llm, questions=1),
        PydanticProgramExtractor(program=program, input_key="input"),
    ]


METADATA = {
    "document_title": "On Cellos",
    "excerpt_keywords": "cello, fifths",
    "section_summary": "A summary.",
    "questions_this_excerpt_can_answer": "How is it tuned?",
    "topic": "cellos",
}


@pytest.mark.parametrize("door", ["run", "arun"])
async def test_a_pipeline_with_every_extractor(
    door: str,
    llm: BestRouteLLM,
    router: Any,
    chat_server: ChatServer,
    answers: list[dict[str, Any]],
) -> None:
    chat_server.reply = _librarian
    llm.callback_manager.add_handler(counter := TokenCountingHandler())
    steps = [SentenceSplitter(), *_extractors(llm), StaticEmbedding()]
    pipeline = IngestionPipeline(transformations=steps)
    documents = [Document(text=TEXTS[4])]
    if door == "run":
        nodes = pipeline.run(documents=documents)
    else:
        nodes = await pipeline.arun(documents=documents)
    [node] = nodes
    assert node.metadata == METADATA
    assert node.embedding is not None
    assert len(chat_server.requests) == 6  # the title is asked for twice: candidates, then one
    assert {answer["bestroute"]["arm"] for answer in answers} == {"openai/small:3"}
    assert sum(TEXTS[4] in read for read in router.read) == 5  # there is no question but the text
    paid = sum(answer["usage"]["total_tokens"] for answer in answers)
    assert counter.total_llm_token_count == paid > 6 * 3


def test_a_pipeline_asks_again_only_where_the_answer_may_differ(
    pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = "cello, fifths"
    cache, documents = IngestionCache(), [Document(text=TEXTS[4], id_="cello")]
    asked = []
    for llm in (BestRouteLLM(pool), BestRouteLLM(pool), BestRouteLLM(pool, max_n=2)):
        steps = [SentenceSplitter(id_func=lambda *_: "node"), KeywordExtractor(llm=llm)]
        IngestionPipeline(transformations=steps, cache=cache).run(documents=documents)
        asked.append([body["n"] for body in chat_server.requests])
    assert asked == [[3], [3], [3, 2]]
