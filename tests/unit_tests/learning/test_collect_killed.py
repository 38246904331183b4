"""SIGKILL at 50 random moments: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import pytest
import yaml

from bestroute.learning.collecting.workload import journal_path
from bestroute.learning.journal import Journal, Lost
from bestroute.learning.samples import read_samples
from tests.servers import Body, ChatServer, Reply

KILLS = 50
CONCURRENCY = 8  # the default
PROMPTS = 30
DELAY = 0.03  # seconds of a call
LONGEST = 0.6  # seconds from the start of a run to its end


class Forks:
    """Runs of `collect`, each in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._input: IO[str] = process.stdin
        self._output: IO[str] = process.stdout

    def run(self, samples: int, kill_after: float | None) -> tuple[Lost | None, int]:
        """What the run said that the one before had lost, and how many samples it acknowledged."""
        self._input.write(f"{samples}\n")
        self._input.flush()
        word, pid = self._output.readline().split()
        assert word == "started"
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(int(pid), signal.SIGKILL)
        lost, kept = None, 0
        while (line := self._output.readline().split()) != ["ended"]:
            if line[0] == "lost":
                lost = Lost(int(line[1]), int(line[1]), float(line[2]))
            else:
                kept = int(line[1])
        return lost, kept


@contextmanager
def forks(*arguments: Path) -> Iterator[Forks]:
    script = Path(__file__).with_name("collect_forks.py")
    command = [sys.executable, str(script), *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        yield Forks(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment(chat_server: ChatServer, tmp_path: Path) -> None:
    numbers = itertools.count()

    def reply(body: Body) -> Reply:
        return Reply(f"answer {next(numbers)}", delay=DELAY)

    chat_server.reply = reply
    prompts, pool, out = (tmp_path / name for name in ("p.jsonl", "pool.yaml", "s.parquet"))
    prompts.write_text("\n".join(f'{{"query": "q {i}"}}' for i in range(PROMPTS)))
    price = {"input": 1, "output": 1}
    model = {"model": "openai/m", "reference": True, "price": price, "params": chat_server.params}
    pool.write_text(yaml.safe_dump({"models": [{**model, "native_n": False}]}))

    moments = random.Random(0)
    kept: set[str] = set()
    under_way = Lost(0, 0, 0.0)
    lost_calls = killed_midway = 0
    with forks(prompts, pool, out) as processes:
        for _ in range(KILLS):
            told, acknowledged = processes.run(1000, moments.uniform(0, LONGEST))
            if told is not None:  # else it was killed before it could say
                assert told == under_way
            with closing(Journal(journal_path(out), {})) as journal:
                results = [t for unit in journal.counts() for t in journal.results(unit)]
                under_way = journal.lost
            texts = [json.loads(result)["response"] for result in results]
            assert kept <= set(texts)
            assert acknowledged <= len(texts) == len(set(texts))
            assert under_way.calls <= CONCURRENCY
            killed_midway += bool(under_way.calls)
            lost_calls += under_way.calls
            kept = set(texts)
        told, acknowledged = processes.run(3, None)
    assert told == under_way
    assert killed_midway > KILLS / 3  # else the moments were badly chosen
    rows = read_samples(out).to_pylist()
    texts = [row["response"] for row in rows]
    assert kept <= set(texts)
    assert acknowledged == len(texts) == len(set(texts))
    assert len({(row["query_id"], row["sample"]) for row in rows}) == len(rows)
    per_query = Counter(row["query_id"] for row in rows)
    assert len(per_query) == PROMPTS and min(per_query.values()) >= 3
    # Nothing but the calls in flight was asked again.
    assert len(rows) <= len(chat_server.requests) <= len(rows) + lost_calls
