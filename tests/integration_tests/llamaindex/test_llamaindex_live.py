"""The query engine against real models on this machine."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.embeddings.mock_embed_model import MockEmbedding

from llamaindex_bestroute import BestRouteLLM

pytestmark = pytest.mark.live

_SCRIPT = Path(__file__).parents[3] / "shared" / "scripts" / "local_models.py"


def _local_models() -> ModuleType:
    spec = importlib.util.spec_from_file_location("local_models", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["local_models"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_query_engine_with_a_real_model(counter: TokenCountingHandler) -> None:
    documents = [
        Document(text="The capital of France is Paris."),
        Document(text="The capital of Italy is Rome."),
    ]
    index = VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=8))
    with _local_models().running("smollm2-135m", parallel=3, context=4096) as url:
        model = {
            "model": "openai/smollm2-135m",
            "context_window": 4096,
            "params": {"api_base": url, "api_key": "none", "max_tokens": 40},
        }
        small = {**model, "name": "small", "max_samples": 3, "price": {"input": 0, "output": 0}}
        big = {**model, "name": "big", "reference": True, "price": {"input": 1, "output": 1}}
        llm = BestRouteLLM({"models": [small, big]})
        response = index.as_query_engine(llm=llm).query("What is the capital of France?")
        pieces = list(llm.stream_complete("Say hello.", max_n=1))
    assert "Paris" in str(response)
    assert "".join(piece.delta or "" for piece in pieces) == pieces[-1].text != ""
    assert len(pieces) > 2
    assert counter.completion_llm_token_count > 0
    assert counter.prompt_llm_token_count > 20
