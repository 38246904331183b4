"""The chain against a real model on this machine."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_bestroute import ChatBestRoute

pytestmark = pytest.mark.live

_SCRIPT = Path(__file__).parents[3] / "shared" / "scripts" / "local_models.py"


def _local_models() -> ModuleType:
    spec = importlib.util.spec_from_file_location("local_models", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["local_models"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_a_chain_with_a_real_model() -> None:
    prompt = ChatPromptTemplate.from_template("What is the capital of {country}?")
    with _local_models().running("smollm2-135m", parallel=3) as url:
        model = {
            "model": "openai/smollm2-135m",
            "context_window": 1024,
            "params": {"api_base": url, "api_key": "none", "max_tokens": 30},
        }
        small = {**model, "name": "small", "max_samples": 3, "price": {"input": 0, "output": 0}}
        big = {**model, "name": "big", "reference": True, "price": {"input": 1, "output": 1}}
        llm = ChatBestRoute(pool={"models": [small, big]})
        chain = prompt | llm | StrOutputParser()
        with get_usage_metadata_callback() as counted:
            answer = await chain.ainvoke({"country": "France"})
            pieces = list(chain.stream({"country": "Italy"}, max_n=1))
            message = llm.bind(max_tokens=8).invoke("Say hello.")
    assert answer.strip()  # what so small a model says is its own affair
    assert len(pieces) > 2
    assert message.response_metadata["bestroute"]["arm"] == "small:3"
    (usage,) = counted.usage_metadata.values()
    assert message.usage_metadata is not None
    assert usage["output_tokens"] > message.usage_metadata["output_tokens"] > 3
