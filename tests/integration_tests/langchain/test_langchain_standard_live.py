"""LangChain's own integration suite with a real model on this machine.

The real model answers every request for text. What so small a model cannot do (tools, schemas,
images) goes to the protocol-faithful server of the tests instead.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from langchain_bestroute import ChatBestRoute
from tests.faithful_model import FaithfulModel
from tests.langchain_suite import BIG, SMALL, BestRouteSuite
from tests.openai_rules import Body
from tests.servers import ChatServer

pytestmark = pytest.mark.live


class Proxy(ThreadingHTTPServer):
    """Hands each request on, and the answer back as it comes."""

    daemon_threads = True

    def __init__(self, live: str, faithful: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.live, self.faithful = live, faithful

    @property
    def params(self) -> dict[str, Any]:
        return {"api_base": f"http://127.0.0.1:{self.server_port}/v1", "api_key": "none"}

    def upstream(self, body: Body) -> str:
        contents = [message.get("content") for message in body["messages"]]
        parts = [part["type"] for each in contents if isinstance(each, list) for part in each]
        if {"tools", "response_format"} & set(body) or set(parts) - {"text"}:
            return self.faithful
        return self.live


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = urllib.request.Request(
            f"{self.server.upstream(body)}/chat/completions",
            json.dumps({**body, "max_tokens": 30}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            answer = urllib.request.urlopen(asked)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.end_headers()
            while piece := answer.read1():
                self.wfile.write(piece)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests keep quiet."""


class Live(BestRouteSuite):
    @pytest.fixture(autouse=True)
    def _served(self, request: pytest.FixtureRequest, live_pool: Any) -> Iterator[None]:
        live, request.cls.faithful = live_pool["models"][0]["params"]["api_base"], FaithfulModel()
        with ChatServer(request.cls.faithful) as server, Proxy(live, server.url) as proxy:
            thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            request.cls.server = proxy
            yield
            proxy.shutdown()

    @pytest.fixture
    def vcr_cassette_dir(self, tmp_path: Path) -> str:
        return str(tmp_path)

    @pytest.fixture
    def vcr_config(self) -> dict[str, Any]:
        return {"record_mode": "once"}

    @property
    def supported_usage_metadata_details(self) -> dict[Any, list[Any]]:
        return {"invoke": [], "stream": []}  # it neither thinks nor tells what it kept

    def test_texts_are_of_the_real_model(self, model: ChatBestRoute) -> None:
        answer = model.invoke("What is the capital of France?").text
        assert answer
        assert "This is the answer to" not in answer  # as the other server says


class TestLiveCascade(Live):
    """Three samples that hardly ever agree, and then the reference."""

    members = (SMALL, BIG)


class TestLiveModel(Live):
    """One sample, which streams as it comes."""

    members = (BIG,)
