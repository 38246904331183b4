"""A chat server on loopback that fails as providers do, scripted per model and per sample.

Each connection serves one request and is closed: what is open is in flight.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

Body = dict[str, Any]
OK: Mapping[str, Any] = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@dataclass
class Exchange:
    """One request, and how to answer it piece by piece."""

    body: Body
    _writer: asyncio.StreamWriter

    async def head(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} Status", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.send("\r\n".join([*lines, "", ""]))

    async def send(self, data: str) -> None:
        self._writer.write(data.encode())
        await self._writer.drain()

    async def event(self, data: Body | str) -> None:
        """One server-sent event."""
        text = data if isinstance(data, str) else json.dumps(data)
        await self.send(f"data: {text}\n\n")

    def reset(self) -> None:
        """Break the connection with a TCP reset instead of an orderly end."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger
        )
        self._writer.transport.abort()


Fault = Callable[[Exchange], Awaitable[None]]
"""Answers one request, well or badly."""


class FaultServer:
    """Serves POST .../chat/completions until closed.

    Args:
        script: By model (`*` for any), what its requests meet in order of arrival; the last one
            is met again and again.

    Attributes:
        requests: Bodies seen, in order of arrival, and when (monotonic seconds).
        left: Requests whose client closed the connection before it had the answer.
    """

    def __init__(self, script: Mapping[str, Fault | Sequence[Fault]] | None = None) -> None:
        self.script: Mapping[str, Fault | Sequence[Fault]] = script or {}
        self.requests: list[Body] = []
        self.times: list[float] = []
        self.headers: list[str] = []
        self.left = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._seen: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    @property
    def url(self) -> str:
        """For `api_base`; a client that speaks TLS to it gets nonsense back."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> FaultServer:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def all_closed(self, within: float = 2.0) -> bool:
        """Whether no connection is open any more, or will be in a moment."""
        end = time.monotonic() + within
        while self._open and time.monotonic() < end:
            time.sleep(0.005)
        return not self._open

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if (body := await self._read(reader)) is None:
                writer.write(b"this is no TLS\r\n")
                return
            await self._play(self._next(body)(Exchange(body, writer)), reader)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or the server stops
        finally:
            self._open.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Body | None:
        """The body of a request; `None` if it is none."""
        if await reader.readexactly(1) != b"P":
            return None
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.partition(":")[2])
            for line in head.splitlines()
            if line.lower().startswith("content-length:")
        )
        body: Body = json.loads(await reader.readexactly(length))
        self.requests.append(body)
        self.times.append(time.monotonic())
        self.headers.append(head)
        return body

    def _next(self, body: Body) -> Fault:
        model = body["model"]
        turn = self._seen[model] = self._seen.get(model, -1) + 1
        met = self.script.get(model) or self.script.get("*") or answer()
        return met[min(turn, len(met) - 1)] if isinstance(met, Sequence) else met

    async def _play(self, fault: Awaitable[None], reader: asyncio.StreamReader) -> None:
        """Answer, until the client leaves."""
        playing = asyncio.ensure_future(fault)
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                self.left += 1
                playing.cancel()
            await asyncio.wait({playing})
            if not playing.cancelled() and (error := playing.exception()):
                raise error
        finally:
            playing.cancel()
            leaving.cancel()


@dataclass(frozen=True)
class Choice:
    """One choice of a completion; what is `None` is null on the wire."""

    content: Any = "ok"
    finish: str | None = "stop"
    more: Mapping[str, Any] = field(default_factory=dict)


def completion(body: Body, choices: Sequence[Choice], usage: Any = OK) -> Body:
    """A completion in OpenAI's format; `usage` of `None` leaves it out."""
    told = [
        {
            "index": index,
            "message": {"role": "assistant", "content": each.content, **each.more},
            "finish_reason": each.finish,
        }
        for index, each in enumerate(choices)
    ]
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"]}
    return {**head, "choices": told, **({} if usage is None else {"usage": usage})}


