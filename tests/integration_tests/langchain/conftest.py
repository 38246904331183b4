"""Pools that lead to the chat server on loopback."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers import ChatServer

Pool = dict[str, Any]


@pytest.fixture
def pool(chat_server: ChatServer) -> Pool:
    """A cheap model, of which three samples may be drawn, and the reference."""
    both = {"context_window": 8000, "params": chat_server.params}
    return {
        "models": [
            {
                "model": "openai/small",
                "max_samples": 3,
                "native_n": True,
                "price": {"input": 0.1, "output": 0.1},
                **both,
            },
            {
                "model": "openai/big",
                "reference": True,
                "price": {"input": 10, "output": 10},
                **both,
            },
        ]
    }


@pytest.fixture
def one_model(chat_server: ChatServer) -> Pool:
    """The reference alone: every answer is one sample."""
    model = {"model": "openai/big", "reference": True, "price": {"input": 1, "output": 1}}
    return {"models": [{**model, "params": chat_server.params}]}
