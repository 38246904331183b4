"""Members of a pool that bring their own client, which does what it should not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from bestroute import BestRoute, ModelPool
from bestroute.client import ModelClient
from bestroute.errors import DeadlineError, PromptTooLongError, RefusedRequestError, SamplingError
from bestroute.policy import FixedArm
from tests.fault_server import FaultServer
from tests.unit_tests.faults.engines import answered, pool


class Raises:
    """A client that raises."""

    def __init__(self, what: Callable[[], BaseException]) -> None:
        self.what = what
        self.asked = 0

    async def acompletion(self, **params: Any) -> Any:
        self.asked += 1
        raise self.what()


def engine(server: FaultServer, client: ModelClient) -> BestRoute:
    small = {
        "name": "small",
        "model": "small",
        "client": client,
        "price": {"input": 1, "output": 1},
    }
    big = pool(server).reference
    return BestRoute(ModelPool.from_dict({"models": [small, big]}), policy=FixedArm("small:1"))


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_client_that_cancels_itself_cancels_nobody(
    streaming: bool, server: FaultServer
) -> None:
    router = engine(server, Raises(lambda: asyncio.CancelledError("a scope of its own")))
    response = await answered(router, streaming=streaming)
    assert response.model == "big"
    assert {call.model for call in response.calls} == {"small", "big"}


class Stubborn:
    """A client that goes on when it is cancelled, until it is let go."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()

    async def acompletion(self, **params: Any) -> Any:
        while not self.leave.is_set():
            with suppress(asyncio.CancelledError):
                await self.leave.wait()
        raise RuntimeError("let go")


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_client_that_cannot_be_cancelled_is_not_waited_for(
    streaming: bool, server: FaultServer
) -> None:
    client = Stubborn()
    router = engine(server, client)
    await router.warmup()
    began = time.monotonic()
    try:
        with pytest.raises(DeadlineError):
            called = answered(router, model="small", timeout=0.3, streaming=streaming)
            await asyncio.wait_for(called, 8)
    finally:
        client.leave.set()
    assert time.monotonic() - began < 4
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_router_that_is_a_member_fails_as_models_do(
    streaming: bool, server: FaultServer
) -> None:
    client = Raises(lambda: SamplingError("no model gave a response"))
    response = await answered(engine(server, client), streaming=streaming)
    assert response.model == "big"
    assert client.asked == 1
    assert [call.model for call in response.calls] == ["small", "big"]


async def test_what_such_a_router_refuses_is_refused(server: FaultServer) -> None:
    client = Raises(lambda: RefusedRequestError("the request was refused"))
    with pytest.raises(RefusedRequestError) as raised:
        await engine(server, client).acomplete("hi")
    assert [call.model for call in raised.value.calls] == ["small"]
    assert not server.requests


async def test_what_is_too_long_for_such_a_router_may_not_be_for_others(
    server: FaultServer,
) -> None:
    client = Raises(lambda: PromptTooLongError("too long"))
    assert (await engine(server, client).acomplete("hi")).model == "big"
