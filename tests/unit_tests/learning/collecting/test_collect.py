"""Collecting from a real HTTP server on loopback and from the shipped recording."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bestroute import ModelPool, asking
from bestroute.errors import (
    ConfigError,
    DataError,
    MissingPriceError,
    SampleLimitError,
    SamplingError,
    UnknownModelError,
)
from bestroute.learning.collecting.collect import acollect, collect
from bestroute.learning.collecting.prompts import Prompt, read_prompts
from bestroute.learning.collecting.workload import plan
from bestroute.learning.samples import read_samples, schema
from bestroute.recorded import Recording
from tests.servers import Body, ChatServer, Reply

DATA = Path(asking.__file__).parent / "data"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_DELAY", 0.001)


def pool(server: ChatServer, *, small: dict[str, Any] | None = None, **big: Any) -> ModelPool:
    params = {**server.params, "temperature": 1, "top_k": 5}
    price = {"input": 1, "output": 10}
    both = {"native_n": True, "price": price, "params": params}
    return ModelPool.from_dict(
        {
            "models": [
                {"model": "openai/small", "name": "small", **both, **(small or {})},
                {"model": "openai/big", "name": "big", "reference": True, **both, **big},
            ]
        }
    )


def prompts(count: int, **fields: Any) -> list[Prompt]:
    return [
        Prompt.model_validate({"id": f"p{i}", "query": f"q {i}", **fields}) for i in range(count)
    ]


def unique() -> Any:
    numbers = itertools.count()

    def reply(body: Body) -> Reply:
        return Reply([f"{body['model']} {next(numbers)}" for _ in range(body.get("n", 1))])

    return reply


def rows(path: Path) -> list[dict[str, Any]]:
    return read_samples(path).to_pylist()


async def test_every_model_answers_every_prompt_n_times(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = unique()
    asked = prompts(
        3, task="t", split="test", answer=["a", "b"], check={"kind": "text", "accept": ["x"]}
    )
    seen: list[tuple[str, int, int]] = []
    out = tmp_path / "samples.parquet"
    done = await acollect(
        asked,
        pool(chat_server),
        out,
        samples={"small": 4, "big": 2},
        progress=lambda *step: seen.append(step),
    )
    table = read_samples(out)
    assert table.schema.equals(schema())
    found = table.to_pylist()
    assert (done.path, done.rows, done.missing, done.stopped) == (out, 18, 0, None)
    assert Counter((r["query_id"], r["model"]) for r in found) == {
        (f"p{i}", model): n for i in range(3) for model, n in (("small", 4), ("big", 2))
    }
    assert len({r["response"] for r in found}) == 18
    assert all(r["response"].startswith(r["model"]) for r in found)
    assert [r["sample"] for r in found[:6]] == [0, 1, 2, 3, 0, 1]
    row = found[0]
    assert (row["query"], row["task"], row["split"]) == ("q 0", "t", "test")
    assert json.loads(row["messages"]) == [{"role": "user", "content": "q 0"}]
    assert json.loads(row["sampling"]) == {"temperature": 1, "top_k": 5}
    assert json.loads(row["reference_answer"]) == ["a", "b"]
    assert json.loads(row["check"])["accept"] == ["x"]
    # The server bills the prompt once a call and a token a word.
    assert (row["prompt_tokens"], row["completion_tokens"], row["finish_reason"]) == (2, 2, "stop")
    assert row["cost"] == pytest.approx((2 * 1 + 4 * 2 * 10) / 4 / 1e6)
    assert done.cost == pytest.approx(sum(r["cost"] for r in found))
    assert row["latency"] > 0
    assert seen[-1] == ("collecting", 18, 18)


@pytest.mark.parametrize(("asked", "logprob"), [(True, pytest.approx(-0.7)), (False, None)])
async def test_log_probabilities_are_kept_where_they_came(
    chat_server: ChatServer, tmp_path: Path, asked: bool, logprob: Any
) -> None:
    out = tmp_path / "samples.parquet"
    chat_server.reply = "so it is"
    params = {**chat_server.params, **({"logprobs": True} if asked else {})}
    await acollect(prompts(1), pool(chat_server, small={"params": params}), out, samples=2)
    found = {row["model"]: row["logprob"] for row in rows(out)}
    assert found == {"small": logprob, "big": None}


async def test_more_prompts_and_a_larger_n_go_on(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.reply = unique()
    out = tmp_path / "samples.parquet"
    await acollect(prompts(2), pool(chat_server), out, samples=2)
    first = {r["response"] for r in rows(out)}
    chat_server.requests.clear()
    await acollect(prompts(2), pool(chat_server), out, samples=2)
    assert not chat_server.requests
    done = await acollect(prompts(3), pool(chat_server), out, samples=3)
    assert sorted(b.get("n", 1) for b in chat_server.requests) == [1, 1, 1, 1, 3, 3]
    found = rows(out)
    assert done.rows == len({r["response"] for r in found}) == 18
    assert first < {r["response"] for r in found}


async def test_a_prompt_that_changed_is_asked_anew(chat_server: ChatServer, tmp_path: Path) -> None:
    out = tmp_path / "samples.parquet"
    await acollect(prompts(1), pool(chat_server), out, samples=1)
    chat_server.reply = "new"
    changed = prompts(1, messages=[{"role": "user", "content": "other"}])
    await acollect(changed, pool(chat_server), out, samples=1)
    assert [r["response"] for r in rows(out)] == ["new", "new"]


async def test_another_pool_or_sampling_is_refused(chat_server: ChatServer, tmp_path: Path) -> None:
    out = tmp_path / "samples.parquet"
    await acollect(prompts(1), pool(chat_server), out, samples=1)
    for change in ({"params": {**chat_server.params, "temperature": 0.5}}, {"model": "openai/x"}):
        with pytest.raises(DataError, match=r"another model 'small'"):
            await acollect(prompts(1), pool(chat_server, small=change), out, samples=1)
    key = {"params": {**chat_server.params, "api_key": "other", "temperature": 1, "top_k": 5}}
    await acollect(prompts(1), pool(chat_server, small=key), out, samples=1)


async def test_a_table_from_elsewhere_is_not_overwritten(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    out = tmp_path / "samples.parquet"
    out.write_text("precious")
    with pytest.raises(DataError, match="not collected here"):
        await acollect(prompts(1), pool(chat_server), out)
    assert out.read_text() == "precious"


async def test_failed_prompts_are_told_of_and_the_others_go_on(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    def reply(body: Body) -> Reply:
        bad = body["messages"][0]["content"] == "q 1" and body["model"] == "small"
        return Reply("too bad", status=400) if bad else Reply("ok")

    chat_server.reply = reply
    out = tmp_path / "samples.parquet"
    done = await acollect(prompts(4), pool(chat_server), out, samples=2)
    (failure,) = done.failures
    assert (failure.model, failure.prompts) == ("small", 1)
    assert "too bad" in failure.error
    assert (done.rows, done.missing) == (14, 2)
    chat_server.reply = "ok"
    done = await acollect(prompts(4), pool(chat_server), out, samples=2)
    assert (done.rows, done.missing, done.failures) == (16, 0, ())


@pytest.mark.parametrize("count", [3, 60])
async def test_a_provider_that_fails_for_everyone_ends_the_run(
    chat_server: ChatServer, tmp_path: Path, count: int
) -> None:
    def reply(body: Body) -> Reply:
        return Reply("bad key", status=401) if body["model"] == "big" else Reply("ok")

    chat_server.reply = reply
    out = tmp_path / "samples.parquet"
    with pytest.raises(SamplingError, match=r"big failed .* times in a row.*bad key"):
        await acollect(prompts(count), pool(chat_server), out, samples=1, concurrency=4)
    asked = Counter(b["model"] for b in chat_server.requests)
    assert asked["big"] <= 10 + 4
    kept = [r["response"] for r in rows(out)]  # nothing already paid for is lost
    assert kept == ["ok"] * asked["small"] and kept


async def test_a_refused_n_is_asked_one_by_one(chat_server: ChatServer, tmp_path: Path) -> None:
    def reply(body: Body) -> Reply:
        return Reply("n must be 1", status=400) if body.get("n", 1) > 1 else Reply("ok")

    chat_server.reply = reply
    done = await acollect(
        prompts(3), pool(chat_server), tmp_path / "s.parquet", samples=3, concurrency=1
    )
    assert (done.rows, done.failures) == (18, ())
    refused = [b for b in chat_server.requests if b.get("n", 1) > 1]
    assert len(refused) == 2  # once a model


async def test_a_backend_that_gives_one_choice_is_asked_until_there_are_n(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = lambda body: Reply(["one"])
    done = await acollect(prompts(1), pool(chat_server), tmp_path / "s.parquet", samples=3)
    assert done.rows == 6
    assert [b.get("n", 1) for b in chat_server.requests if b["model"] == "big"] == [3, 2, 1]


async def test_concurrency_bounds_the_calls_in_flight(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = Reply("ok", delay=0.02)
    await acollect(prompts(10), pool(chat_server), tmp_path / "a.parquet", samples=1, concurrency=3)
    assert chat_server.peak == 3


async def test_a_rate_limit_spaces_one_models_calls_and_no_others(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    times: dict[str, list[float]] = {"small": [], "big": []}

    def reply(body: Body) -> Reply:
        times[body["model"]].append(time.monotonic())
        return Reply("ok")

    # LiteLLM's first call of a process takes a while, on the event loop.
    await acollect(prompts(1), pool(chat_server), tmp_path / "first.parquet", samples=1)
    chat_server.reply = reply
    slow = pool(chat_server, small={"rpm": 300})
    await acollect(prompts(5), slow, tmp_path / "a.parquet", samples=1)
    gaps = [b - a for a, b in itertools.pairwise(times["small"])]
    assert sum(gaps) > 0.7  # 4 gaps of 0.2 s
    assert times["big"][-1] < times["small"][2]


async def test_max_cost_stops_before_more_is_spent(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.reply = "two words"
    out = tmp_path / "s.parquet"
    cheap = pool(chat_server, small={"params": {**chat_server.params, "max_tokens": 4}})
    cost = plan(prompts(1), cheap, samples=1).models[0].cost
    assert cost == pytest.approx((0.75 * 1 + 4 * 10) / 1e6)
    done = await acollect(prompts(50), cheap, out, samples=1, max_cost=20 * cost, concurrency=1)
    assert done.stopped is not None and "exceed" in done.stopped
    assert 0 < done.rows < 100
    assert done.cost <= 20 * cost
    spent = done.cost
    done = await acollect(prompts(50), cheap, out, samples=1, max_cost=spent)
    assert done.cost == spent  # runs count together
    with pytest.raises(MissingPriceError):
        await acollect(
            prompts(1),
            pool(chat_server, small={"price": None}),
            tmp_path / "t.parquet",
            max_cost=1,
        )


def test_a_plan_asks_nobody_and_learns_from_what_is_there(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    out = tmp_path / "s.parquet"
    before = plan(prompts(4), pool(chat_server, max_native_n=2), out, samples=3)
    small, big = before.models
    assert (before.samples, before.kept, small.samples, big.samples) == (24, 0, 12, 12)
    assert (small.calls, big.calls) == (4, 8)
    assert small.completion_tokens == 12 * 256
    assert before.cost == pytest.approx(small.cost + big.cost)
    assert not chat_server.requests and not list(tmp_path.iterdir())
    chat_server.reply = "five words are said here"
    collect(prompts(2), pool(chat_server, max_native_n=2), out, samples=3)
    after = plan(prompts(4), pool(chat_server, max_native_n=2), out, samples=3)
    assert (after.samples, after.kept) == (12, 12)
    assert after.models[0].completion_tokens == 6 * 5
    assert after.models[0].prompt_tokens == 2 * 2
    assert after.models[0].cost == pytest.approx((2 * 2 * 1 + 6 * 5 * 10) / 1e6)
    free = plan(prompts(1), pool(chat_server, small={"price": None}), samples=1)
    assert free.models[0].cost is None and free.cost is None


def test_default_samples(chat_server: ChatServer) -> None:
    cold = {"params": {**chat_server.params, "temperature": 0}}
    planned = plan(prompts(1), pool(chat_server, small=cold, max_samples=25))
    # best-of-25 of the reference is compared with a sample outside the draw
    assert [each.samples for each in planned.models] == [1, 26]
    assert plan(prompts(1), pool(chat_server)).models[0].samples == 20
    with pytest.raises(SampleLimitError, match="temperature 0"):
        plan(prompts(1), pool(chat_server, small=cold), samples=2)
    with pytest.raises(SampleLimitError, match="at least one"):
        plan(prompts(1), pool(chat_server), samples=0)
    with pytest.raises(UnknownModelError, match="smal"):
        plan(prompts(1), pool(chat_server), samples={"smal": 2})


async def test_options_out_of_range(chat_server: ChatServer, tmp_path: Path) -> None:
    for options in ({"concurrency": 0}, {"max_cost": -1}, {"max_cost": float("nan")}):
        with pytest.raises(ConfigError):
            await acollect(prompts(1), pool(chat_server), tmp_path / "s.parquet", **options)
    with pytest.raises(DataError, match="same id"):
        await acollect(prompts(1) * 2, pool(chat_server), tmp_path / "s.parquet")


def test_a_recording_goes_on_where_it_ended(tmp_path: Path) -> None:
    """In three runs the shipped samples come back, each once, as they were recorded."""
    source = DATA / "demo_samples.parquet"
    recorded = read_samples(source)
    some = [p for p in read_prompts(source) if p.id.endswith("01")][:5]
    ids = {p.id for p in some}
    recording = Recording(recorded.to_pylist())
    recording.install()
    try:
        for n, reference in ((1, 1), (4, 2), (10, 4)):
            counts = {"smollm2-135m": n, "qwen2.5-coder-0.5b": n, "qwen2.5-coder-1.5b": reference}
            done = collect(some, DATA / "demo_pool.yaml", tmp_path / "s.parquet", samples=counts)
    finally:
        recording.uninstall()
    assert done.rows == len(some) * 24
    same = ("query_id", "query", "model", "response", "task", "split", "check", "sampling",
            "finish_reason", "prompt_tokens", "messages")  # fmt: skip

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in same)

    found = rows(tmp_path / "s.parquet")
    expected = [row for row in recorded.to_pylist() if row["query_id"] in ids]
    assert Counter(map(key, found)) == Counter(map(key, expected))
    # A provider reports the tokens of a call, not of each sample: what is kept sums up to it.
    tokens = [sum(row["completion_tokens"] for row in each) for each in (found, expected)]
    assert tokens[0] == pytest.approx(tokens[1], rel=0.01)
