"""LangChain's integration suite for chat models against a protocol-faithful server on loopback."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_bestroute import ChatBestRoute
from tests.faithful_model import FaithfulModel
from tests.servers import ChatServer

_FILES = {  # stand in for those that the suite fetches from the internet
    ".png": b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
        "rkJggg=="
    ),
    ".pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
    ".wav": b64decode("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="),
}


class Suite(ChatModelIntegrationTests):
    """All that can be asked of a model behind OpenAI's chat completions.

    What stays out are images and documents in tool messages, which that API does not take.
    """

    server: ClassVar[ChatServer]
    faithful: ClassVar[FaithfulModel]

    @pytest.fixture(autouse=True)
    def _served(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """A server for each test."""
        request.cls.faithful = FaithfulModel()
        with ChatServer(request.cls.faithful) as request.cls.server:
            yield

    @pytest.fixture(autouse=True)
    def _files_of_our_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def get(url: str, **_: Any) -> httpx.Response:
            return httpx.Response(200, content=_FILES[Path(urlsplit(url).path).suffix])

        monkeypatch.setattr(httpx, "get", get)

    @pytest.fixture
    def vcr_config(self) -> dict[str, Any]:
        """Cassettes without addresses, headers and keys."""
        return {
            "match_on": ["method", "path", "body"],
            "allow_playback_repeats": True,
            "before_record_request": _scrubbed_request,
            "before_record_response": _scrubbed_response,
        }

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[Any, list[Any]]:
        details = ["cache_read_input", "reasoning_output"]
        return {"invoke": details, "stream": details}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        ask = [("system", "Be brief. " * 600), ("human", "Hello")]
        self._ask(ask, stream=stream)
        return self._ask(ask, stream=stream)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._ask("Think step by step: what is 6 times 7?", stream=stream)

    def _ask(self, ask: Any, *, stream: bool) -> AIMessage:
        model = self.chat_model_class(**self.chat_model_params)
        if not stream:
            return model.invoke(ask)
        whole: Any = None
        for chunk in model.stream(ask):
            whole = chunk if whole is None else whole + chunk
        assert isinstance(whole, AIMessageChunk)
        return whole


def _member(name: str, max_samples: int, price: float) -> dict[str, Any]:
    return {
        "model": f"openai/{name}",
        "max_samples": max_samples,
        "native_n": True,
        "reference": name == "big",
        "vision": True,
        "audio": True,
        "documents": True,
        "context_window": 8000,
        "price": {"input": price, "output": price},
    }


SMALL, BIG = _member("small", 3, 0.1), _member("big", 1, 10)


class BestRouteSuite(Suite):
    """The suite for `ChatBestRoute`."""

    members: ClassVar[tuple[dict[str, Any], ...]] = (SMALL, BIG)

    @pytest.fixture(autouse=True)
    def _nothing_refused(self, _served: None) -> Iterator[None]:
        """Another model may have answered what one refused."""
        yield
        assert self.faithful.refused == []

    @property
    def chat_model_class(self) -> type[ChatBestRoute]:
        return ChatBestRoute

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"pool": {"models": [{**m, "params": self.server.params} for m in self.members]}}

    @property
    def model_override_value(self) -> str:
        return "openai/big"


def _scrubbed_request(request: Any) -> Any:
    request.uri = f"http://chat.test{urlsplit(request.uri).path}"
    request.headers = {}
    return request


def _scrubbed_response(response: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in response["headers"].items() if k.lower() == "content-type"}
    return {**response, "headers": kept}
