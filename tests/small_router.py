"""A real, very small router: it knows six questions, and which of them the small model can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bestroute import BestRoute, ModelPool
from bestroute.routers import KNNRouter, StaticEncoder

EASY = (
    "What is the capital of France?",
    "Who founded the Harbour Library?",
    "How much does a library card cost per year?",
)
HARD = (
    "Prove by induction that the sum of the first n odd numbers is a square.",
    "Prove that there are infinitely many prime numbers.",
    "Derive the gradient of the softmax function.",
)
THRESHOLD = 0.5
"""Between the match probabilities of a hard question, 0.25, and an easy one, 0.75."""


def routed(pool: Mapping[str, Any]) -> BestRoute:
    """An engine over a pool: what is most like an easy question goes to the cheapest arm."""
    members, encoder = ModelPool.read(pool), StaticEncoder()
    match = np.array([[1.0]] * len(EASY) + [[0.0]] * len(HARD)).repeat(len(members.arms), axis=1)
    match[:, members.arms.index(members.reference_arm)] = 1.0
    router = KNNRouter(
        members.arms,
        members.reference.name,
        encoder,
        vectors=encoder.encode([*EASY, *HARD]),
        match=match,
        quality=match,
        k=1,
    )
    return BestRoute(members, router=router, threshold=THRESHOLD)
