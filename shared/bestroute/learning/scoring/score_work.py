"""The scores of one column: which there are, and which are missing."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bestroute.errors import DataError
from bestroute.learning.journal import Journal
from bestroute.learning.samples import canonical
from bestroute.learning.scoring.scorers import Scorer
from bestroute.samples import Call

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Batch:
    """Responses to one query that are scored together.

    Attributes:
        unit: Where the journal keeps the scores.
        query, truth: The query, and the truth about it.
        responses: Its responses, each once.
        calls: Calls that this will take, with estimates; none for what is not paid.
    """

    unit: str
    query: str
    truth: str
    responses: tuple[str, ...]
    calls: tuple[Call, ...]


class ScoreWork:
    """All scores of one column; equal responses to a query, under one truth, share theirs.

    Args:
        table: A samples table.
        scorer: What scores.
        journal: What was scored before.

    Raises:
        DataError: A query lacks the truth that the scorer needs.
    """

    def __init__(self, table: pa.Table, scorer: Scorer, journal: Journal | None) -> None:
        self._scorer = scorer
        queries = table["query"].to_pylist()
        self._rows = list(
            zip(queries, _truths(table, scorer), table["response"].to_pylist(), strict=True)
        )
        self._groups: dict[tuple[str, str], dict[str, float | None]] = {}
        for query, truth, response in self._rows:
            self._groups.setdefault((query, truth), {})[response] = None
        if journal:
            for key, scores in self._groups.items():
                known = _known(journal.results(self._unit(*key)))
                scores.update((each, known.get(_digest(each))) for each in scores)

    def missing(self) -> list[Batch]:
        """What is still to be scored."""
        return [
            self._batch(query, truth, responses)
            for (query, truth), scores in self._groups.items()
            for responses in self._scorer.batches([r for r, s in scores.items() if s is None])
        ]

    def take(self, batch: Batch, scores: Iterable[float]) -> str:
        """Note the scores of a batch, NaN for none.

        Returns:
            What the journal is to keep.
        """
        kept = {
            response: float(score)
            for response, score in zip(batch.responses, scores, strict=True)
            if not math.isnan(score)
        }
        self._groups[batch.query, batch.truth].update(kept)
        return canonical({_digest(response): score for response, score in kept.items()})

    def column(self) -> list[float | None]:
        """The score of each row of the table, `None` where there is none."""
        return [self._groups[query, truth][response] for query, truth, response in self._rows]

    def _batch(self, query: str, truth: str, responses: list[str]) -> Batch:
        judge = self._scorer.judge
        self._scorer.reward(truth)  # raises for a truth that cannot be read
        return Batch(
            unit=self._unit(query, truth),
            query=query,
            truth=truth,
            responses=tuple(responses),
            calls=tuple(judge.expected(query, each) for each in responses) if judge else (),
        )

    def _unit(self, query: str, truth: str) -> str:
        return _digest(canonical([self._scorer.name, query, truth]))


def _truths(table: pa.Table, scorer: Scorer) -> list[str]:
    if scorer.truth is None:
        return [""] * table.num_rows
    known: list[Any] = [None] * table.num_rows
    if scorer.truth in table.column_names:
        known = table[scorer.truth].to_pylist()
    if None in known:
        query = table["query_id"][known.index(None)].as_py()
        raise DataError(
            f"{known.count(None)} of {len(known)} rows have no {scorer.truth}, the first of them "
            f"of query {query!r}: nothing to score them by"
        )
    return known


def _known(results: Iterable[str]) -> dict[str, float]:
    """Digest of a response -> its score."""
    return {digest: score for each in results for digest, score in json.loads(each).items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
