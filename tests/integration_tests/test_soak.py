"""What a process holds stays as it is, however many calls and event loops there were."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bestroute import BestRoute
from bestroute.policy import FixedArm
from tests.benchmarks.rows import read
from tests.servers import ChatServer

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc"
)

LOOPS, SAMPLES = 6, 3


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_connections_of_an_event_loop_end_with_it(chat_server: ChatServer) -> None:
    small = {"name": "small", "model": "openai/small", "native_n": False, "max_samples": SAMPLES}
    big = {"name": "big", "model": "openai/big", "reference": True}
    models = [{**each, "params": chat_server.params} for each in (small, big)]
    engine = BestRoute({"models": models}, policy=FixedArm(f"small:{SAMPLES}"))
    asyncio.run(engine.acomplete("Hello"))
    before = _open_files()
    for _ in range(LOOPS):
        assert asyncio.run(engine.acomplete("Hello")).text == "ok"
    until = time.monotonic() + 10  # the server is in this process, and closes its side in threads
    while _open_files() >= before + SAMPLES and time.monotonic() < until:
        time.sleep(0.01)
    assert _open_files() < before + SAMPLES  # each loop opened so many


def test_calls_with_a_deadline_share_their_connections(chat_server: ChatServer) -> None:
    models = [{"model": "openai/big", "reference": True, "params": chat_server.params}]
    engine = BestRoute({"models": models})

    async def calls() -> int:
        await engine.acomplete("Hello", timeout=60)
        before = _open_files()
        for _ in range(LOOPS):
            await engine.acomplete("Hello", timeout=60)
        return _open_files() - before

    assert asyncio.run(calls()) <= 1


def test_calls_leave_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    command = [sys.executable, "-m", "tests.benchmarks.soak", "--json", str(out)]
    environment = {**os.environ, "SOAK_CALLS": "96"}
    done = subprocess.run(command, capture_output=True, timeout=240, env=environment, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [row for row in read(out) if "memory" not in row.name]  # needs more calls to be seen
    assert len(rows) == 9
    assert not [row for row in rows if row.value > 10]  # a leak of one a call would be 48
