"""An OpenAI-compatible server that answers after a fixed time, in a process of its own.

What it costs must not weigh on what is measured beside it: one event loop, no thread a request,
connections kept alive. `tests/servers.py` is the one that can be scripted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Body = dict[str, Any]

ANSWER = "The answer is 42."
FAILING, SLOW = "failing", "slow"
"""Models: one is refused with status 400, the other takes ten times as long."""

_VARYING = ("host", "content-length")


class LatencyServer:
    """Where the server is, and what it was sent."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.params: dict[str, Any] = {"api_base": self.url, "api_key": "test"}

    def sent(self) -> Counter[str]:
        """How often each request came since this was last asked, headers and body."""
        with urllib.request.urlopen(f"{self.url}/sent") as response:
            return Counter(json.load(response))

    def member(self, name: str, **fields: Any) -> dict[str, Any]:
        """A member of a pool that answers here."""
        price = {"input": 1.0, "output": 2.0}
        plain = {"name": name, "model": f"openai/{name}", "price": price, "native_n": True}
        return {**plain, "params": dict(self.params), **fields}


@contextmanager
def latency_server(seconds: float = 0.2) -> Iterator[LatencyServer]:
    """Serve until the context ends.

    Args:
        seconds: From a request's last byte to its answer's first.
    """
    command = [sys.executable, "-m", __name__, "--seconds", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield LatencyServer(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


class _Connection(asyncio.Protocol):
    """One client's requests, one after the other."""

    def __init__(self, seconds: float, sent: Counter[str]) -> None:
        self._seconds, self._sent = seconds, sent
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in head[1:])}
        begin, size = end + 4, int(headers.get("content-length", 0))
        if len(self._buffer) < begin + size:
            return
        raw = bytes(self._buffer[begin : begin + size])
        del self._buffer[: begin + size]
        if head[0].startswith("GET"):
            self._write(200, dict(self._sent))
            self._sent.clear()
        else:
            self._answer(headers, raw)

    def _answer(self, headers: dict[str, str], raw: bytes) -> None:
        body = json.loads(raw)
        told = {name: value for name, value in headers.items() if name not in _VARYING}
        self._sent[json.dumps([told, body], sort_keys=True)] += 1
        seconds = self._seconds * (10 if body["model"] == SLOW else 1)
        asyncio.get_running_loop().call_later(seconds, self._complete, body)

    def _complete(self, body: Body) -> None:
        if body["model"] == FAILING:
            self._write(400, {"error": {"message": "no", "type": "invalid", "code": None}})
        elif body.get("stream"):
            self._stream(body)
        else:
            self._write(200, _completion(body))

    def _write(self, status: int, data: Any) -> None:
        raw = json.dumps(data).encode()
        self._send(status, f"application/json\r\nContent-Length: {len(raw)}", raw)

    def _stream(self, body: Body) -> None:
        events = [json.dumps(chunk) for chunk in _chunks(body)] + ["[DONE]"]
        raw = b"".join(_http_chunk(f"data: {event}\n\n".encode()) for event in events)
        kind = "text/event-stream\r\nTransfer-Encoding: chunked"
        self._send(200, kind, raw + _http_chunk(b""))

    def _send(self, status: int, kind: str, raw: bytes) -> None:
        if self._transport is not None:  # else the client has left
            self._transport.write(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n\r\n".encode())
            self._transport.write(raw)


def _http_chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _usage(body: Body) -> dict[str, int]:
    prompt = sum(len(str(message["content"])) // 4 for message in body["messages"])
    completion = 5 * body.get("n", 1)
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def _completion(body: Body) -> Body:
    message = {"role": "assistant", "content": ANSWER}
    choices = [
        {"index": index, "message": message, "finish_reason": "stop"}
        for index in range(body.get("n", 1))
    ]
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
    return {**head, "choices": choices, "usage": _usage(body)}


def _chunks(body: Body) -> Iterator[Body]:
    head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    for word in ANSWER.split():
        delta = {"role": "assistant", "content": f"{word} "}
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {**head, "choices": [], "usage": _usage(body)}


async def _serve(seconds: float) -> None:
    sent: Counter[str] = Counter()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(seconds, sent), "127.0.0.1", 0, backlog=1024
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    asyncio.run(_serve(parser.parse_args().seconds))
