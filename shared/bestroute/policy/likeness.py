"""How alike open answers are: where no short answer can be compared, the texts are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from bestroute.routers.encoder import Vectors

if TYPE_CHECKING:
    from bestroute.routers.static import StaticEncoder

_SHORT = 8
"""Words of the longest answer that another sample is likely to give literally."""


def is_open(answer: object) -> bool:
    """Whether what was taken for the answer is a whole text or program: hardly two are equal."""
    return isinstance(answer, str) and len(answer.split()) > _SHORT


@cache
def likeness_encoder() -> StaticEncoder:
    """What reads open answers, live and in replays: the static encoder, loaded once.

    Raises:
        MissingExtraError: The extra `static` is not installed.
    """
    from bestroute.routers.static import StaticEncoder

    return StaticEncoder()


def similarity(vectors: Vectors) -> float:
    """Mean cosine between any two of n unit vectors [n, D], in [-1, 1]; NaN where n < 2."""
    n = len(vectors)
    if n < 2:
        return math.nan
    total = vectors.sum(axis=0, dtype=np.float64)
    own = float(np.square(vectors, dtype=np.float64).sum())
    return (float(total @ total) - own) / (n * (n - 1))


def likeness(texts: Sequence[str], answers: Sequence[str | None]) -> float:
    """Mean cosine between any two of the texts whose answers are open; NaN where there are none."""
    texts = [text for text, answer in zip(texts, answers, strict=True) if is_open(answer)]
    return similarity(likeness_encoder().encode(texts)) if len(texts) > 1 else math.nan
