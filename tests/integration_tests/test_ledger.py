"""The ledger over HTTP: what it keeps, what it never keeps, and what cannot harm a call."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bestroute import BestRoute, ModelPool
from bestroute.budget import Budget
from bestroute.errors import BestRouteError, BudgetError, ConfigError, DataError
from bestroute.ledger import Ledger, summarise
from bestroute.ledger.entry import Entry
from bestroute.rewards.judge import JudgeReward
from bestroute.sampling import Sampler
from langchain_bestroute import ChatBestRoute
from llamaindex_bestroute import BestRouteLLM
from tests.servers import ChatServer, Reply

SECRET = "sk-canary-3141592653"
QUERY = "the secret of the purple walrus"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite"


@pytest.fixture
def pool(chat_server: ChatServer) -> ModelPool:
    """The small model disagrees with itself, so that the big one answers."""
    chat_server.reply = lambda body: Reply(["1", "2", "3"]) if body["model"] == "small" else "4"
    params = {**chat_server.params, "api_key": SECRET}
    small = {"name": "small", "price": {"input": 1, "output": 2}, "max_samples": 3}
    big = {"name": "big", "price": {"input": 20, "output": 60}, "reference": True}
    both = [{**each, "model": f"openai/{each['name']}", "params": params} for each in (small, big)]
    return ModelPool.from_dict({"models": both})


def rows(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM routed ORDER BY id")]


# What is kept


def test_a_row_is_what_the_response_says(pool: ModelPool, path: Path) -> None:
    engine = BestRoute(pool, ledger=path)
    before = time.time()
    response = engine.complete(QUERY)
    (row,) = rows(path)  # written before the answer was given
    assert before <= row["time"] <= time.time()
    assert (row["outcome"], row["error"], row["model"]) == ("ok", None, "big")
    assert (row["arm"], row["policy"]) == (str(response.decision.arm), "cascade")
    assert row["estimated_cost"] == response.decision.estimated_cost
    assert row["cost"] == pytest.approx(response.cost)
    assert row["reference_cost"] == pytest.approx(response.estimated_reference_cost)
    assert row["prompt_tokens"] == response.usage.prompt_tokens
    assert row["completion_tokens"] == response.usage.completion_tokens
    assert (row["samples"], row["degraded"]) == (4, 0)
    assert 0 < row["latency"] < time.time() - before
    models = json.loads(row["models"])
    assert {name: each["calls"] for name, each in models.items()} == {"small": 1, "big": 1}
    assert sum(each["cost"] for each in models.values()) == pytest.approx(response.cost)


async def test_streams_and_every_door_are_kept(pool: ModelPool, path: Path) -> None:
    engine = BestRoute(pool, ledger=path)
    await engine.acomplete("hi")
    [item async for item in engine.astream("hi")]
    await asyncio.to_thread(engine.complete, "hi")
    await asyncio.to_thread(lambda: list(engine.stream("hi")))
    assert [row["outcome"] for row in rows(path)] == ["ok"] * 4
    engine.route("hi")  # nobody was asked
    assert len(rows(path)) == 4


def test_calls_that_fail_are_kept_with_what_they_cost(
    pool: ModelPool, path: Path, chat_server: ChatServer
) -> None:
    chat_server.reply = Reply("")  # billed, and of no use
    engine = BestRoute(pool, ledger=path, sampler=Sampler(retries=0))
    with pytest.raises(BestRouteError) as caught:
        engine.complete(QUERY)
    engine.ledger.flush()  # type: ignore[union-attr]
    (row,) = rows(path)
    assert (row["outcome"], row["error"]) == ("error", type(caught.value).__name__)
    assert row["model"] is None
    assert row["prompt_tokens"] == sum(call.usage.prompt_tokens for call in caught.value.calls)  # type: ignore[attr-defined]
    assert row["cost"] == pytest.approx(sum(call.cost or 0.0 for call in caught.value.calls))  # type: ignore[attr-defined]
    assert row["cost"] > 0


def test_calls_that_are_refused_are_kept_as_well(
    pool: ModelPool, path: Path, chat_server: ChatServer
) -> None:
    engine = BestRoute(pool, ledger=path)
    engine.complete(QUERY)
    with pytest.raises(BudgetError):
        engine.complete(QUERY, max_cost=1e-9, max_tokens=10)
    engine.ledger.flush()  # type: ignore[union-attr]
    refused = rows(path)[-1]
    assert (refused["outcome"], refused["error"]) == ("error", "BudgetError")
    assert (refused["arm"], refused["samples"]) == ("", 0)
    assert not refused["cost"]
    told = summarise(path)
    assert (told.calls, told.errors) == (2, 1)
    assert [each.arm for each in told.arms] == ["small:3"]


async def test_calls_that_are_cancelled_are_kept(
    pool: ModelPool, path: Path, chat_server: ChatServer
) -> None:
    """The small model has answered, and was billed; the big one was on its way."""
    answered = chat_server.reply
    assert callable(answered)
    chat_server.reply = lambda body: (
        Reply("4", delay=0.5) if body["model"] == "big" else answered(body)
    )
    engine = BestRoute(pool, ledger=path)
    task = asyncio.ensure_future(engine.acomplete(QUERY))
    while len(chat_server.requests) < 2:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    engine.ledger.flush()  # type: ignore[union-attr]
    (row,) = rows(path)
    assert (row["outcome"], row["model"], row["samples"]) == ("cancelled", None, 3)
    models = json.loads(row["models"])
    assert models["small"]["completion_tokens"] == 3
    assert models["big"]["prompt_tokens"] > 0  # as far as anybody knows
    assert row["estimated"] == 1


async def test_a_stream_that_is_left_is_kept(
    pool: ModelPool, path: Path, chat_server: ChatServer
) -> None:
    chat_server.reply = "one two three four five"
    engine = BestRoute(pool, ledger=path)
    stream = engine.astream(QUERY, model="big")
    await anext(stream)
    await stream.aclose()
    engine.ledger.flush()  # type: ignore[union-attr]
    (row,) = rows(path)
    assert (row["outcome"], row["estimated"]) == ("cancelled", 1)
    assert row["cost"] > 0


def test_a_judge_is_on_the_bill(pool: ModelPool, path: Path, chat_server: ChatServer) -> None:
    agreeing = Reply(["4", "4", "4"])
    chat_server.reply = lambda body: "Score: 7" if body["model"] == "judge" else agreeing
    price: Any = {"input": 3, "output": 9}
    judge = JudgeReward("openai/judge", params=chat_server.params, price=price)
    response = BestRoute(pool, ledger=path, reward=judge).complete(QUERY)
    (row,) = rows(path)
    assert json.loads(row["models"])["openai/judge"]["calls"] == 3
    assert row["cost"] == pytest.approx(response.cost)


# What is not


@pytest.mark.parametrize("texts", [False, True])
def test_texts_are_kept_only_if_asked_for(
    texts: bool, pool: ModelPool, path: Path, chat_server: ChatServer
) -> None:
    answer = "the walrus was green all along"
    chat_server.reply = Reply(answer, headers={"x-note": SECRET})
    engine = BestRoute(pool, ledger=Ledger(path, texts=texts))
    engine.complete(QUERY)
    chat_server.reply = Reply(f"{SECRET} is wrong, and {QUERY} too", status=401)
    with pytest.raises(BestRouteError):
        engine.complete(QUERY)
    engine.ledger.flush()  # type: ignore[union-attr]
    first, second = rows(path)
    assert (first["query"], first["answer"]) == ((QUERY, answer) if texts else (None, None))
    assert (second["query"], second["answer"]) == (QUERY if texts else None, None)
    held = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert (QUERY.encode() in held) == texts
    assert SECRET.encode() not in held


def test_no_text_is_too_odd_to_be_kept(pool: ModelPool, path: Path) -> None:
    engine = BestRoute(pool, ledger=Ledger(path, texts=True))
    engine.complete("lone \ud800 surrogate, \x00 and \U0001f9d1")
    engine.complete("hi")
    assert [row["query"] for row in rows(path)] == ["lone ? surrogate, \x00 and \U0001f9d1", "hi"]


def test_no_number_is_too_odd_either(pool: ModelPool, path: Path, chat_server: ChatServer) -> None:
    usage = {"prompt_tokens": 10**30, "completion_tokens": 1, "total_tokens": 10**30}
    chat_server.reply = Reply("4", usage=usage)
    engine = BestRoute(pool, ledger=path)
    engine.complete("hi", model="small")
    assert rows(path)[0]["prompt_tokens"] == 10**12
    assert summarise(path).models[0].prompt_tokens == 10**12


# What may go wrong


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("COMMIT")


def test_a_locked_file_fails_no_call(
    pool: ModelPool,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("bestroute.ledger.file._BUSY", 0.05)
    engine = BestRoute(pool, ledger=path)
    engine.complete("hi")
    with locked(path), caplog.at_level(logging.WARNING, "bestroute.ledger"):
        for _ in range(5):
            assert engine.complete("hi").text == "4"
        engine.ledger.flush()  # type: ignore[union-attr]
        warned = [each for each in caplog.records if "cannot be written" in each.message]
        assert len(warned) == 1
    engine.complete("hi")
    engine.ledger.flush()  # type: ignore[union-attr]
    assert len(rows(path)) == 7  # they waited
    assert engine.ledger.lost == 0  # type: ignore[union-attr]


def test_a_broken_disk_fails_no_call(
    pool: ModelPool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = BestRoute(pool, ledger=path)

    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("bestroute.ledger.writer.insert", broken)
    monkeypatch.setattr("bestroute.ledger.writer._MOST_PENDING", 3)
    for _ in range(6):
        assert engine.complete("hi").text == "4"
        engine.ledger.flush()  # type: ignore[union-attr]
    assert engine.ledger.lost == 3  # type: ignore[union-attr]
    monkeypatch.undo()
    engine.ledger.flush()  # type: ignore[union-attr]
    assert len(rows(path)) == 3


def test_nobody_waits_twice_for_a_slow_disk(
    pool: ModelPool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = BestRoute(pool, ledger=path)
    engine.complete("hi")
    monkeypatch.setattr("bestroute.ledger.writer.insert", lambda *_: time.sleep(1.5))
    waits = []
    for _ in range(3):
        began = time.monotonic()
        engine.complete("hi")
        waits.append(time.monotonic() - began)
    assert waits[0] > 0.2
    assert max(waits) < 1.2
    assert min(waits[1:]) < waits[0]


def newer(path: Path) -> None:
    Ledger(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def something_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (newer, "version 99, newer than this bestroute"),
        (something_else, "something else, not a ledger"),
        (lambda path: path.write_text("no database at all, but text " * 50), "not a ledger"),
    ],
)
def test_files_of_others_are_refused_and_left_alone(make: Any, said: str, path: Path) -> None:
    make(path)
    before = path.read_bytes()
    for door in (Ledger, summarise):
        with pytest.raises(DataError, match=said):
            door(path)
    assert path.read_bytes() == before


def test_files_that_cannot_be(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        summarise(path)
    with pytest.raises(ConfigError, match="cannot be opened"):
        Ledger(tmp_path / "no" / "folder" / "calls.sqlite")
    with pytest.raises(ConfigError, match="cannot be opened"):
        Ledger(tmp_path)
    path.touch()
    with pytest.raises(DataError, match="is empty"):
        summarise(path)
    Ledger(path)
    assert summarise(path).calls == 0


# Processes

CALLING = """
import sys
from bestroute import BestRoute

