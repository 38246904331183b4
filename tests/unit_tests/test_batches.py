"""Work that callers share: forks, threads that cannot be had, loops that are closed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest

from bestroute._batches import Batches


class Gated:
    """Work that takes until it is let go on."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Semaphore(0)

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        assert self.gate.acquire(timeout=10)
        return [item.upper() for item in items]

    async def begun(self, batches: int = 1) -> None:
        while len(self.batches) < batches:
            await asyncio.sleep(0.001)


FORK = """
import asyncio, os, threading
from bestroute._batches import Batches

begun, leave, parent = threading.Event(), threading.Event(), os.getpid()

def work(items):
    begun.set()
    assert os.getpid() != parent or leave.wait(10)
    return [item.upper() for item in items]

batches = Batches(work)

async def ask(item):
    return await asyncio.wait_for(batches.ask(item), 10)

answers = []
thread = threading.Thread(target=lambda: answers.append(asyncio.run(ask("parent"))))
thread.start()
begun.wait(10)
batches._changed.acquire()  # as if another thread held it at the moment of the fork
child = os.fork()
if child == 0:
    os._exit(0 if asyncio.run(ask("child")) == "CHILD" else 1)
batches._changed.release()
assert os.waitpid(child, 0)[1] == 0
leave.set()
thread.join(10)
assert answers == ["PARENT"]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_amid_a_batch_does_not_wait_for_it() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=60)


@pytest.mark.parametrize("threads", [1, 2, 3])
async def test_so_many_batches_may_hang(threads: int) -> None:
    work = Gated()
    batches = Batches(work, threads=threads)
    hanging = [str(index) for index in range(threads)]
    for begun, item in enumerate(hanging, start=1):
        given_up = asyncio.ensure_future(batches.ask(item))
        await work.begun(begun)
        given_up.cancel()
    with pytest.raises(TimeoutError):  # all threads hang
        await asyncio.wait_for(batches.ask("in vain"), timeout=0.05)
    last = asyncio.ensure_future(batches.ask("last"))
    work.gate.release(threads + 1)
    assert await asyncio.wait_for(last, 10) == "LAST"
    assert work.batches == [*([item] for item in hanging), ["last"]]


async def test_a_loop_that_was_closed_holds_up_no_other() -> None:
    work = Gated()
    batches = Batches(work, threads=2)

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        pending = loop.create_task(batches.ask("abandoned"))
        loop.run_until_complete(work.begun())
        loop.close()
        pending._log_destroy_pending = False  # type: ignore[attr-defined]
        pending.get_coro().close()

    await asyncio.to_thread(abandon)
    later = asyncio.ensure_future(batches.ask("later"))
    await asyncio.wait_for(work.begun(2), 5)
    work.gate.release(2)
    assert await asyncio.wait_for(later, 5) == "LATER"


@pytest.mark.parametrize("error", [StopIteration, asyncio.CancelledError, SystemExit])
async def test_errors_that_no_future_takes_arrive(error: type[BaseException]) -> None:
    def work(items: Sequence[str]) -> list[str]:
        if "bad" in items:
            raise error
        return list(items)

    batches = Batches(work)
    with pytest.raises(RuntimeError, match=error.__name__):
        await asyncio.wait_for(batches.ask("bad"), 5)
    assert await asyncio.wait_for(batches.ask("good"), 5) == "good"


async def test_without_a_thread_to_be_had_callers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    batches = Batches(lambda items: list(items))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="start new thread"):
            await asyncio.wait_for(batches.ask("a"), 5)
    assert await asyncio.wait_for(batches.ask("b"), 5) == "b"


async def test_a_thread_that_is_there_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bestroute._batches._LINGER", 10)  # the machine may be slow
    seen: set[int] = set()

    def work(items: Sequence[str]) -> list[str]:
        seen.add(threading.get_ident())
        return list(items)

    batches = Batches(work)
    for item in "abcdefgh":
        assert await batches.ask(item) == item
    assert len(seen) == 1
