"""Collect and score on a real Ray cluster of two workers: as the local engine, bill for bill."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

import bestroute
from bestroute import ModelPool
from bestroute.cli.recording import install_recording
from bestroute.cli.workers import engine_named
from bestroute.errors import ConfigError, DataError, MissingExtraError
from bestroute.learning.collecting.collect import collect
from bestroute.learning.collecting.prompts import Prompt, read_prompts
from bestroute.learning.collecting.workload import journal_path
from bestroute.learning.desk import RayEngine
from bestroute.learning.journal import Journal
from bestroute.learning.samples import read_samples, write_table
from bestroute.learning.scoring.score import score
from bestroute.rewards import JudgeReward
from tests.servers import Body, ChatServer, Reply

DATA = Path(bestroute.__file__).parent / "data"
KEY = "sk-only-in-the-environment-5f1c"

on_ray = pytest.mark.slow


class Cluster:
    """A process that runs one job after another on Ray."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process = process
        self._input: IO[str] = process.stdin
        self._output: IO[str] = process.stdout

    def begin(self, do: str, **job: Any) -> None:
        self._input.write(json.dumps({"do": do, **job}, default=str) + "\n")
        self._input.flush()

    def end(self) -> None:
        with suppress(BrokenPipeError):  # it was killed
            self._input.close()
        self.process.wait(timeout=60)
        self._output.close()

    def run(self, do: str, **job: Any) -> dict[str, Any]:
        self.begin(do, **job)
        for line in self._output:
            if line.startswith("{"):  # else it is Ray that talks
                found: dict[str, Any] = json.loads(line)
                return found
        raise AssertionError("the process has ended")


@pytest.fixture(scope="module")
def clusters() -> Iterator[list[Cluster]]:
    """Room for those that a test starts; all are ended."""
    started: list[Cluster] = []
    yield started
    for each in started:
        each.end()


@pytest.fixture(scope="module")
def cluster(clusters: list[Cluster]) -> Cluster:
    return start(clusters)


def start(clusters: list[Cluster]) -> Cluster:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    script = Path(__file__).with_name("ray_runs.py")
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TEST_KEY": KEY}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    clusters.append(Cluster(process))
    return clusters[-1]


def write_pool(
    path: Path, server: ChatServer, *, params: dict[str, Any] | None = None, **fields: Any
) -> Path:
    params = {"api_base": server.url, "api_key": "os.environ/TEST_KEY", **(params or {})}
    model = {"model": "openai/m", "reference": True, "price": {"input": 1, "output": 1}}
    path.write_text(yaml.safe_dump({"models": [{**model, "params": params, **fields}]}))
    return path


def write_prompts(path: Path, count: int) -> Path:
    path.write_text("\n".join(f'{{"query": "q {i}"}}' for i in range(count)))
    return path


def unique(delay: float = 0.0) -> Any:
    numbers = itertools.count()
    return lambda body: Reply(
        [f"answer {next(numbers)}" for _ in range(body.get("n", 1))], delay=delay
    )


@on_ray
def test_the_tables_are_those_of_the_local_engine(cluster: Cluster, tmp_path: Path) -> None:
    pool = DATA / "demo_pool.yaml"
    asked = [p for p in read_prompts(DATA / "demo_samples.parquet") if p.id.endswith("01")]
    lines = [p.model_dump_json(exclude_none=True) for p in asked]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(lines), encoding="utf-8")
    models = ModelPool.from_yaml(pool)
    wanted = install_recording(models, None)
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    collect(read_prompts(prompts), models, here, samples={**wanted, "smollm2-135m": 3})
    few = {"prompts": prompts, "pool": pool, "output": there}
    done = cluster.run("collect", **few, samples={**wanted, "smollm2-135m": 3})
    assert done["missing"] == 0 and done["rows"] == read_samples(here).num_rows

    def bare(path: Path) -> Any:
        return read_samples(path).drop_columns(["latency"])

    assert bare(there).equals(bare(here))
    # Either engine goes on where the other ended.
    for path in (here, there):
        collect(read_prompts(prompts), models, path, samples=wanted)
    assert read_samples(here).num_rows > done["rows"]
    assert bare(there).equals(bare(here))


