"""Scoring 100 queries x 5 responses of mixed lengths, against one response at a time.

One model (the shape of all-MiniLM-L6-v2, random weights, float32, all cores), the same pairs, the
same tokens, the same scores (checked); only how they are fed differs. "One at a time" is what the
reference implementation of arXiv 2506.22716 does: tokenise one pair without padding, one forward
pass, the next. Padding every pair to 512 tokens, as is also done, stands beside. On a CPU a long
pair alone keeps all cores busy, so that batches gain on short pairs and on equal ones.

The same model exported to ONNX Runtime has its turns beside them, in float32 and in int8. What int8
does to the picks takes a trained one, from the folder in BESTROUTE_REWARD; without it these rows
are left out.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bestroute.learning.export import agreement_of, export_reward, held_out_sets
from bestroute.learning.samples import read_samples
from bestroute.rewards import ClassifierReward, OnnxReward
from tests.benchmarks.reward_models import SAMPLES, Pairs, made_up, recorded, save_minilm
from tests.benchmarks.routers import DATA
from tests.benchmarks.rows import Row, at_least, at_most, beside, main

ROUNDS, PADDED, CONCURRENT, SETS = 3, 20, 16, 250


def measure() -> Iterator[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_minilm(Path(folder))
        alone, reward = OneAtATime(path), ClassifierReward(str(path), device="cpu")
        exported = _exported(reward, Path(folder))
        for name, pairs in (("shipped samples", recorded()), ("all different", made_up())):
            yield from _many(name, pairs, alone, reward, exported)
        yield from _concurrent(made_up(), reward)
    if trained := os.environ.get("BESTROUTE_REWARD"):
        yield from _picks(ClassifierReward(trained, device="cpu"))
    else:
        sys.stderr.write("no trained reward model: set BESTROUTE_REWARD to its folder\n")


class OneAtATime:
    """What it is held against."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(path)
        self._model: Any = AutoModelForSequenceClassification.from_pretrained(path).eval()

    def __call__(self, pairs: Pairs, **padding: Any) -> list[float]:
        import torch

        scores = []
        for query, response in pairs:
            inputs = self._tokenizer(query, response, return_tensors="pt", **padding)
            with torch.no_grad():
                scores.append(float(self._model(**inputs).logits[0, 0]))
        return scores


def _exported(reward: ClassifierReward, folder: Path) -> dict[str, OnnxReward]:
    """By precision, on as many cores as torch takes."""
    import torch

    precisions = {"float32": False, "int8": True}
    for name, int8 in precisions.items():
        export_reward(reward, folder / name, int8=int8)
    threads = torch.get_num_threads()
    return {name: OnnxReward(folder / name, threads=threads) for name in precisions}


def _many(
    name: str,
    pairs: Pairs,
    alone: OneAtATime,
    reward: ClassifierReward,
    exported: Mapping[str, OnnxReward],
) -> Iterator[Row]:
    few = pairs[:: len(pairs) // PADDED]
    np.testing.assert_allclose(reward.score_many(few), alone(few), atol=1e-3)
    np.testing.assert_allclose(exported["float32"].score_many(few), alone(few), atol=1e-3)
    by_one, padded, *onnx, batched = _by_turns(
        lambda: alone(pairs),
        lambda: alone(few, padding="max_length", max_length=512),
        *(partial(each.score_many, pairs) for each in exported.values()),
        lambda: reward.score_many(pairs),
    )
    what = f"reward scoring, {len(pairs)} pairs, {name}"
    yield at_least(f"{what}: one at a time / batched", by_one / batched, "x", 5)
    ratio = padded * len(pairs) / len(few) / batched
    yield beside(f"{what}: one at a time, each padded to 512 tokens / batched", ratio, "x")
    yield beside(f"{what}: batched", batched, "s")
    for precision, took in zip(exported, onnx, strict=True):
        yield at_least(f"{what}: one at a time / ONNX {precision}", by_one / took, "x", 5)
        yield beside(f"{what}: ONNX {precision}", took, "s")


def _picks(reward: ClassifierReward) -> Iterator[Row]:
    """Of recorded test questions: best of 5 before and after the export."""
    sets = held_out_sets(read_samples(DATA / "demo_samples.parquet"))
    unlike = [each for each in sets if len(set(each[1])) > 1]
    chosen = random.Random(0).sample(unlike, SETS)
    with tempfile.TemporaryDirectory() as folder:
        for precision, exported in _exported(reward, Path(folder)).items():
            found = agreement_of(reward, exported, chosen)
            assert found is not None
            name = f"ONNX {precision}, {found.sets} sets of {SAMPLES} shipped samples"
            yield at_least(f"{name}: same pick", 100 * found.same, "%", 99)
            yield beside(f"{name}: correlation of scores", found.correlation, "")


def _concurrent(pairs: Pairs, reward: ClassifierReward) -> Iterator[Row]:
    """Requests of 5 responses that come at once; and one that comes alone."""
    requests = [pairs[i * SAMPLES : (i + 1) * SAMPLES] for i in range(CONCURRENT)]

    async def gathered(some: Sequence[Pairs]) -> None:
        texts = [(each[0][0], [response for _, response in each]) for each in some]
        await asyncio.gather(*(reward.ascore(query, responses) for query, responses in texts))

    together, in_turn, lone, bare = _by_turns(
        lambda: asyncio.run(gathered(requests)),
        lambda: [reward.score_many(each) for each in requests],
        lambda: [asyncio.run(gathered([each])) for each in requests],
        lambda: [asyncio.run(asyncio.to_thread(reward.score_many, each)) for each in requests],
    )
    name = f"reward scoring, {CONCURRENT} requests of {SAMPLES}"
    yield at_most(f"{name}: at once / one after another", together / in_turn, "x", 1.0)
    yield at_most(f"{name}: each alone / in a bare thread", lone / bare, "x", 1.1)


def _by_turns(*works: Callable[[], object]) -> list[float]:
    """Seconds of each work: medians of rounds in which each has its turn."""
    for work in works[-1:]:
        work()
    took: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for times, work in zip(took, works, strict=True):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
    return [median(times) for times in took]


if __name__ == "__main__":
    main(measure)
