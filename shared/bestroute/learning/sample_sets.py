"""Sample sets: what one model answered to one query, read from the samples table."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import DataError, RequestError
from bestroute.learning.bestofn import (
    NO_ANSWER,
    Floats,
    Indices,
    agreement_weights,
    selection_weights,
)
from bestroute.query import Request

if TYPE_CHECKING:
    import pyarrow as pa

Extract = Callable[[str], Hashable | None]
"""Response text -> its answer; `None` or an empty text where it gives none."""

_COLUMNS = (
    "query_id", "query", "messages", "task", "split", "model", "sample",
    "prompt_tokens", "completion_tokens", "oracle_score",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One query of the table.

    Attributes:
        query_id, query, task, split: As in the table; empty where it has none.
        prompt: All text that is billed as prompt.
    """

    query_id: str
    query: str
    prompt: str
    task: str
    split: str


@dataclass(frozen=True)
class SampleSet:
    """The N samples of one model on one query.

    Attributes:
        oracle: Oracle scores [N].
        prompt_tokens, completion_tokens: Mean tokens of one sample.
        scores: Proxy scores [N], where samples are kept by them.
        answers: Answer codes [N], where samples are kept by agreement.
    """

    oracle: Floats
    prompt_tokens: float
    completion_tokens: float
    scores: Floats | None = None
    answers: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        """Number of samples N."""
        return len(self.oracle)

    def weights(self, n: int, among: Indices | None = None) -> Floats:
        """Probability that each sample is kept by best-of-n, drawn among these or all [N].

        Raises:
            DataError: There are fewer than n to draw from.
        """
        if among is None:
            among = np.arange(len(self))
        if self.answers is not None:
            return agreement_weights(self.answers[among], n)
        scores = np.zeros(len(self)) if self.scores is None else self.scores
        return selection_weights(scores[among], n)


class SampleSets:
    """A samples table by query and model: iterates over (query, its samples by model).

    Args:
        table: Samples table; models that are not needed are ignored.
        needed: Model -> samples that every query must have of it.
        agreement: Keep samples by agreement of these answers ...
        proxy: ... or else by this column; not read for models that need one sample only.

    Raises:
        DataError: While iterating: a sample is missing or recorded twice, a score or a token
            count is missing or not finite, or a query changes within the table. Names the query
            and the model.
    """

    def __init__(
        self,
        table: pa.Table,
        needed: Mapping[str, int],
        *,
        agreement: Extract | None = None,
        proxy: str = "proxy_score",
    ) -> None:
        columns = {*_COLUMNS, *(("response",) if agreement else (proxy,))}
        absent: list[Any] = [None] * table.num_rows
        self._columns: dict[str, list[Any]] = dict.fromkeys(columns, absent)
        self._columns |= table.select([c for c in table.column_names if c in columns]).to_pydict()
        self._needed = needed
        self._agreement = agreement
        self._proxy = proxy
        self._rows = self._group()

    def __len__(self) -> int:
        """Number of queries."""
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[Asked, dict[str, SampleSet]]]:
        """Queries in the order of the table."""
        for query_id, rows in self._rows.items():
            asked = self._asked(query_id, [row for group in rows.values() for row in group])
            yield asked, {m: self._sample_set(query_id, m, rows.get(m, [])) for m in self._needed}

    def _group(self) -> dict[str, dict[str, list[int]]]:
        rows: dict[str, dict[str, list[int]]] = {}
        keys = zip(self._columns["query_id"], self._columns["model"], strict=True)
        for row, (query_id, model) in enumerate(keys):
            if model in self._needed:
                rows.setdefault(query_id, {}).setdefault(model, []).append(row)
        return rows

    def _asked(self, query_id: str, rows: Sequence[int]) -> Asked:
        for column in ("query", "messages", "task", "split"):
            said = {self._columns[column][row] for row in rows}
            if len(said) > 1:
                raise DataError(f"query {query_id!r}: {column} is not the same on all its rows")
        query, messages, task, split = (
            self._columns[column][rows[0]] for column in ("query", "messages", "task", "split")
        )
        prompt = query if messages is None else _prompt(query_id, messages)
        return Asked(query_id, query, prompt, task or "", split or "")

    def _sample_set(self, query_id: str, model: str, rows: Sequence[int]) -> SampleSet:
        where = f"query {query_id!r}, model {model!r}"
        if len(rows) < self._needed[model]:
            raise DataError(f"{where}: {len(rows)} samples, {self._needed[model]} are needed")
        if len({self._columns["sample"][row] for row in rows}) < len(rows):
            raise DataError(f"{where}: a sample is recorded twice")
        chosen = self._needed[model] > 1
        return SampleSet(
            oracle=self._numbers("oracle_score", rows, where),
            prompt_tokens=float(self._numbers("prompt_tokens", rows, where).mean()),
            completion_tokens=float(self._numbers("completion_tokens", rows, where).mean()),
            scores=self._numbers(self._proxy, rows, where)
            if chosen and self._agreement is None
            else None,
            answers=self._answers(rows) if chosen and self._agreement else None,
        )

    def _numbers(self, column: str, rows: Sequence[int], where: str) -> Floats:
        numbers = np.array([self._columns[column][row] for row in rows], dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise DataError(f"{where}: {column} is missing or not finite")
        return numbers

    def _answers(self, rows: Sequence[int]) -> NDArray[np.intp]:
        assert self._agreement is not None
        codes: dict[Hashable, int] = {}
        answers = [self._agreement(self._columns["response"][row]) for row in rows]
        return np.array(
            [NO_ANSWER if a in (None, "") else codes.setdefault(a, len(codes)) for a in answers],
            dtype=np.intp,
        )


def _prompt(query_id: str, messages: str) -> str:
    try:
        return Request.build(json.loads(messages)).prompt
    except (json.JSONDecodeError, RequestError) as error:
        raise DataError(f"query {query_id!r}: messages cannot be read ({error})") from error