@on_ray
def test_killed_and_run_again_each_sample_is_paid_once(
    clusters: list[Cluster], cluster: Cluster, chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = unique(delay=0.05)
    job = {
        "prompts": write_prompts(tmp_path / "p.jsonl", 40),
        "pool": write_pool(tmp_path / "pool.yaml", chat_server, native_n=False),
        "output": tmp_path / "s.parquet",
        "samples": 5,
        "concurrency": 8,
    }
    victim = start(clusters)
    victim.begin("collect", **job)
    while len(chat_server.requests) < 40:
        time.sleep(0.02)
    os.kill(victim.process.pid, signal.SIGKILL)
    kept, lost = after_the_kill(tmp_path / "s.parquet")
    assert 0 < len(kept) < 200
    assert lost <= 8
    done = cluster.run("collect", **job)
    assert done["missing"] == 0 and done["lost"][0] == lost
    rows = read_samples(tmp_path / "s.parquet").to_pylist()
    texts = [row["response"] for row in rows]
    assert kept <= set(texts)
    assert len(set(texts)) == len(texts) == 200
    assert set(Counter(row["query_id"] for row in rows).values()) == {5}
    # Nothing but the calls in flight was asked again.
    assert 200 <= len(chat_server.requests) <= 200 + lost


def after_the_kill(output: Path) -> tuple[set[str], int]:
    """What was kept, and how many calls were under way, once Ray has ended what was left."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with closing(Journal(journal_path(output), {})) as journal:
                kept = [t for unit in journal.counts() for t in journal.results(unit)]
                return {json.loads(each)["response"] for each in kept}, journal.lost.calls
        except DataError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@on_ray
def test_limits_hold_for_all_workers_together_and_keys_stay_away(
    cluster: Cluster, chat_server: ChatServer, tmp_path: Path
) -> None:
    times: list[float] = []

    def reply(body: Body) -> Reply:
        times.append(time.monotonic())
        return Reply("one two three", delay=0.2)

    chat_server.reply = reply
    # $3 a call; $4 are expected of the first ones.
    dear = {"price": {"input": 0, "output": 1e6}, "rpm": 120, "params": {"max_tokens": 4}}
    done = cluster.run(
        "collect",
        prompts=write_prompts(tmp_path / "p.jsonl", 30),
        pool=write_pool(tmp_path / "pool.yaml", chat_server, **dear),
        output=tmp_path / "a.parquet",
        samples=1,
        concurrency=4,
        max_cost=40,
    )
    assert "would exceed the limit of $40" in done["stopped"]
    assert 20 < done["cost"] <= 40
    assert done["missing"] + done["rows"] == 30
    calls = len(times)
    assert calls == done["rows"]
    # Two calls a second, not four: however late the first four arrive, the fifth waits for an
    # answer (0.2 s), and from then on each waits for a turn of its own.
    assert times[-1] - times[0] >= 0.2 + (calls - 5) * 60 / 120
    assert chat_server.peak <= 4
    sent = {value for each in chat_server.headers for value in each.values() if "Bearer" in value}
    assert sent == {f"Bearer {KEY}"}
    told = cluster.run("tell")
    logs = [path for path in Path(told["logs"]).rglob("*") if path.is_file()]
    assert logs and not [path for path in logs if KEY.encode() in path.read_bytes()]


@on_ray
def test_a_scoring_worker_that_dies_is_replaced(cluster: Cluster, tmp_path: Path) -> None:
    table = read_samples(DATA / "demo_samples.parquet").slice(0, 400)
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    write_table(table, source)
    (tmp_path / "dying.py").write_text(
        "import os, pathlib\n"
        f"TOLD = pathlib.Path({str(tmp_path)!r})\n"
        "def mark(query, response):\n"
        "    (TOLD / f'by-{os.getpid()}').touch()\n"
        "    if not (TOLD / 'died').exists():\n"
        "        (TOLD / 'died').touch()\n"
        "        os._exit(1)\n"
        "    return float(len(response))\n"
    )
    own = f"function:{tmp_path / 'dying.py'}:mark"
    done = cluster.run("score", samples=source, output=out, oracle="check", proxy=own)
    assert done["missing"] == {"oracle_score": 0, "proxy_score": 0}
    scored = read_samples(out).to_pylist()
    assert [row["proxy_score"] for row in scored] == [len(row["response"]) for row in scored]
    assert len(list(tmp_path.glob("by-*"))) >= 2
    here = tmp_path / "here.parquet"
    score(table, here, oracle="check")
    assert [row["oracle_score"] for row in scored] == read_samples(here)["oracle_score"].to_pylist()
    with closing(Journal(f"{out}.scored", {})) as journal:
        assert journal.lost.calls >= 1  # what the dead worker had begun


@on_ray
def test_errors_arrive_as_they_are(
    cluster: Cluster, chat_server: ChatServer, tmp_path: Path
) -> None:
    prompts = write_prompts(tmp_path / "p.jsonl", 1)
    pool = write_pool(tmp_path / "pool.yaml", chat_server)
    job = {"prompts": prompts, "pool": pool, "samples": 1, "output": tmp_path / "a.parquet"}
    with closing(Journal(tmp_path / "a.parquet.collected", {})):
        busy = cluster.run("collect", **job)
    assert busy["error"] == "DataError" and "another process" in busy["message"]
    pool.write_text(pool.read_text().replace("TEST_KEY", "ABSENT_KEY"))
    failed = cluster.run("collect", **job)
    assert failed["error"] == "UnsetVariableError" and "ABSENT_KEY" in failed["message"]
    assert not chat_server.requests


def test_keys_in_the_pool_are_refused(tmp_path: Path) -> None:
    model = {"model": "openai/m", "reference": True, "params": {"api_key": "sk-literal"}}
    with pytest.raises(ConfigError, match=r"params\.api_key is a secret.*os\.environ/NAME") as told:
        collect(
            [Prompt.model_validate({"query": "q"})],
            {"models": [model]},
            tmp_path / "s.parquet",
            engine="ray",
        )
    assert "sk-literal" not in str(told.value)
    judge = JudgeReward("openai/m", params={"api_key": "sk-literal"})
    table = read_samples(DATA / "demo_samples.parquet").slice(0, 3)
    with pytest.raises(ConfigError, match="judge is given by its name"):
        score(table, tmp_path / "s.parquet", proxy=judge, engine=RayEngine())


def test_without_ray_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat_server: ChatServer
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    pool = write_pool(tmp_path / "pool.yaml", chat_server)
    prompts = [Prompt.model_validate({"query": "q"})]
    with pytest.raises(MissingExtraError, match=r"bestroute\[ray\]"):
        collect(prompts, pool, tmp_path / "s.parquet", engine="ray")
    with pytest.raises(ConfigError, match="no engine 'spark'"):
        collect(prompts, pool, tmp_path / "s.parquet", engine="spark")  # type: ignore[arg-type]


def test_options_say_which_engine() -> None:
    assert engine_named("local", None) == "local"
    assert engine_named("ray", 3, gpus=1) == RayEngine(workers=3, gpus=1)
    for name, workers in (("spark", None), ("local", 2)):
        with pytest.raises(ConfigError, match="--engine"):
            engine_named(name, workers)
