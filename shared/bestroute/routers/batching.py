"""A router that concurrent callers share."""

from __future__ import annotations

from collections.abc import Sequence

from bestroute._batches import Batches
from bestroute.routers.base import Prediction, Router

_THREADS = 8
"""A router may hang so many times before those who come after wait for it."""


def batched(router: Router) -> Batches[str, Prediction]:
    """Asks a router in micro-batches; a query's answer is its `Prediction` [1, arms].

    Args:
        router: Predicts the same for a query whatever else is in the batch.
    """

    def predict(queries: Sequence[str]) -> list[Prediction]:
        whole = router.predict(queries)
        return [_row(whole, index) for index in range(len(queries))]

    return Batches(predict, threads=_THREADS)


def _row(whole: Prediction, index: int) -> Prediction:
    match, tokens, quality = (
        None if values is None else values[index : index + 1]
        for values in (whole.match, whole.output_tokens, whole.quality)
    )
    assert match is not None
    return Prediction(whole.arms, match, tokens, quality)