url, path = sys.argv[1:]
member = {"params": {"api_base": url, "api_key": "x"}, "price": {"input": 1, "output": 1}}
models = [{"model": "openai/big", "reference": True, **member}]
engine = BestRoute({"models": models}, ledger=path)
for number in range(10_000):
    engine.complete(f"call {number}")
    print(number, flush=True)
"""
WRITING = """
import sys
from bestroute.ledger import Ledger
from bestroute.ledger.entry import Entry
from bestroute.policy import Decision
from bestroute.pool import Arm

path, rows = sys.argv[1:]
ledger, decision = Ledger(path), Decision(arm=Arm("big", 1))
for _ in range(int(rows)):
    ledger._writer.add(Entry.of(decision, (), latency=0.1))
"""


def child(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_kill_loses_the_call_in_flight_and_no_more(chat_server: ChatServer, path: Path) -> None:
    answered = 0
    with child(CALLING, chat_server.url, str(path)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            answered = int(line) + 1
            if answered == 12:
                process.send_signal(signal.SIGKILL)
    assert answered >= 12
    kept = rows(path)
    assert len(kept) in (answered, answered + 1)  # one more may have been written, not printed
    assert {row["outcome"] for row in kept} == {"ok"}


def test_processes_share_a_file_and_leave_nothing_behind(path: Path) -> None:
    """They begin a new file at once, and end with rows that are still to be written."""
    with ExitStack() as all_of_them:
        processes = [all_of_them.enter_context(child(WRITING, str(path), "700")) for _ in range(3)]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(rows(path)) == 2100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_writes_its_own_rows_only(pool: ModelPool, path: Path) -> None:
    engine = BestRoute(pool, ledger=path)
    ledger = engine.ledger
    assert ledger is not None
    engine.complete("hi")
    if (pid := os.fork()) == 0:
        try:
            engine.complete("hi")
            ledger.flush()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    engine.complete("hi")
    assert len(rows(path)) == 3


def test_nothing_is_left_when_an_engine_goes(pool: ModelPool, tmp_path: Path) -> None:
    before = set(threading.enumerate())

    def threads() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if "ledger" in each.name} - before

    for number in range(3):
        engine = BestRoute(pool, ledger=tmp_path / f"{number}.sqlite")
        engine.complete("hi")
    assert threads()
    del engine
    gc.collect()
    for thread in threads():
        thread.join(10)
    assert not threads()


# What it comes to


def test_a_summary_adds_up(pool: ModelPool, path: Path, chat_server: ChatServer) -> None:
    engine = BestRoute(pool, ledger=path, sampler=Sampler(retries=0))
    answers = [engine.complete("hi") for _ in range(3)]
    escalating, chat_server.reply = chat_server.reply, "4"  # now it agrees
    answers += [engine.complete("hi") for _ in range(2)]
    chat_server.reply = Reply("")
    with pytest.raises(BestRouteError):
        engine.complete("hi")
    chat_server.reply = escalating
    engine.ledger.flush()  # type: ignore[union-attr]
    found = summarise(path)
    assert (found.calls, found.ok, found.errors, found.cancelled) == (6, 5, 1, 0)
    paid = sum(answer.cost or 0.0 for answer in answers)
    assert found.cost - found.unanswered_cost == pytest.approx(paid)
    assert found.unanswered_cost > 0
    assert found.savings == pytest.approx(sum(each.estimated_savings or 0.0 for each in answers))
    assert found.reference_cost == pytest.approx(paid + found.savings)
    assert found.savings_share == pytest.approx(found.savings / found.reference_cost)
    assert {each.model: each.answers for each in found.models} == {"big": 3, "small": 2}
    assert sum(each.cost for each in found.models) == pytest.approx(found.cost)
    assert sum(each.prompt_tokens for each in found.models) == found.prompt_tokens
    assert [(each.arm, each.share) for each in found.arms] == [("small:3", 1.0)]
    (day,) = found.days
    assert (day.calls, day.cost) == (6, pytest.approx(found.cost))
    assert 0 < (found.latency_p50 or 0) <= (found.latency_p95 or 0)
    assert found.first is not None
    hour = timedelta(hours=1)
    assert summarise(path, since=datetime.now(UTC) - hour).calls == 6
    later = summarise(path, since=datetime.now(UTC) + hour)
    assert (later.calls, later.cost, later.models, later.savings_share) == (0, 0, (), None)


def test_days_are_told_apart_and_unknown_prices_are_counted(
    chat_server: ChatServer, path: Path
) -> None:
    member = {"model": "openai/nobody-prices-this", "reference": True, "params": chat_server.params}
    engine = BestRoute({"models": [member]}, ledger=path)
    for _ in range(2):
        engine.complete("hi")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE routed SET time = time - 86400 WHERE id = 1")
        connection.commit()
    found = summarise(path)
    assert [day.calls for day in found.days] == [1, 1]
    assert (found.unpriced, found.cost, found.savings) == (2, 0, 0)
    assert summarise(path, since=datetime.now(UTC) - timedelta(hours=2)).calls == 1


# In the frameworks


def test_both_frameworks_keep_it_and_their_dumps_know_it(
    pool: ModelPool, path: Path, chat_server: ChatServer
) -> None:
    budget = Budget(dollars=1, window=3600)
    llm = ChatBestRoute(pool=pool, ledger=path, window_budget=budget, max_tokens=40)
    index = BestRouteLLM(pool, ledger=path, window_budget=budget, max_tokens=40)
    llm.invoke("hi")
    index.complete("hi")
    assert len(rows(path)) == 2
    for each in (llm, index):
        source = pickle.loads(pickle.dumps(each.source))
        assert source.ledger == str(path)
        assert (source.window_budget.dollars, source.window_budget.left) == (1, 1)
        plain = each.source.plain()
        assert plain["window_budget"] == {"dollars": 1.0, "window": 3600.0}
        assert SECRET not in json.dumps(plain)


def test_a_row_takes_a_few_milliseconds_at_most(pool: ModelPool, path: Path) -> None:
    ledger = Ledger(path)
    response = BestRoute(pool, ledger=ledger).complete("hi")
    entry = Entry.of(response.decision, response.calls, latency=0.1, response=response)
    took = []
    for _ in range(50):
        began = time.perf_counter()
        ledger._writer.add(entry).result()
        took.append(time.perf_counter() - began)
    assert sorted(took)[25] < 0.01
    assert len(rows(path)) == 51
