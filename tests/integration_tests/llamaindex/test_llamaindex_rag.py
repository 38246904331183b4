"""A query engine over five documents: nothing leaves the machine, the router reads the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.embeddings import BaseEmbedding
from pydantic import PrivateAttr

from bestroute import Arm, BestRoute, ModelPool, Prediction
from bestroute.calibration import CalibrationTable, Promise
from bestroute.routers.static import StaticEncoder
from llamaindex_bestroute import BestRouteLLM
from tests.servers import Body, ChatServer

TEXTS = [
    "The Nile flows through Egypt into the Mediterranean Sea.",
    "Photosynthesis turns sunlight, water and carbon dioxide into sugar.",
    "Johannes Gutenberg printed the Bible with movable type in Mainz.",
    "Basalt is a dark rock that forms when lava cools quickly.",
    "The cello is tuned in fifths: C, G, D and A.",
]
QUESTION = "Which strings does a cello have?"


class StaticEmbedding(BaseEmbedding):
    """Static word embeddings: small, deterministic, on this machine."""

    _encoder: StaticEncoder = PrivateAttr(default_factory=StaticEncoder)

    def _get_text_embedding(self, text: str) -> list[float]:
        return [float(value) for value in self._encoder.encode([text])[0]]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


class ReadingRouter:
    """Notes what it is given to read; takes the small model for every question."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        self.arms = tuple(arms)
        self.read: list[str] = []

    def predict(self, queries: Sequence[str]) -> Prediction:
        self.read += queries
        return Prediction(self.arms, np.ones((len(queries), len(self.arms))))


@pytest.fixture
def index() -> VectorStoreIndex:
    documents = [Document(text=text) for text in TEXTS]
    return VectorStoreIndex.from_documents(documents, embed_model=StaticEmbedding())


def _answer(body: Body) -> str:
    """What a model would find in its context."""
    said = body["messages"][-1]["content"]
    return "C, G, D and A" if "tuned in fifths" in said and QUESTION in said else "I do not know"


def test_a_query_engine(index: VectorStoreIndex, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _answer
    engine = index.as_query_engine(llm=BestRouteLLM(pool), similarity_top_k=1)
    response = engine.query(QUESTION)
    assert str(response) == "C, G, D and A"
    assert [node.text for node in response.source_nodes] == [TEXTS[4]]


def test_a_query_engine_counts_every_sample(
    index: VectorStoreIndex, pool: Any, chat_server: ChatServer, counter: TokenCountingHandler
) -> None:
    chat_server.reply = "C, G, D and A"
    index.as_query_engine(llm=BestRouteLLM(pool)).query(QUESTION)
    [body] = chat_server.requests
    words = [word for message in body["messages"] for word in message["content"].split()]
    assert counter.prompt_llm_token_count == len(words)  # as the server counts
    assert counter.completion_llm_token_count == 3 * 5


async def test_an_async_streaming_query_engine(
    index: VectorStoreIndex, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = _answer
    llm = BestRouteLLM(pool)
    response = await index.as_query_engine(llm=llm, streaming=True).aquery(QUESTION)
    assert str(await response.get_response()) == "C, G, D and A"


@pytest.mark.parametrize("mode", ["compact", "tree_summarize"])
def test_the_router_reads_the_question_only(
    mode: str, index: VectorStoreIndex, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = _answer
    members = ModelPool.read(pool)
    router = ReadingRouter(members.arms)
    llm = BestRouteLLM(engine=BestRoute(members, router=router, threshold=0.5))
    engine: Any = index.as_query_engine(llm=llm, response_mode=mode)
    assert str(engine.query(QUESTION)) == "C, G, D and A"
    assert router.read == [QUESTION]
    asked = chat_server.requests[-1]["messages"][-1]
    assert set(asked) == {"role", "content"}
    assert TEXTS[4] in asked["content"]


def test_a_caller_may_say_what_the_router_reads(pool: Any) -> None:
    members = ModelPool.read(pool)
    router = ReadingRouter(members.arms)
    llm = BestRouteLLM(engine=BestRoute(members, router=router, threshold=0.5))
    llm.complete("A long context, then a question.", query_text="A question.")
    assert router.read == ["A question."]


def test_a_call_may_ask_for_a_promise(pool: Any) -> None:
    members = ModelPool.read(pool)
    kept = Promise(max_drop=0.02, confidence=0.95, threshold=1.01, cost_per_1k=5)
    table = CalibrationTable(n_queries=900, promises=(kept,))
    engine = BestRoute(
        members, router=ReadingRouter(members.arms), threshold=0.5, calibration=table
    )
    llm = BestRouteLLM(engine=engine, threshold=0.1)
    made = [llm.complete("Hi", **asked).raw["bestroute"] for asked in ({}, {"max_drop": 0.05})]
    assert [each["arm"] == str(members.reference_arm) for each in made] == [False, True]
    assert [each["max_drop"] for each in made] == [None, 0.02]


def test_a_chat_engine(index: VectorStoreIndex, pool: Any, chat_server: ChatServer) -> None:
    chat = index.as_chat_engine(chat_mode="context", llm=BestRouteLLM(pool))
    chat.chat("Hello")
    chat.chat(QUESTION)
    roles = [message["role"] for message in chat_server.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
