"""Pools that lead to the chat server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler

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
    model = {"model": "openai/big", "reference": True, "vision": True, "audio": True}
    return {"models": [{**model, "price": {"input": 1, "output": 1}, "params": chat_server.params}]}


@pytest.fixture
def counter() -> Iterator[TokenCountingHandler]:
    """Counts the tokens of query engines, which take the callbacks of `Settings` only."""
    before, counter = Settings.callback_manager, TokenCountingHandler()
    Settings.callback_manager = CallbackManager([counter])
    yield counter
    Settings.callback_manager = before
