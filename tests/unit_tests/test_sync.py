"""The sync door: any thread, any loop, forks, Ctrl-C, and generators that are left early."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from bestroute._sync import iterate_sync, run_sync
from bestroute._tasks import together

who: ContextVar[str] = ContextVar("who", default="nobody")


async def say(text: str) -> str:
    await asyncio.sleep(0)
    return text


def test_from_a_plain_thread() -> None:
    assert run_sync(say("hi")) == "hi"


async def test_inside_a_running_loop_as_in_a_notebook() -> None:
    assert run_sync(say("hi")) == "hi"


def test_from_many_threads_at_once() -> None:
    with ThreadPoolExecutor(16) as threads:
        texts = [str(index) for index in range(64)]
        assert list(threads.map(lambda text: run_sync(say(text)), texts)) == texts


def test_nested_by_way_of_a_worker_thread() -> None:
    async def outer() -> str:
        return await asyncio.to_thread(run_sync, say("deep"))

    assert run_sync(outer()) == "deep"


@pytest.mark.timeout(20)
def test_called_by_what_it_runs_it_says_so_instead_of_hanging() -> None:
    async def outer() -> str:
        return run_sync(say("never"))

    with pytest.raises(RuntimeError, match="await"):
        run_sync(outer())


def test_errors_come_out_as_they_are() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_sync(fail())


def test_the_caller_s_context_is_seen() -> None:
    async def seen() -> str:
        return who.get()

    async def items() -> AsyncGenerator[str, None]:
        yield who.get()

    token = who.set("me")
    try:
        assert run_sync(seen()) == "me"
        assert list(iterate_sync(items())) == ["me"]
    finally:
        who.reset(token)


class Source:
    """An async generator that says whether it was closed."""

    def __init__(self, *, stall: bool = False) -> None:
        self.stall = stall
        self.closed = threading.Event()
        self.stalling = threading.Event()

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            yield 0
            if self.stall:
                self.stalling.set()
                await asyncio.sleep(60)
            yield 1
        finally:
            await asyncio.sleep(0.05)  # closing takes a while, as a connection does
            self.closed.set()


def test_a_generator_is_walked_to_its_end() -> None:
    source = Source()
    assert list(iterate_sync(source.items())) == [0, 1]
    assert source.closed.is_set()


def test_leaving_early_closes_it() -> None:
    source = Source()
    walk = iterate_sync(source.items())
    assert next(walk) == 0
    walk.close()  # type: ignore[attr-defined]
    assert source.closed.is_set()


class Traced:
    """An async generator that says which tasks ran it."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[object] | None] = set()
        self.ended = False

    async def items(self) -> AsyncGenerator[int, None]:
        """Two of them."""
        try:
            for item in range(2):
                self.tasks.add(asyncio.current_task())
                yield item
        finally:
            self.tasks.add(asyncio.current_task())
            self.ended = True


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_one_task_walks_all_the_way(wanted: int) -> None:
    source = Traced()
    walk = iterate_sync(source.items())
    for _ in range(wanted):
        next(walk, None)
    walk.close()  # type: ignore[attr-defined]
    assert source.ended
    assert len(source.tasks) == 1


def test_what_is_set_in_a_generator_stays_set_until_it_ends() -> None:
    async def items() -> AsyncGenerator[str, None]:
        token = who.set("the generator")
        try:
            yield who.get()
            yield who.get()
        finally:
            who.reset(token)

    assert list(iterate_sync(items())) == ["the generator"] * 2
    assert who.get() == "nobody"


@pytest.mark.parametrize("wanted", [1, 3])
def test_errors_of_a_generator_come_out(wanted: int) -> None:
    async def items() -> AsyncGenerator[int, None]:
        try:
            yield 0
            yield 1
        finally:
            raise KeyError("mine")

    walk = iterate_sync(items())
    with pytest.raises(KeyError, match="mine"):
        for _ in range(wanted):
            next(walk)
        walk.close()  # type: ignore[attr-defined]


@pytest.mark.timeout(20)
def test_garbage_collected_in_the_background_thread_it_is_closed_without_a_fuss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    source = Source()
    walk = iterate_sync(source.items())
    assert next(walk) == 0
    cycle = [walk]
    cycle.append(cycle)  # type: ignore[arg-type]
    del walk, cycle

    async def collect() -> None:
        gc.collect()

    gc.disable()
    try:
        run_sync(collect())
    finally:
        gc.enable()
    assert source.closed.wait(10)
    assert not ignored


class Stop(BaseException):
    """Stands in for KeyboardInterrupt, which would end the test run if it slipped through."""


def interrupt(signum: int, frame: object) -> None:
    raise Stop


def when(event: threading.Event) -> None:
    """Interrupt the main thread, which waits, once an event has happened."""

    def press() -> None:
        event.wait(10)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=press, daemon=True).start()


@pytest.fixture
def _interruptible() -> object:
    old = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, old)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_cancels_the_coroutine() -> None:
    running, cancelled = threading.Event(), threading.Event()

    async def endless() -> None:
        try:
            running.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    when(running)
    with pytest.raises(Stop):
        run_sync(endless())
    assert cancelled.wait(10)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_while_a_generator_works_closes_it_and_stays_the_error() -> None:
    source = Source(stall=True)
    when(source.stalling)
    with pytest.raises(Stop):
        list(iterate_sync(source.items()))
    assert source.closed.is_set()


FORK = """
import os, threading
from bestroute._sync import run_sync
import bestroute._sync as sync

async def say(): return "hi"

assert run_sync(say()) == "hi"
sync._background._lock.acquire()  # as if another thread held it at the moment of the fork
child = os.fork()
if child == 0:
    os._exit(0 if run_sync(say()) == "hi" else 1)
sync._background._lock.release()
assert os.waitpid(child, 0)[1] == 0
assert run_sync(say()) == "hi"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_door_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


CTRL_C = """
import asyncio, os, signal, threading
from bestroute._sync import run_sync

async def endless():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    await asyncio.sleep(60)

try:
    run_sync(endless())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CTRL_C], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "interrupted"
    assert ran.stderr == ""


async def test_together_keeps_the_order() -> None:
    async def after(seconds: float, value: int) -> int:
        await asyncio.sleep(seconds)
        return value

    assert await together(after(0.02 - 0.01 * i, i) for i in range(3)) == [0, 1, 2]


async def test_together_ends_the_others_when_one_raises() -> None:
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await together([endless(), fail()])
    await asyncio.wait_for(cancelled.wait(), 10)
