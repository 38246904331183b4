"""Routers, pools and prompts to be timed. Heads are random: how long they take does not depend
on their numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bestroute
from bestroute import BestRoute, ModelPool
from bestroute.routers import Encoder, Heads, MultiHeadRouter
from bestroute.routers.features import FEATURE_NAMES

DATA = Path(bestroute.__file__).parent / "data"
CHARACTERS = 4.0
"""Of a token, as text goes."""


def questions() -> list[str]:
    """The test split of the shipped samples: real, and short (about 17 tokens)."""
    from bestroute.learning.samples import read_samples

    table = read_samples(DATA / "demo_samples.parquet")
    rows = zip(table["split"].to_pylist(), table["query"].to_pylist(), strict=True)
    return list(dict.fromkeys(query for split, query in rows if split == "test"))


def prompts(count: int, tokens: Sequence[int], *, seed: int = 0) -> list[str]:
    """Prompts of shipped questions, each of about as many tokens as the next of `tokens` says."""
    rng, known = np.random.default_rng(seed), questions()
    made = []
    for index in range(count):
        text = str(rng.choice(known))
        while len(text) < CHARACTERS * tokens[index % len(tokens)]:
            text += "\n" + str(rng.choice(known))
        made.append(text)
    return made


def pool(models: int, *, samples: int = 5) -> ModelPool:
    """The last is the reference; each of the others may be sampled up to five times."""
    members = [
        {
            "model": f"openai/m{index}",
            "max_samples": samples,
            "price": {"input": 1 + index, "output": 2 + index},
            "native_n": True,
            "context_window": 1_000_000,
        }
        for index in range(models)
    ]
    members[-1] |= {"reference": True, "max_samples": 1}
    return ModelPool.from_dict({"models": members})


def multi_head(members: ModelPool, encoder: Encoder, *, seed: int = 0) -> MultiHeadRouter:
    """A router that predicts match probabilities, output lengths and quality of every arm."""
    rng = np.random.default_rng(seed)
    inputs, arms, models = encoder.dimension + len(FEATURE_NAMES), members.arms, members.models
    heads = Heads(
        centre=np.zeros(inputs),
        scale=np.ones(inputs),
        weight=rng.normal(size=(inputs, len(arms) - 1)),
        bias=np.zeros(len(arms) - 1),
        length_weight=rng.normal(size=(inputs, len(models))),
        length_bias=np.full(len(models), 5.0),
        length_range=np.outer([1.0, 7.0], np.ones(len(models))),
        quality_weight=rng.normal(size=(inputs, len(arms))),
        quality_bias=np.full(len(arms), 0.5),
        quality_range=np.outer([0.0, 1.0], np.ones(len(arms))),
    )
    return MultiHeadRouter(arms, members.reference.name, encoder, heads)


def engine(members: ModelPool, encoder: Encoder) -> BestRoute:
    """The whole of it, at a threshold that some arms reach."""
    return BestRoute(members, router=multi_head(members, encoder), threshold=0.7)


def by_turns(
    works: Sequence[Callable[[str], object]], texts: Sequence[str], *, rounds: int = 3
) -> list[NDArray[np.float64]]:
    """Milliseconds of each work on each text [rounds * texts], text by text in turn."""
    for text in texts[:20]:
        for work in works:
            work(text)
    took: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for text in texts:
            for times, work in zip(took, works, strict=True):
                began = time.perf_counter()
                work(text)
                times.append((time.perf_counter() - began) * 1e3)
    return [np.array(times) for times in took]
