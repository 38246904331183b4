"""What deciding costs beside the encoder's own tokenising and pooling, text by text in turn.

Static encoder, a multi-head router with output lengths and quality, the whole of `engine.route`:
reading the request, constraints, prediction, costs, policy, decision. Prompts are made of the
shipped questions, of 50 to 2,000 tokens (the encoder takes about a millisecond); questions alone
stand beside: where the encoder takes a twentieth of that, what is fixed weighs more.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bestroute.routers import StaticEncoder
from tests.benchmarks.routers import by_turns, engine, pool, prompts, questions
from tests.benchmarks.rows import Row, at_most, beside, main

LENGTHS = (50, 100, 200, 400, 800, 2_000)
POOLS = (2, 8)
LARGE = 64
LONG, LONGEST = 10_000, 100_000


def measure() -> Iterator[Row]:
    """All rows."""
    encoder = StaticEncoder()
    for models in POOLS:
        yield from _against_encoder(encoder, models)
    whole = by_turns([engine(pool(LARGE), encoder).route], prompts(100, LENGTHS))[0]
    yield beside(f"decision, pool of {LARGE} (316 arms): p50", float(np.median(whole)), "ms")
    yield from _short(encoder)
    yield from _long(encoder)


def _against_encoder(encoder: StaticEncoder, models: int) -> Iterator[Row]:
    route = engine(pool(models), encoder).route
    texts = prompts(300, LENGTHS)
    alone, whole = by_turns([lambda text: encoder.encode([text]), route], texts, rounds=5)
    name = f"decision, pool of {models}"
    for percentile, bar in ((50, 2.0), (99, 6.0)):
        ratio = np.percentile(whole, percentile) / np.percentile(alone, percentile)
        yield at_most(f"{name}: p{percentile} against the encoder's", float(ratio), "x", bar)
    yield beside(f"{name}: the encoder's p50", float(np.median(alone)), "ms")
    yield beside(f"{name}: p50", float(np.median(whole)), "ms")
    yield beside(f"{name}: p99", float(np.percentile(whole, 99)), "ms")


def _short(encoder: StaticEncoder) -> Iterator[Row]:
    route, name = engine(pool(3), encoder).route, "decision, questions of 17 tokens"
    alone, whole = by_turns([lambda text: encoder.encode([text]), route], questions())
    yield beside(f"{name}: the encoder's p50", float(np.median(alone)), "ms")
    yield beside(f"{name}: p50", float(np.median(whole)), "ms")


def _long(encoder: StaticEncoder) -> Iterator[Row]:
    route = engine(pool(3), encoder).route
    texts = [prompts(1, [tokens])[0] for tokens in (LONG, LONGEST)]
    works = [lambda _, text=text: route(text) for text in texts]
    long, longest = (float(np.median(took)) for took in by_turns(works, ["", ""], rounds=15))
    yield at_most("decision, 100K tokens against 10K", longest / long, "x", 2.0)
    yield beside("decision, 100K tokens", longest, "ms")


if __name__ == "__main__":
    main(measure)
