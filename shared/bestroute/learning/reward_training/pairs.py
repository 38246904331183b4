"""Preference pairs: what a proxy reward model learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from bestroute.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_NEEDED = ("query_id", "query", "model", "sample", "response", "split", "oracle_score")


@dataclass(frozen=True)
class Pair:
    """Two responses to one query, of which the oracle prefers the first.

    Attributes:
        query_id, query: The query; its pairs must not be separated in cross-validation.
        better, worse: The responses.
    """

    query_id: str
    query: str
    better: str
    worse: str


def preference_pairs(table: pa.Table, split: str = "train") -> list[Pair]:
    """The pairs (best, median) and (median, worst) by oracle score (arXiv 2506.22716).

    They are made for each query and each model apart: a proxy reward model chooses among the
    samples of one model. Pairs of equal score say nothing and are left out, so that a model
    whose samples are all right, or all wrong, gives none. Of samples of equal score the first
    counts as the better one; among an even number the median is the better of the middle two.

    Args:
        table: A samples table with splits; rows without an oracle score are left out.
        split: The split whose queries give the pairs.

    Raises:
        DataError: A column is missing, or no query of the split gives a pair.
    """
    missing = [name for name in _NEEDED if name not in table.column_names]
    if missing:
        raise DataError(f"preference pairs need the columns {missing}; found {table.column_names}")
    rows = [
        row
        for row in table.select(_NEEDED).to_pylist()
        if row["split"] == split and row["oracle_score"] is not None
    ]
    rows.sort(key=itemgetter("query_id", "model", "sample"))
    pairs = [
        pair
        for _, samples in groupby(rows, key=itemgetter("query_id", "model"))
        for pair in _of_one_model(list(samples))
    ]
    if not pairs:
        raise DataError(
            f"no query of split {split!r} has samples of one model with different oracle scores"
        )
    return pairs


def _of_one_model(samples: Sequence[dict[str, Any]]) -> Iterator[Pair]:
    ranked = sorted(samples, key=lambda row: -row["oracle_score"])
    best, median, worst = ranked[0], ranked[(len(ranked) - 1) // 2], ranked[-1]
    for better, worse in ((best, median), (median, worst)):
        if better["oracle_score"] > worse["oracle_score"]:
            yield Pair(better["query_id"], better["query"], better["response"], worse["response"])
