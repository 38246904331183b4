"""prompt | model | parser."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable

from langchain_bestroute import ChatBestRoute
from tests.servers import Body, ChatServer

Chain = Runnable[dict[str, Any], str]
CITIES = [{"city": city} for city in ("Paris", "Rome", "Oslo")]
TOLD = [f"I like {asked['city']} too" for asked in CITIES]


def liking(body: Body) -> str:
    return f"I like {body['messages'][-1]['content'].split()[-1]} too"


@pytest.fixture(params=["pool", "one_model"])
def chain(request: pytest.FixtureRequest, chat_server: ChatServer) -> Chain:
    chat_server.reply = liking
    prompt = ChatPromptTemplate.from_messages([("system", "Agree."), ("user", "I like {city}")])
    llm = ChatBestRoute(pool=request.getfixturevalue(request.param))
    return prompt | llm | StrOutputParser()


async def test_invoked(chain: Chain) -> None:
    assert chain.invoke(CITIES[0]) == TOLD[0]
    assert await chain.ainvoke(CITIES[0]) == TOLD[0]


async def test_streamed(chain: Chain) -> None:
    pieces = list(chain.stream(CITIES[0]))
    assert "".join(pieces) == TOLD[0]
    assert [piece async for piece in chain.astream(CITIES[0])] == pieces


async def test_batched(chain: Chain) -> None:
    assert chain.batch(CITIES) == TOLD
    assert await chain.abatch(CITIES) == TOLD


async def test_usage_is_that_of_all_samples(chain: Chain, chat_server: ChatServer) -> None:
    with get_usage_metadata_callback() as counted:
        chain.batch(CITIES)
        await chain.ainvoke(CITIES[0])
        list(chain.stream(CITIES[0]))
    (usage,) = counted.usage_metadata.values()
    samples = sum(body.get("n") or 1 for body in chat_server.requests)
    assert samples in (5, 15)
    assert usage["output_tokens"] == 4 * samples
    assert usage["input_tokens"] == 4 * 5
