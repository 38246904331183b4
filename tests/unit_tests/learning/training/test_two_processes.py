"""Router and reward training by two CPU processes (gloo), as `torchrun` starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import bestroute
from bestroute import BestRoute
from bestroute.learning.samples import read_samples
from bestroute.rewards import ClassifierReward
from tests.tiny_bert import save_tiny_bert

DATA = Path(bestroute.__file__).parent / "data"
WORDS = "what is the capital of a number word name return json list days how many minutes".split()

SCRIPT = """
import sys
from bestroute.cli.app import app

base, samples, pool, reward, router = sys.argv[1:]
app(["train-reward", samples, "-o", reward, "--base", base, "--epochs", "1",
     "--json", reward + ".json"], standalone_mode=False)
app(["train", samples, "--pool", pool, "-o", router, "--encoder", base, "--fine-tune",
     "--epochs", "1"], standalone_mode=False)
import torch.distributed as dist
assert dist.get_world_size() == 2 and dist.get_backend() == "gloo", dist.get_backend()
"""


@pytest.mark.slow
def test_two_processes_train_and_one_saves(tmp_path: Path) -> None:
    base = save_tiny_bert(tmp_path / "base", WORDS, positions=64)
    table = read_samples(DATA / "demo_samples.parquet")
    some = [f"{kind}-{i:03}" for kind in ("facts",) for i in range(1, 91)]
    table = table.filter(pc.is_in(table["query_id"], value_set=pc.cast(some, "string")))
    pq.write_table(table, tmp_path / "samples.parquet")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    paths = [base, tmp_path / "samples.parquet", DATA / "demo_pool.yaml"]
    reward, router = tmp_path / "reward", tmp_path / "router"
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    done = subprocess.run(
        [sys.executable, *launch, "--master-port", "29511", script, *paths, reward, router],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Saved:") == 2  # each result once
    report = json.loads(Path(f"{reward}.json").read_text())
    assert report["pairs"] > 20
    scores = ClassifierReward(str(reward), max_tokens=64).score("what is", ["a word", "json"])
    assert scores.shape == (2,)
    engine = BestRoute.from_pretrained(router)
    assert engine.route("What is the capital of France?").arm == engine.pool.reference_arm
    assert not list(tmp_path.rglob("checkpoints"))
