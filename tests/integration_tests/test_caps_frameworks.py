"""`max_reference_share` of both integrations: steering prompts buy the big model no more often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumps, loads

from bestroute.errors import ConfigError
from langchain_bestroute import ChatBestRoute
from llamaindex_bestroute import BestRouteLLM
from tests.servers import ChatServer, Reply
from tests.small_router import HARD, routed


@pytest.fixture
def pool(chat_server: ChatServer) -> dict[str, Any]:
    chat_server.reply = lambda body: Reply(["ok"] * (body.get("n") or 1))
    price = {"input": 1.0, "output": 1.0}
    small = {"name": "small", "model": "openai/small", "price": price}
    big = {"name": "big", "model": "openai/big", "reference": True}
    big |= {"price": {"input": 9.0, "output": 9.0}}
    params = chat_server.params
    return {"models": [{**small, "params": params}, {**big, "params": params}]}


def share_of_big(server: ChatServer) -> float:
    return sum(body["model"] == "big" for body in server.requests) / len(server.requests)


@pytest.mark.parametrize("kind", ["langchain", "llamaindex"])
def test_the_share_is_kept(
    kind: str, pool: dict[str, Any], chat_server: ChatServer, tmp_path: Path
) -> None:
    routed(pool).save_pretrained(tmp_path)
    made_from: dict[str, Any] = {"artifact": tmp_path, "pool": pool, "max_reference_share": 0.25}
    if kind == "langchain":
        ask: Any = ChatBestRoute(**made_from).invoke
    else:
        ask = BestRouteLLM(**made_from).complete
    for _ in range(20):
        ask(HARD[0])
    assert 0 < share_of_big(chat_server) <= 0.25 + 1 / 20


def test_a_share_out_of_range(pool: dict[str, Any]) -> None:
    for build in (ChatBestRoute, BestRouteLLM):
        with pytest.raises(ConfigError, match="max_reference_share is 1.5"):
            build(pool=pool, max_reference_share=1.5)


def test_it_survives_a_dump(pool: dict[str, Any]) -> None:
    llm = ChatBestRoute(pool=pool, max_reference_share=0.25)
    again = loads(dumps(llm), valid_namespaces=["langchain_bestroute"], allowed_objects="all")
    assert again.source.max_reference_share == 0.25
