"""Whatever a caller passes, only errors of this library come out."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import litellm
import pytest
from hypothesis import given

from bestroute import BestRoute, Decision, ModelPool, RoutedResponse
from bestroute.errors import RequestError
from bestroute.events import Delta
from tests.fuzzing import any_text, cases, chats, nested, only_ours, some_options
from tests.servers import ChatServer
from tests.small_router import routed


class Parrot:
    """A client that answers at once, whatever it is asked."""

    async def acompletion(self, *, messages: Any, stream: bool = False, **params: Any) -> Any:
        if stream:
            return self._pieces()
        message = {"role": "assistant", "content": f"{len(messages)} heard"}
        return litellm.ModelResponse(choices=[{"index": 0, "message": message}])

    async def _pieces(self) -> Any:
        delta = {"role": "assistant", "content": "heard"}
        yield litellm.ModelResponseStream(choices=[{"index": 0, "delta": delta}])


def pool() -> dict[str, Any]:
    price = {"input": 1, "output": 2}
    small = {"model": "openai/small", "name": "small", "max_samples": 3, "price": price}
    big = {"model": "openai/big", "name": "big", "reference": True, "price": price}
    return {"models": [{**each, "client": Parrot()} for each in (small, big)]}


@cache
def engines() -> tuple[BestRoute, BestRoute]:
    """With a trained router, and from a pool alone."""
    return routed(pool()), BestRoute(ModelPool.from_dict(pool()))


@cases(0.2)
@given(messages=chats)
def test_fuzz_messages_routed(messages: Any) -> None:
    for engine in engines():
        decision = only_ours(engine.route, messages)
        assert decision is None or isinstance(decision, Decision)


@cases(0.15)
@given(messages=any_text, options=some_options)
def test_fuzz_options_routed(messages: Any, options: dict[str, Any]) -> None:
    for engine in engines():
        only_ours(engine.route, messages or "hi", **options)


@cases(0.15)
@given(messages=chats, options=some_options)
def test_fuzz_calls_answered(messages: Any, options: dict[str, Any]) -> None:
    async def both() -> None:
        for engine in engines():
            await answered(engine)

    async def answered(engine: BestRoute) -> None:
        response = await engine.acomplete(messages, **options)
        assert isinstance(response, RoutedResponse)

    only_ours(lambda: asyncio.run(both()))


@cases(0.05)
@given(messages=chats, options=some_options)
def test_fuzz_calls_streamed(messages: Any, options: dict[str, Any]) -> None:
    async def streamed() -> None:
        async for piece in engines()[1].astream(messages, **options):
            assert isinstance(piece, Delta | RoutedResponse)

    only_ours(lambda: asyncio.run(streamed()))


SPOILT: tuple[Any, ...] = (
    [{"role": "user", "content": "hi", "name": {1, 2}}],
    [{"role": "user", "content": 5}],
    [{"role": "user", "content": {"text": "hi"}}],
    [{"role": "user", "content": [{"type": "text", "text": b"hi"}]}],
    [{"role": "user", "content": "hi", "weight": float("nan")}],
    [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [nested(200)]}],
    [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [{(1, 2): 3}]}],
)


@pytest.mark.parametrize("messages", SPOILT, ids=range(len(SPOILT)))
def test_what_no_provider_can_be_sent_costs_no_attempt(messages: Any) -> None:
    """Else three such requests would take every model out of everybody's rotation."""
    for engine in engines():
        with pytest.raises(RequestError, match="messages"):
            engine.complete(messages)
        assert not engine.breaker.resting()


def test_lone_surrogates_are_sent_as_question_marks(chat_server: ChatServer) -> None:
    data = pool()
    for member in data["models"]:
        del member["client"]
        member["params"] = chat_server.params
    message = {"role": "user", "content": [{"type": "text", "text": "a \ud800 b"}]}
    response = BestRoute(data).complete([message], stop="\udfff", max_n=1)
    assert response.text == "ok"
    assert chat_server.requests[0]["messages"][0]["content"][0]["text"] == "a ? b"
    assert chat_server.requests[0]["stop"] == "?"
