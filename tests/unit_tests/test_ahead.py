"""Draws that are begun ahead: used, cancelled, and paid for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import pytest

from bestroute import BestRoute
from bestroute.errors import RefusedRequestError
from bestroute.events import Drawing, Drew
from bestroute.policy import Accept, Draw, State
from bestroute.response import RoutedResponse
from tests.servers import Body, ChatServer, Reply
from tests.unit_tests.test_engine import asked, pool


@dataclass
class Ahead:
    """The small model, the reference begun beside it; escalates or not."""

    escalates: bool
    waves: int = 1
    name = "ahead"
    needs_router = False
    calibrated = False

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        if state.samples.get("big"):
            return Accept(model="big", reason="it answered")
        if len(state.samples.get("small", ())) < self.waves:
            ahead = Draw(model="big", n=1, reason="ahead", final=True, ahead=True)
            return (Draw(model="small", n=1, reason="first"), ahead)
        if self.escalates:
            return (Draw(model="big", n=1, reason="needed", final=True),)
        return Accept(model="small", reason="enough")


def timed(small: float, big: float) -> object:
    def reply(body: Body) -> Reply:
        name = body["model"]
        return Reply(f"by {name}", delay=small if name == "small" else big)

    return reply


def engine(server: ChatServer, escalates: bool) -> BestRoute:
    return BestRoute(pool(server), policy=Ahead(escalates))


@pytest.mark.parametrize("streaming", [False, True])
async def test_what_was_begun_ahead_is_not_asked_twice(
    streaming: bool, chat_server: ChatServer
) -> None:
    chat_server.reply = timed(0.5, 0.7)  # type: ignore[assignment]
    router = engine(chat_server, escalates=True)
    await router.warmup()
    began = time.monotonic()
    events = [event async for event in router.aevents("hi", streaming=streaming)]
    lasted = time.monotonic() - began
    response = events[-1]
    assert isinstance(response, RoutedResponse)
    assert response.text == "by big"
    assert asked(chat_server) == {"small": 1, "big": 1}
    assert lasted < 1.1  # one after the other they take 1.2
    drawn = [(e.index, e.model) for e in events if isinstance(e, Drawing)]
    came = [(e.index, e.model, len(e.samples)) for e in events if isinstance(e, Drew)]
    assert drawn == [(0, "small"), (1, "big")]
    assert came == [(0, "small", 1), (1, "big", 1)]


async def test_a_model_that_fails_when_it_is_asked_ahead_is_left_out_later(
    chat_server: ChatServer,
) -> None:
    def reply(body: Body) -> Reply:
        if body["model"] == "big":
            return Reply("no such key", status=401)
        return Reply("by small", delay=0.5)

    chat_server.reply = reply
    router = engine(chat_server, escalates=False)
    await router.warmup()
    assert (await router.acomplete("hello")).text == "by small"
    assert list(router.breaker.resting()) == ["big"]


async def test_an_error_tells_of_what_was_begun_ahead(chat_server: ChatServer) -> None:
    def reply(body: Body) -> Reply:
        if body["model"] == "big":
            return Reply("late", delay=3)
        return Reply("not like this", status=422, delay=0.3)

    chat_server.reply = reply
    router = engine(chat_server, escalates=True)
    await router.warmup()
    with pytest.raises(RefusedRequestError) as raised:
        await router.acomplete("hello")
    assert [call.model for call in raised.value.calls] == ["small", "big"]


async def test_what_was_begun_in_vain_is_cancelled_and_its_prompt_paid(
    chat_server: ChatServer,
) -> None:
    chat_server.reply = timed(0.1, 60)  # type: ignore[assignment]
    router = engine(chat_server, escalates=False)
    await router.warmup()
    before = len(asyncio.all_tasks())
    began = time.monotonic()
    response = await router.acomplete("hello " * 100)
    assert time.monotonic() - began < 3
    assert response.text == "by small"
    assert any("in vain" in each for each in response.degraded)
    (call,) = (each for each in response.calls if each.model == "big")
    assert call.error is not None
    assert "cancelled" in call.error
    assert call.usage.prompt_tokens > 50
    assert call.usage.estimated
    assert response.cost is not None
    assert response.cost > 50 * 50 / 1e6
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) <= before + 2  # LiteLLM keeps a worker of its own


async def test_what_came_in_vain_is_billed_as_it_was(chat_server: ChatServer) -> None:
    chat_server.reply = timed(0.5, 0.0)  # type: ignore[assignment]
    response = await engine(chat_server, escalates=False).acomplete("hi")
    assert response.text == "by small"
    (call,) = (each for each in response.calls if each.model == "big")
    assert call.error is None
    assert call.usage.completion_tokens == 2
    assert [sample.text for sample in response.samples].count("by big") == 1


async def test_leaving_cancels_what_was_begun(chat_server: ChatServer) -> None:
    chat_server.reply = timed(60, 60)  # type: ignore[assignment]
    router = engine(chat_server, escalates=False)
    await router.warmup()
    task = asyncio.create_task(router.acomplete("hi"))
    while len(chat_server.requests) < 2:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1


async def test_a_second_wave_does_not_wait_for_what_goes_on(chat_server: ChatServer) -> None:
    chat_server.reply = timed(0.1, 60)  # type: ignore[assignment]
    router = BestRoute(pool(chat_server), policy=Ahead(False, waves=2))
    await router.warmup()
    began = time.monotonic()
    response = await router.acomplete("hi")
    assert time.monotonic() - began < 3
    assert response.text == "by small"
    assert asked(chat_server) == {"small": 2, "big": 1}
