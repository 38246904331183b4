"""Scoring 100 queries x 5 responses of mixed lengths, against one response at a time.

One model (the shape of all-MiniLM-L6-v2, random weights, float32, all cores), the same pairs, the
same tokens, the same scores (checked); only how they are fed differs. "One at a time" is what the
reference implementation of arXiv 2506.22716 does: tokenise one pair without padding, one forward
pass, the next. Padding every pair to 512 tokens, as is also done, stands beside. On a CPU a long
pair alone keeps all cores busy, so that batches gain on short pairs and on equal ones.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bestroute.rewards import ClassifierReward
from tests.benchmarks.reward_models import SAMPLES, Pairs, made_up, recorded, save_minilm
from tests.benchmarks.rows import Row, at_least, at_most, beside, main

ROUNDS, PADDED, CONCURRENT = 3, 20, 16


def measure() -> Iterator[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_minilm(Path(folder))
        alone, reward = OneAtATime(path), ClassifierReward(str(path), device="cpu")
        for name, pairs in (("shipped samples", recorded()), ("all different", made_up())):
            yield from _many(name, pairs, alone, reward)
        yield from _concurrent(made_up(), reward)


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


def _many(name: str, pairs: Pairs, alone: OneAtATime, reward: ClassifierReward) -> Iterator[Row]:
    few = pairs[:: len(pairs) // PADDED]
    np.testing.assert_allclose(reward.score_many(few), alone(few), atol=1e-3)
    by_one, padded, batched = _by_turns(
        lambda: alone(pairs),
        lambda: alone(few, padding="max_length", max_length=512),
        lambda: reward.score_many(pairs),
    )
    what = f"reward scoring, {len(pairs)} pairs, {name}"
    yield at_least(f"{what}: one at a time / batched", by_one / batched, "x", 5)
    ratio = padded * len(pairs) / len(few) / batched
    yield beside(f"{what}: one at a time, each padded to 512 tokens / batched", ratio, "x")
    yield beside(f"{what}: batched", batched, "s")


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
