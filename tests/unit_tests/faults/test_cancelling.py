"""A caller who leaves takes everything along: tasks, connections, sleeps, scoring."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bestroute import BestRoute, Cascade
from bestroute.policy import FixedArm
from bestroute.purse import Purse
from bestroute.rewards.base import RewardModel
from tests.fault_server import FaultServer, answer, endless_stream, hang, status
from tests.unit_tests.faults.engines import answered, engine


class Endless(RewardModel):
    """Never comes to an end."""

    begun = 0
    left = 0

    def score(self, query: str, responses: Sequence[str]) -> Any:
        raise NotImplementedError

    async def ascore(self, query: str, responses: Sequence[str]) -> Any:
        self.begun += 1
        try:
            await asyncio.sleep(3600)
        finally:
            self.left += 1


def requests(count: int) -> Callable[[FaultServer, BestRoute], bool]:
    return lambda server, router: len(server.requests) >= count


def own_threads() -> set[threading.Thread]:
    """Those of executors (the event loop's, LiteLLM's) wait for work, whoever gave it."""
    pools = ("asyncio_", "ThreadPoolExecutor")
    return {each for each in threading.enumerate() if not each.name.startswith(pools)}


def scoring(server: FaultServer, router: BestRoute) -> bool:
    return getattr(router.reward, "begun", 0) > 0


PARALLEL: dict[str, Any] = {"small": {"native_n": False}}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], Any]] = {
    "one call": ({"*": hang}, {}, {}, requests(1)),
    "parallel calls": ({"*": hang}, PARALLEL, {}, requests(3)),
    "some have come": ({"*": [answer(), answer(), hang]}, PARALLEL, {}, requests(3)),
    "a top-up": ({"small": [answer("a"), hang]}, {}, {}, requests(3)),
    "a second wave": (
        {"small": answer("The answer is 1.", "The answer is 2."), "big": hang},
        {"policy": Cascade(n=2)},
        {},
        requests(2),
    ),
    "a wait for another try": (
        {"*": status(429, headers={"Retry-After": "30"})},
        {},
        {},
        requests(1),
    ),
    "scoring": ({}, {"reward": Endless()}, {}, scoring),
    "a stream that has not begun": (
        {"*": hang},
        {"arm": "small:1"},
        {"streaming": True},
        requests(1),
    ),
    "a stream": (
        {"*": endless_stream},
        {"arm": "small:1"},
        {"streaming": True},
        requests(1),
    ),
    "everyone was asked": ({"*": hang}, {}, {"timeout": 1.0}, requests(2)),
    "a late stream, and the others": (
        {"*": hang},
        {"arm": "small:1"},
        {"timeout": 1.0, "streaming": True},
        requests(2),
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_nothing_is_left_behind(case: str, server: FaultServer) -> None:
    server.script, made, options, ready = CASES[case]
    router = engine(server, **made)
    await router.warmup()
    before, threads = asyncio.all_tasks(), own_threads()
    call = asyncio.create_task(answered(router, **options))
    end = time.monotonic() + 20
    while not ready(server, router) and time.monotonic() < end:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    began = time.monotonic()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert time.monotonic() - began < 1
    assert await asyncio.to_thread(server.all_closed)
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert not [task for task in left if "bestroute" in str(task.get_coro())], left
    assert len(left) <= 1  # LiteLLM keeps a worker of its own
    assert not own_threads() - threads
    if isinstance(router.reward, Endless):
        assert router.reward.begun == router.reward.left


async def test_what_was_under_way_is_told_to_the_purse(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    purses: list[Purse] = []
    original = Purse.__init__

    def noted(self: Purse, **options: Any) -> None:
        purses.append(self)
        original(self, **options)

    server.script = {"*": [answer(), answer(), hang]}
    router = engine(server, **PARALLEL)
    await router.warmup()
    monkeypatch.setattr(Purse, "__init__", noted)
    call = asyncio.create_task(router.acomplete("hi there"))
    while len(server.requests) < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    calls = purses[0].calls
    assert [call.received for call in calls].count(1) == 2  # reported, and paid
    (cut,) = [call for call in calls if call.error]
    assert "cancelled" in str(cut.error)
    assert cut.usage.prompt_tokens > 0


def test_ctrl_c_at_the_sync_door(server: FaultServer) -> None:
    server.script = {"*": hang}
    router = engine(server, small={"native_n": False})
    for door in (router.complete, lambda ask: list(router.stream(ask))):
        seen = len(server.requests) + 3

        def interrupt(seen: int = seen) -> None:
            while len(server.requests) < seen:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            door("hi")
        assert server.all_closed()


async def test_leaving_a_stream_closes_its_connection(server: FaultServer) -> None:
    server.script = {"*": endless_stream}
    items = engine(server, policy=FixedArm("small:1")).astream("hi")
    await anext(items)
    assert server.open == 1
    await items.aclose()
    assert await asyncio.to_thread(server.all_closed)
    assert server.left == 1
