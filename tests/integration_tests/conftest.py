"""Pools that lead to the chat server on loopback, or to a real model on this machine."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.servers import ChatServer

Pool = dict[str, Any]

_SCRIPT = Path(__file__).parents[2] / "shared" / "scripts" / "local_models.py"


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
    model = {
        "model": "openai/big",
        "reference": True,
        "vision": True,
        "audio": True,
        "video": True,
        "documents": True,
    }
    return {"models": [{**model, "price": {"input": 1, "output": 1}, "params": chat_server.params}]}


@pytest.fixture(scope="session")
def live_pool() -> Iterator[Pool]:
    """The same real small model as both members; its server runs for the session."""
    with _local_models().running("smollm2-135m", parallel=3, context=4096) as url:
        model = {
            "model": "openai/smollm2-135m",
            "context_window": 4096,
            "params": {"api_base": url, "api_key": "none", "max_tokens": 30},
        }
        small = {**model, "name": "small", "max_samples": 3, "price": {"input": 0, "output": 0}}
        big = {**model, "name": "big", "reference": True, "price": {"input": 1, "output": 1}}
        yield {"models": [small, big]}


def _local_models() -> ModuleType:
    spec = importlib.util.spec_from_file_location("local_models", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["local_models"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
