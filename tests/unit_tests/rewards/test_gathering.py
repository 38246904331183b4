"""Concurrent requests share a reward model's batches, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from bestroute._sync import run_sync
from bestroute.errors import ScoreError
from bestroute.rewards import RewardModel
from bestroute.rewards.base import Scores
from bestroute.rewards.pairs import PairReward


class Lengths(PairReward):
    """A response's length; waits for leave, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[threading.Thread] = set()
        self.leave = threading.Event()
        self.began = threading.Event()

    def score_many(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        self.batches.append([response for _, response in pairs])
        self.threads.add(threading.current_thread())
        self.began.set()
        assert self.leave.wait(10)
        if any(query == "broken" for query, _ in pairs):
            raise ValueError("broken")
        if any(query == "memory" for query, _ in pairs):
            raise MemoryError
        return np.array([float(len(response)) for _, response in pairs])

    async def until_it_runs(self) -> None:
        await asyncio.to_thread(self.began.wait, 10)


async def test_what_queues_while_a_batch_runs_is_the_next_batch() -> None:
    reward = Lengths()
    first = asyncio.create_task(reward.ascore("q", ["a"]))
    await reward.until_it_runs()  # at once: nobody waits for company
    others = [asyncio.create_task(reward.ascore(f"q{i}", ["b" * i, "c"])) for i in range(2, 5)]
    await asyncio.sleep(0)
    reward.leave.set()
    assert (await first).tolist() == [1]
    assert [(await each).tolist() for each in others] == [[2, 1], [3, 1], [4, 1]]
    assert reward.batches == [["a"], ["bb", "c", "bbb", "c", "bbbb", "c"]]


@pytest.mark.parametrize(("query", "error"), [("broken", ValueError), ("memory", MemoryError)])
async def test_who_fails_fails_alone(query: str, error: type[Exception]) -> None:
    reward = Lengths()
    first = asyncio.create_task(reward.ascore("q", ["a"]))
    await reward.until_it_runs()
    good = [asyncio.create_task(reward.ascore("q", ["bb"])) for _ in range(2)]
    bad = asyncio.create_task(reward.ascore(query, ["ccc"]))
    await asyncio.sleep(0)
    reward.leave.set()
    await first
    assert [(await each).tolist() for each in good] == [[2], [2]]
    with pytest.raises(error):
        await bad
    assert (await reward.ascore("q", ["dddd"])).tolist() == [4]


async def test_a_cancelled_request_is_not_scored_and_takes_nothing_from_others() -> None:
    reward = Lengths()
    running = asyncio.create_task(reward.ascore("q", ["a"]))
    await reward.until_it_runs()
    waiting = asyncio.create_task(reward.ascore("q", ["bb"]))
    other = asyncio.create_task(reward.ascore("q", ["ccc"]))
    await asyncio.sleep(0)
    running.cancel()
    waiting.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    assert running.cancelled() and waiting.cancelled()
    reward.leave.set()
    assert (await other).tolist() == [3]
    assert reward.batches == [["a"], ["ccc"]]


async def test_event_loops_share_one_model_that_runs_once_at_a_time() -> None:
    reward = Lengths()
    reward.leave.set()
    in_this_loop = asyncio.gather(*(reward.ascore("q", ["a" * i]) for i in range(1, 20)))
    in_another = asyncio.to_thread(run_sync, reward.ascore("q", ["b" * 50]))
    assert [scores.tolist() for scores in await in_this_loop] == [[i] for i in range(1, 20)]
    assert (await in_another).tolist() == [50]


async def test_no_thread_stays_behind() -> None:
    reward = Lengths()
    reward.leave.set()
    await asyncio.gather(*(reward.ascore("q", ["a"]) for _ in range(50)))
    for _ in range(100):
        if not any(thread.is_alive() for thread in reward.threads):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the thread still runs")


async def test_a_late_reward_model_is_not_waited_for() -> None:
    reward: RewardModel = Lengths()
    with pytest.raises(TimeoutError, match="within 0.05 seconds"):
        await reward.judge("q", ["a"], timeout=0.05)
    assert isinstance(reward, Lengths)
    reward.leave.set()


async def test_a_batch_of_too_few_scores_holds_up_nobody_after_it() -> None:
    class Short(Lengths):
        def score_many(self, pairs: Sequence[tuple[str, str]]) -> Scores:
            scores = super().score_many(pairs)
            return scores[1:] if any(query == "short" for query, _ in pairs) else scores

    reward = Short()
    reward.leave.set()
    with pytest.raises(ScoreError):
        await asyncio.wait_for(reward.ascore("short", ["a"]), 5)
    assert (await asyncio.wait_for(reward.ascore("q", ["a"]), 5)).tolist() == [1]
