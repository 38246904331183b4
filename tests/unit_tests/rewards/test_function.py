"""A user's function as reward model."""

from __future__ import annotations

import asyncio

import pytest

from bestroute.errors import ScoreError
from bestroute.rewards import FunctionReward

RESPONSES = ["a", "abc", "ab"]


def length(query: str, response: str) -> float:
    return len(query) + len(response)


async def length_later(query: str, response: str) -> float:
    await asyncio.sleep(0)
    return length(query, response)


def lengths(query: str, responses: list[str]) -> list[float]:
    return [length(query, response) for response in responses]


async def lengths_later(query: str, responses: list[str]) -> list[float]:
    await asyncio.sleep(0)
    return lengths(query, responses)


ALL = [(length, False), (length_later, False), (lengths, True), (lengths_later, True)]


@pytest.mark.parametrize(("function", "batch"), ALL)
async def test_every_kind_of_function(function, batch: bool) -> None:
    reward = FunctionReward(function, batch=batch)
    assert reward.score("qq", RESPONSES).tolist() == [3, 5, 4]
    assert (await reward.ascore("qq", RESPONSES)).tolist() == [3, 5, 4]
    assert (await reward.judge("qq", RESPONSES)).scores.tolist() == [3, 5, 4]


async def test_async_calls_run_side_by_side() -> None:
    waiting = asyncio.Barrier(len(RESPONSES))

    async def meet(query: str, response: str) -> float:
        await asyncio.wait_for(waiting.wait(), 5)
        return 1.0

    assert (await FunctionReward(meet).ascore("q", RESPONSES)).tolist() == [1, 1, 1]


async def test_a_slow_plain_function_does_not_block_the_loop() -> None:
    ticking = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_tick(query: str, response: str) -> float:
        done = asyncio.run_coroutine_threadsafe(ticking.wait(), loop)
        return float(done.result(timeout=5))

    loop.call_later(0.05, ticking.set)
    assert (await FunctionReward(wait_for_tick).ascore("q", ["a"])).tolist() == [1]


def raises(query: str, response: str) -> float:
    raise KeyError("secret text")


@pytest.mark.parametrize(
    ("function", "batch"),
    [
        (raises, False),
        (lambda query, response: float("nan"), False),
        (lambda query, response: float("inf"), False),
        (lambda query, response: "good", False),
        (lambda query, response: None, False),
        (lambda query, responses: [1.0], True),
        (lambda query, responses: 1.0, True),
        (lambda query, responses: [[1.0], [2.0, 3.0], [4.0]], True),
    ],
)
def test_a_bad_function_is_named(function, batch: bool) -> None:
    with pytest.raises(ScoreError) as caught:
        FunctionReward(function, batch=batch).score("q", RESPONSES)
    assert function.__qualname__ in str(caught.value)
    assert "secret text" not in str(caught.value)


def test_set_dependence_is_the_users_word() -> None:
    assert not FunctionReward(lengths, batch=True).set_dependent
    assert FunctionReward(lengths, batch=True, set_dependent=True).set_dependent


def test_an_object_with_call_works() -> None:
    class Longest:
        def __call__(self, query: str, response: str) -> float:
            return len(response)

    assert FunctionReward(Longest()).score("q", RESPONSES).tolist() == [1, 3, 2]
