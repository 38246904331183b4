"""The table of capabilities, and the server that each test asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from llama_index.core import Settings

from tests.llamaindex_suite.provider import Provider
from tests.servers import ChatServer


class Capabilities:
    """What is built, what it claims, and what it is built with.

    Attributes:
        server: The provider, on loopback.
        provider: What the server answers, was asked, refused and billed.
        api_key: A secret; `llm_params` has to hold it.
        revival_env: Environment variables with which an LLM works again after it was read back
            from its dump or pickle, which hold no key.
        supports_tools: It calls tools (function calling).
        supports_tool_choice: `tool_choice` takes the name of a tool.
        supports_structured_output: Pydantic objects instead of text.
        supports_images: Image blocks.
        supports_audio: Audio blocks.
        supports_documents: Document blocks.
        supports_thinking: A model's thoughts come as thinking blocks.
        streams: Pieces come as the model writes them; not where an answer is chosen among several.
        reports_usage: Token counts are the provider's, streamed answers included.
        picklable: It can be pickled.
        accepts_n: A call may ask for several choices, of which one is the answer.
        metadata_params: Parameters that say what a model is that nobody knows, by the field of
            the metadata that they set.
    """

    server: ChatServer
    provider: Provider

    api_key: ClassVar[str] = "sk-suite-0123456789"
    revival_env: ClassVar[Mapping[str, str]] = {"OPENAI_API_KEY": api_key}
    supports_tools: ClassVar[bool] = True
    supports_tool_choice: ClassVar[bool] = True
    supports_structured_output: ClassVar[bool] = True
    supports_images: ClassVar[bool] = True
    supports_audio: ClassVar[bool] = True
    supports_documents: ClassVar[bool] = True
    supports_thinking: ClassVar[bool] = True
    streams: ClassVar[bool] = True
    reports_usage: ClassVar[bool] = True
    picklable: ClassVar[bool] = True
    accepts_n: ClassVar[bool] = True
    metadata_params: ClassVar[Mapping[str, Any]] = {}

    @property
    def llm_class(self) -> type[Any]:
        """The class under test."""
        raise NotImplementedError

    @property
    def llm_params(self) -> dict[str, Any]:
        """What it is built with, so that it asks `server` with `api_key`."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _served(self) -> Iterator[None]:
        """A server for each test."""
        self.provider = Provider()
        with ChatServer(self.provider) as self.server:
            yield

    @pytest.fixture
    def revived(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys where an LLM finds them that holds none."""
        for name, value in self.revival_env.items():
            monkeypatch.setenv(name, value)

    @pytest.fixture
    def settings(self) -> Iterator[None]:
        """LlamaIndex's `Settings` are afterwards what they were."""
        before = Settings._llm, Settings._callback_manager
        yield
        Settings._llm, Settings._callback_manager = before

    def llm(self, **params: Any) -> Any:
        """The LLM under test."""
        return self.llm_class(**{**self.llm_params, **params})

    def needs(self, *capabilities: str) -> None:
        """Skip, saying so, where one is not claimed."""
        for name in capabilities:
            if not getattr(self, name):
                pytest.skip(f"{self.llm_class.__name__} does not claim {name}")
