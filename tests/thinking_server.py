"""A server of Anthropic's message API on loopback: it thinks, and wants its thoughts back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Body = dict[str, Any]

THOUGHT = {"type": "thinking", "thinking": "I look it up.", "signature": "signed"}


class ThinkingServer:
    """Calls the tool `population` for each user message, then says what came back.

    As Anthropic's, it refuses a tool call that goes on without the thoughts before it.

    Attributes:
        requests: Bodies seen, in order of arrival.
    """

    def __init__(self) -> None:
        self.requests: list[Body] = []
        self._http = _HTTP(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.002}, daemon=True
        )

    @property
    def params(self) -> dict[str, Any]:
        """LiteLLM parameters that lead here, for a model `anthropic/...` that thinks."""
        return {
            "api_base": f"http://127.0.0.1:{self._http.server_port}",
            "api_key": "test",
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "max_tokens": 2000,
        }

    def __enter__(self) -> ThinkingServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()


class _HTTP(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: ThinkingServer


class _Handler(BaseHTTPRequestHandler):
    server: _HTTP
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.owner.requests.append(body)
        if forgotten(body):
            error = {"type": "invalid_request_error", "message": "Expected `thinking`"}
            return self._send(400, json.dumps({"type": "error", "error": error}))
        if body.get("stream"):
            return self._send(200, "".join(map(_event, _events(body))), "text/event-stream")
        return self._send(200, json.dumps(_message(body)))

    def _send(self, status: int, text: str, kind: str = "application/json") -> None:
        raw = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests keep quiet."""


def said(body: Body) -> list[list[dict[str, Any]]]:
    """Blocks of each assistant message."""
    return [each["content"] for each in body["messages"] if each["role"] == "assistant"]


def forgotten(body: Body) -> bool:
    """Whether the last tool call lacks its thoughts."""
    last = (said(body) or [[THOUGHT]])[-1]
    return any(block["type"] == "tool_use" for block in last) and last[0] != THOUGHT


def _content(body: Body) -> list[dict[str, Any]]:
    blocks = [block for block in body["messages"][-1]["content"] if block["type"] == "tool_result"]
    if blocks:
        return [{"type": "text", "text": f"It is {blocks[0]['content']}"}]
    call = {"type": "tool_use", "id": f"c{len(said(body))}", "name": "population"}
    return [THOUGHT, {**call, "input": {"city": "Oslo"}}]


def _message(body: Body) -> Body:
    content = _content(body)
    reason = "tool_use" if content[-1]["type"] == "tool_use" else "end_turn"
    head = {"id": "m", "type": "message", "role": "assistant", "model": body["model"]}
    usage = {"input_tokens": 5, "output_tokens": 5}
    return {**head, "content": content, "stop_reason": reason, "usage": usage}


def _events(body: Body) -> Iterator[Body]:
    message = _message(body)
    yield {"type": "message_start", "message": {**message, "content": []}}
    for index, block in enumerate(message["content"]):
        empty, deltas = _pieces(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": message["stop_reason"]}
    yield {"type": "message_delta", "delta": ended, "usage": message["usage"]}
    yield {"type": "message_stop"}


def _pieces(block: dict[str, Any]) -> tuple[Body, list[Body]]:
    """A block as it begins, and what is added to it."""
    if block["type"] == "thinking":
        said, signed = block["thinking"], block["signature"]
        deltas = [{"type": "thinking_delta", "thinking": each} for each in (said[:5], said[5:])]
        empty = {"type": "thinking", "thinking": "", "signature": ""}
        return empty, [*deltas, {"type": "signature_delta", "signature": signed}]
    if block["type"] == "tool_use":
        given = json.dumps(block["input"])
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
    return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]


def _event(event: Body) -> str:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
