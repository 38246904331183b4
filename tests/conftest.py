"""No test leaves this machine; a chat server on loopback stands in for providers."""

from __future__ import annotations

import os
from collections.abc import Iterator

# Before anything imports LiteLLM or transformers.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import pytest_socket

from tests.servers import ChatServer


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    # Lifted by pytest-socket after each test.
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server
