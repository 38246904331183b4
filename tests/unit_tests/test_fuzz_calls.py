"""Whatever a caller passes, only errors of this library come out."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import litellm
from hypothesis import given

from bestroute import BestRoute, Decision, ModelPool, RoutedResponse
from bestroute.sampling import Delta
from tests.fuzzing import any_text, cases, chats, only_ours, some_options
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
