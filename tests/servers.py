"""An OpenAI-compatible chat server on loopback, scripted by a function of the request's body."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Body = dict[str, Any]
Message = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the server answers to one request.

    Attributes:
        content: The text of every choice; or one text, or one assistant message, a choice: so
            many are given, whatever the request's n.
        status: HTTP status; from 400 on, `content` is the error's message.
        headers: Further HTTP headers, such as Retry-After.
        delay: Seconds before the first byte.
        usage: Instead of honest counts (one token a word); `{}` leaves usage out.
        finish_reason: By default stop, or tool_calls.
        cut_after: The connection breaks after so many streamed chunks.
    """

    content: str | Sequence[str | Message] = "ok"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    usage: Mapping[str, Any] | None = None
    finish_reason: str | None = None
    cut_after: int | None = None


Script = Callable[[Body], Reply | str]


class ChatServer:
    """Serves POST .../chat/completions until closed.

    Attributes:
        reply: Answers a request's body; may be replaced at any time.
        requests: Bodies seen, in order of arrival.
        headers: Their HTTP headers.
        peak: Most requests in flight at once.
    """

    def __init__(self, reply: Script | Reply | str = "ok") -> None:
        self.reply: Script | Reply | str = reply
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.peak = 0
        self._in_flight = 0
        self._lock = threading.Lock()
        self._http = _HTTP(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.002}, daemon=True
        )

    @property
    def url(self) -> str:
        """For `api_base`."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def params(self) -> dict[str, Any]:
        """LiteLLM parameters that lead here, for a model `openai/...`."""
        return {"api_base": self.url, "api_key": "test"}

    def __enter__(self) -> ChatServer:
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

    def _answer(self, body: Body, headers: Mapping[str, str]) -> Reply:
        with self._lock:
            self.requests.append(body)
            self.headers.append(dict(headers))
            self._in_flight += 1
            self.peak = max(self.peak, self._in_flight)
        try:
            given = self.reply(body) if callable(self.reply) else self.reply
            reply = given if isinstance(given, Reply) else Reply(given)
            time.sleep(reply.delay)
        finally:
            with self._lock:
                self._in_flight -= 1
        return reply


class _HTTP(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # connections that wait to be accepted; by default 5, others fail
    owner: ChatServer


class _Handler(BaseHTTPRequestHandler):
    server: _HTTP
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            return self._send(404, {"error": {"message": f"no {self.path}"}})
        reply = self.server.owner._answer(body, dict(self.headers))
        try:
            if reply.status >= 400:
                error = {"message": str(reply.content), "type": "error", "code": None}
                return self._send(reply.status, {"error": error}, reply.headers)
            if body.get("stream"):
                return self._stream(body, reply)
            return self._send(reply.status, _completion(body, reply), reply.headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has left

    def _send(self, status: int, data: Body, headers: Mapping[str, str] | None = None) -> None:
        raw = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, body: Body, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index, chunk in enumerate(_chunks(body, reply)):
            if index == reply.cut_after:
                self.close_connection = True  # without the last, empty HTTP chunk
                return
            self._event(json.dumps(chunk))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        raw = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests keep quiet."""


def _messages(body: Body, reply: Reply) -> list[Message]:
    given = [reply.content] * (body.get("n") or 1) if isinstance(reply.content, str) else None
    return [
        {"role": "assistant", "content": each}
        if isinstance(each, str)
        else {"role": "assistant", "content": None, **each}
        for each in given or reply.content
    ]


def _finish(message: Message, reply: Reply) -> str:
    return reply.finish_reason or ("tool_calls" if message.get("tool_calls") else "stop")


def _usage(body: Body, reply: Reply) -> dict[str, Any]:
    if reply.usage is not None:
        return {"usage": dict(reply.usage)} if reply.usage else {}
    prompt = sum(len(str(message.get("content")).split()) for message in body["messages"])
    completion = sum(
        len((message["content"] or "").split()) + len(message.get("tool_calls") or ())
        for message in _messages(body, reply)
    )
    total = prompt + completion
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
    }
    return {"usage": counts}


def _logprobs(body: Body, text: str | None) -> dict[str, Any]:
    """One token a word, each as likely as not, where they are asked for."""
    if not body.get("logprobs"):
        return {}
    tokens = [
        {"token": word, "logprob": -0.7, "bytes": None, "top_logprobs": []}
        for word in (text or "").split()
    ]
    return {"logprobs": {"content": tokens, "refusal": None}}


def _head(body: Body, kind: str) -> Body:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body["model"]}


def _completion(body: Body, reply: Reply) -> Body:
    choices = [
        {
            "index": index,
            "message": message,
            "finish_reason": _finish(message, reply),
            **_logprobs(body, message["content"]),
        }
        for index, message in enumerate(_messages(body, reply))
    ]
    return {**_head(body, "chat.completion"), "choices": choices, **_usage(body, reply)}


def _chunks(body: Body, reply: Reply) -> Iterator[Body]:
    """Word by word, the choices in turn; usage last, if asked for."""
    head = _head(body, "chat.completion.chunk")
    messages = _messages(body, reply)
    deltas = [list(_deltas(message)) for message in messages]
    for step in range(max(map(len, deltas))):
        for index, own in enumerate(deltas):
            if step < len(own):
                told = _logprobs(body, own[step].get("content"))
                choice = {"index": index, "delta": own[step], "finish_reason": None, **told}
                yield {**head, "choices": [choice]}
    for index, message in enumerate(messages):
        choice = {"index": index, "delta": {}, "finish_reason": _finish(message, reply)}
        yield {**head, "choices": [choice]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], **_usage(body, reply)}


def _deltas(message: Message) -> Iterator[Message]:
    yield {"role": "assistant", "content": ""}
    if thoughts := message.get("reasoning_content"):
        yield {"reasoning_content": thoughts}
    for piece in re.findall(r"\s*\S+\s*$|\s*\S+", message["content"] or ""):
        yield {"content": piece}
    for name in ("annotations", "images"):
        if message.get(name):
            yield {name: message[name]}
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        opening = {**call, "function": {**function, "arguments": ""}}
        yield {"tool_calls": [{"index": index, **opening}]}
        for piece in re.findall(r".{1,8}", function["arguments"], re.DOTALL):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
