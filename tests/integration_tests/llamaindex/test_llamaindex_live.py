"""The query engine against real models on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.embeddings.mock_embed_model import MockEmbedding

from llamaindex_bestroute import BestRouteLLM

pytestmark = pytest.mark.live


def test_a_query_engine_with_a_real_model(
    live_pool: dict[str, Any], counter: TokenCountingHandler
) -> None:
    documents = [
        Document(text="The capital of France is Paris."),
        Document(text="The capital of Italy is Rome."),
    ]
    index = VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=8))
    llm = BestRouteLLM(live_pool)
    response = index.as_query_engine(llm=llm).query("What is the capital of France?")
    pieces = list(llm.stream_complete("Say hello.", max_n=1))
    assert "Paris" in str(response)
    assert "".join(piece.delta or "" for piece in pieces) == pieces[-1].text != ""
    assert len(pieces) > 2
    assert counter.completion_llm_token_count > 0
    assert counter.prompt_llm_token_count > 20
