"""`bestroute evaluate` on 2,000 queries x 8 models x 20 samples: the bar is 60 seconds.

`python -m tests.benchmarks.evaluate_speed [--agreement]`: made-up scores and answers, a trained
router, the command as a user types it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bestroute.learning.fit import train
from bestroute.pool import ModelPool
from bestroute.rewards import SelfConsistency
from bestroute.rewards.static import StaticReward

QUERIES, MODELS, SAMPLES = 2000, 8, 20
WORDS = "sum map tax river prove list date code poem price speed graph verb cell root rate".split()


def make_table(*, queries: int = QUERIES, seed: int = 0) -> pa.Table:
    """A scored samples table whose models differ, on queries that differ in difficulty."""
    rng = np.random.default_rng(seed)
    difficulty = rng.random(queries)
    texts = [
        " ".join(rng.choice(WORDS, size=5 + int(30 * hard))) + f" {i}?"
        for i, hard in enumerate(difficulty)
    ]
    splits = rng.choice(["train", "calibration", "test"], p=[0.5, 0.1, 0.4], size=queries)
    shape = (queries, MODELS, SAMPLES)
    skill = np.linspace(0.3, 1.2, MODELS)[None, :, None]
    right = rng.random(shape) < np.clip(skill - 0.6 * difficulty[:, None, None], 0.02, 0.98)
    wrong = rng.integers(2, 6, shape)
    answers = np.where(right, 1, wrong)
    index = np.indices(shape).reshape(3, -1)
    names = np.array([f"m{k}" for k in range(MODELS)])
    flat = right.ravel().astype(float)
    return pa.table(
        {
            "query_id": np.char.add("q", index[0].astype(str)),
            "query": np.array(texts)[index[0]],
            "task": np.where(index[0] % 3 == 0, "a", "b"),
            "split": splits[index[0]],
            "model": names[index[1]],
            "sample": index[2].astype(np.int32),
            "response": np.char.add("The answer is ", answers.ravel().astype(str)),
            "prompt_tokens": np.full(flat.shape, 40, dtype=np.int32),
            "completion_tokens": rng.integers(20, 200, flat.shape).astype(np.int32),
            "oracle_score": flat,
            "proxy_score": flat * 0.6 + rng.random(flat.shape),
        }
    )


def pool() -> ModelPool:
    """Eight models, each twice as dear as the one before; the last is the reference."""
    return ModelPool.from_dict(
        {
            "models": [
                {
                    "name": f"m{k}",
                    "model": f"recorded/m{k}",
                    "price": {"input": 0.1 * 2**k, "output": 0.3 * 2**k},
                    "max_samples": 1 if k == MODELS - 1 else SAMPLES,
                    "reference": k == MODELS - 1,
                    "native_n": True,
                }
                for k in range(MODELS)
            ]
        }
    )


def main() -> None:
    """Time the command."""
    agreement = "--agreement" in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        samples, router = Path(folder) / "samples.parquet", Path(folder) / "router"
        table = make_table()
        pq.write_table(table, samples)
        reward = SelfConsistency() if agreement else _untrained(Path(folder) / "reward")
        began = time.monotonic()
        train(table, pool(), reward=reward)[0].save_pretrained(router)
        trained = time.monotonic() - began
        out = Path(folder) / "out.json"
        command = ["bestroute", "evaluate", str(samples), "--router", str(router)]
        began = time.monotonic()
        subprocess.run([*command, "--json", str(out)], check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
    kind = "agreement" if agreement else "proxy score"
    sys.stdout.write(
        f"{QUERIES} queries x {MODELS} models x {SAMPLES} samples, kept by {kind}: "
        f"train {trained:.1f} s, evaluate {seconds:.1f} s\n"
    )


def _untrained(folder: Path) -> StaticReward:
    """A reward model that only says: by proxy score."""
    from bestroute.learning.reward_training.pairs import Pair
    from bestroute.learning.reward_training.train_reward import train_static_reward

    pairs = [Pair(f"q{i}", f"query {i}", f"good {i}", f"bad {i} {i}") for i in range(20)]
    return train_static_reward(pairs, folder).reward


if __name__ == "__main__":
    main()
