"""The chain against a real model on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_bestroute import ChatBestRoute

pytestmark = pytest.mark.live


async def test_a_chain_with_a_real_model(live_pool: dict[str, Any]) -> None:
    prompt = ChatPromptTemplate.from_template("What is the capital of {country}?")
    llm = ChatBestRoute(pool=live_pool)
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