def answer(
    *choices: Choice | str,
    usage: Any = OK,
    before: float = 0.0,
    between: float = 0.0,
    stop_after: int | None = None,
) -> Fault:
    """A sound answer, or nearly.

    Args:
        choices: As many as given, whatever was asked; by default as many as were asked.
        usage: What is reported; `None` for nothing.
        before: Seconds before the headers.
        between: Seconds between the headers and the body, or between events of a stream.
        stop_after: A stream ends without a word after so many events.
    """

    async def play(exchange: Exchange) -> None:
        given = [each if isinstance(each, Choice) else Choice(each) for each in choices]
        if not choices:
            given = [Choice()] * (exchange.body.get("n") or 1)
        await asyncio.sleep(before)
        if exchange.body.get("stream"):
            await _stream(exchange, given[0], usage, between, stop_after)
        else:
            await raw(json.dumps(completion(exchange.body, given, usage)), between=between)(
                exchange
            )

    return play


async def _stream(
    exchange: Exchange, choice: Choice, usage: Any, between: float, stop_after: int | None
) -> None:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1}
    head["model"] = exchange.body["model"]
    deltas = [{"role": "assistant", "content": ""}]
    deltas += [{"content": f"{word} "} for word in str(choice.content or "").split()]
    events = [
        {**head, "choices": [{"index": 0, "delta": each, "finish_reason": None}]} for each in deltas
    ]
    events += [{**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice.finish}]}]
    events += [{**head, "choices": [], "usage": usage}] if usage else []
    await exchange.head(headers={"Content-Type": "text/event-stream"})
    for event in events[:stop_after]:
        await exchange.event(event)
        await asyncio.sleep(between)
    if stop_after is None:
        await exchange.event("[DONE]")


def raw(text: str, *, between: float = 0.0) -> Fault:
    """Status 200 and any text at all."""

    async def play(exchange: Exchange) -> None:
        await exchange.head(headers={"Content-Type": "application/json"})
        await asyncio.sleep(between)
        await exchange.send(text)

    return play


def status(
    number: int, message: str = "no", *, headers: Mapping[str, str] | None = None, **error: Any
) -> Fault:
    """An error in OpenAI's format; `error` may hold its `code` and `type`."""

    async def play(exchange: Exchange) -> None:
        told = {"message": message, "type": "error", "code": None, **error}
        await exchange.head(number, {"Content-Type": "application/json", **(headers or {})})
        await exchange.send(json.dumps({"error": told}))

    return play


def refuses_n(then: Fault | None = None) -> Fault:
    """400 for more than one choice, else as `then` says."""

    async def play(exchange: Exchange) -> None:
        many = (exchange.body.get("n") or 1) > 1
        fault = status(400, "n must be 1") if many else then or answer()
        await fault(exchange)

    return play


async def reset_mid_body(exchange: Exchange) -> None:
    """Half an answer, then a TCP reset."""
    await exchange.head(headers={"Content-Type": "application/json", "Content-Length": "999"})
    await exchange.send('{"id": "c", "choices": [')
    await asyncio.sleep(0.01)
    exchange.reset()


async def hang(exchange: Exchange) -> None:
    """Nothing at all, for ever."""
    await asyncio.sleep(3600)


async def trickle(exchange: Exchange) -> None:
    """Headers, and a body that comes byte by byte and never ends."""
    await exchange.head(headers={"Content-Type": "application/json"})
    while True:
        await exchange.send(" ")
        await asyncio.sleep(0.02)


async def endless_stream(exchange: Exchange) -> None:
    """A stream that goes on and on."""
    await exchange.head(headers={"Content-Type": "text/event-stream"})
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    while True:
        choice = {"index": 0, "delta": {"content": "more "}, "finish_reason": None}
        await exchange.event({**head, "choices": [choice]})
        await asyncio.sleep(0.02)


def refused_url() -> str:
    """An address on loopback where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
