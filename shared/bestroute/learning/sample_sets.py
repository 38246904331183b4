"""Sample sets: what each model answered to each query, read from the samples table."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Mapping
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
from bestroute.policy.likeness import is_open, likeness_encoder
from bestroute.query import Request
from bestroute.routers.encoder import Vectors

if TYPE_CHECKING:
    import pyarrow as pa

Extract = Callable[[str], Hashable | None]
"""Response text -> its answer; `None` or an empty text where it gives none."""

_ASKED = ("query", "messages", "task", "split")
_TOGETHER = 256
"""Queries worked on at once: enough to be fast, few enough for memory and for progress."""


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
    """The N samples of one model on each of G queries, in the order of their numbers.

    Attributes:
        oracle: Oracle scores [G, N].
        prompt_tokens: Mean prompt tokens of one sample [G].
        completion_tokens: Completion tokens of every sample [G, N].
        scores: Proxy scores [G, N], where samples are kept by them.
        answers: Answer codes [G, N], where samples are kept by agreement, or answers are evidence.
        latency: Seconds of every sample [G, N], where all were recorded.
        logprobs: Mean token log-probability of every sample in nats [G, N], NaN for those that
            have none, where answers are evidence.
        vectors: Unit vectors of the open answers [G, N, D], NaN for the others, where answers are
            evidence and there are open ones.
    """

    oracle: Floats
    prompt_tokens: Floats
    completion_tokens: Floats
    scores: Floats | None = None
    answers: NDArray[np.intp] | None = None
    latency: Floats | None = None
    logprobs: Floats | None = None
    vectors: Vectors | None = None

    def weights(self, n: int, among: Indices | None = None) -> Floats:
        """Probability that each sample is kept by best-of-n.

        Args:
            n: Samples drawn without replacement.
            among: The samples drawn from [..., K]; by default all N.

        Returns:
            Weights [G, N], or [G, ..., K].

        Raises:
            DataError: There are fewer than n to draw from.
        """
        if among is None:
            among = np.arange(self.oracle.shape[1])
        if self.scores is None and self.answers is not None:
            return agreement_weights(self.answers[:, among], n)
        scores = np.zeros_like(self.oracle) if self.scores is None else self.scores
        return selection_weights(scores[:, among], n)


class SampleSets:
    """A samples table by query and model: iterates over (queries, their samples by model).

    Queries that have equally many samples of each model come together, some hundreds at once.

    Args:
        table: Samples table; models that are not needed are ignored.
        needed: Model -> samples that every query must have of it.
        agreement: Keep samples by agreement of these answers ...
        proxy: ... or else by this column; not read for models that need one sample only.
        evidence: Read these answers of all samples, whatever they are kept by.

    Attributes:
        queries: All queries, in the order of the table; what is iterated over are indices of
            these [G].

    Raises:
        DataError: A sample is missing or recorded twice, a score or a token count is missing or
            not finite, or a query changes within the table. Names the query and the model.
    """

    def __init__(
        self,
        table: pa.Table,
        needed: Mapping[str, int],
        *,
        agreement: Extract | None = None,
        proxy: str = "proxy_score",
        evidence: Extract | None = None,
    ) -> None:
        self._models = tuple(needed)
        self._chosen = np.array([count > 1 for count in needed.values()], dtype=bool)
        self._extract, self._extract_all = agreement or evidence, evidence is not None
        names, models = _codes(table, "model")
        wanted = [self._models.index(name) if name in needed else -1 for name in names]
        model = np.array([*wanted, -1], dtype=np.intp)[models]
        rows = np.flatnonzero(model >= 0)
        self._ids, query = _codes(table.select(["query_id"]).take(rows), "query_id")
        sample = _numbers(table, "sample")[rows]
        order = np.lexsort((sample, model[rows], query))
        self._rows, self._query, self._model = rows[order], query[order], model[rows][order]
        self._table = table
        self._check_counts(needed, sample[order])
        self.queries = self._asked()
        self._oracle = self._finite("oracle_score")
        self._prompt_tokens = self._finite("prompt_tokens")
        self._completion_tokens = self._finite("completion_tokens")
        self._scores = None if agreement else self._finite(proxy, self._chosen[self._model])
        latency = _numbers(table, "latency")[self._rows]
        self._latency = latency if np.isfinite(latency).all() else None
        self._logprobs = _numbers(table, "logprob")[self._rows]

    def __len__(self) -> int:
        """Number of queries."""
        return len(self._ids)

    def __iter__(self) -> Iterator[tuple[Indices, dict[str, SampleSet]]]:
        """Groups of queries in which every model has equally many samples."""
        shapes, which = np.unique(self._counts, axis=0, return_inverse=True)
        starts = np.concatenate([[0], self._counts.ravel().cumsum()[:-1]])
        starts = starts.reshape(self._counts.shape)
        for shape, counts in enumerate(shapes):
            alike = np.flatnonzero(which.reshape(-1) == shape)
            for start in range(0, len(alike), _TOGETHER):
                group = alike[start : start + _TOGETHER]
                yield (
                    group,
                    {
                        model: self._sample_set(
                            starts[group, code][:, None] + np.arange(counts[code]),
                            chosen=bool(self._chosen[code]),
                        )
                        for code, model in enumerate(self._models)
                    },
                )

    def _sample_set(self, places: Indices, *, chosen: bool) -> SampleSet:
        codes, vectors = None, None
        if self._extract is not None and (chosen or self._extract_all):
            codes, vectors = self._answers(places, self._extract, compared=chosen)
        return SampleSet(
            oracle=self._oracle[places],
            prompt_tokens=self._prompt_tokens[places].mean(axis=1),
            completion_tokens=self._completion_tokens[places],
            scores=self._scores[places] if chosen and self._scores is not None else None,
            answers=codes,
            latency=None if self._latency is None else self._latency[places],
            logprobs=self._logprobs[places] if self._extract_all else None,
            vectors=vectors,
        )

    def _answers(
        self, places: Indices, extract: Extract, *, compared: bool
    ) -> tuple[NDArray[np.intp], Vectors | None]:
        """Codes of the answers, and vectors of the open ones where they are evidence."""
        texts = self._table["response"].take(self._rows[places.ravel()]).to_pylist()
        answer = {text: extract(text) for text in set(texts)}
        codes: dict[Hashable, int] = {None: NO_ANSWER, "": NO_ANSWER}
        found = [codes.setdefault(answer[text], len(codes)) for text in texts]
        vectors = None
        if compared and self._extract_all and (read := [t for t in answer if is_open(answer[t])]):
            row = {text: place for place, text in enumerate(read)}
            known = likeness_encoder().encode(read)
            known = np.vstack([known, np.full_like(known[:1], np.nan)])
            vectors = known[[row.get(text, -1) for text in texts]].reshape(*places.shape, -1)
        return np.array(found, dtype=np.intp).reshape(places.shape), vectors

    def _check_counts(self, needed: Mapping[str, int], sample: Floats) -> None:
        cell = self._query * len(self._models) + self._model
        counts = np.bincount(cell, minlength=len(self._ids) * len(self._models))
        self._counts = counts.reshape(len(self._ids), len(self._models))
        for query, model in np.argwhere(self._counts < list(needed.values()))[:1]:
            name = self._models[model]
            raise DataError(
                f"query {self._ids[query]!r}, model {name!r}: "
                f"{self._counts[query, model]} samples, {needed[name]} are needed"
            )
        twice = (np.diff(cell) == 0) & (np.diff(sample) == 0)
        for place in np.flatnonzero(twice)[:1]:
            raise DataError(f"{self._where(place)}: a sample is recorded twice")

    def _asked(self) -> tuple[Asked, ...]:
        first = np.searchsorted(self._query, np.arange(len(self._ids)))
        said: dict[str, list[Any]] = {}
        for column in _ASKED:
            if column not in self._table.column_names:
                said[column] = [None] * len(first)
                continue
            values, codes = _codes(self._table, column)
            codes = codes[self._rows]
            for place in np.flatnonzero(codes != codes[first][self._query])[:1]:
                query_id = self._ids[self._query[place]]
                raise DataError(f"query {query_id!r}: {column} is not the same on all its rows")
            said[column] = [values[code] if code >= 0 else None for code in codes[first]]
        return tuple(
            Asked(
                query_id=query_id,
                query=query,
                prompt=query if messages is None else _prompt(query_id, messages),
                task=task or "",
                split=split or "",
            )
            for query_id, query, messages, task, split in zip(
                self._ids, *(said[column] for column in _ASKED), strict=True
            )
        )

    def _finite(self, column: str, read: NDArray[np.bool_] | None = None) -> Floats:
        """A column, row by row in sorted order; where it is not read it may be anything."""
        numbers = _numbers(self._table, column)[self._rows]
        bad = ~np.isfinite(numbers) if read is None else ~np.isfinite(numbers) & read
        for place in np.flatnonzero(bad)[:1]:
            raise DataError(f"{self._where(place)}: {column} is missing or not finite")
        return numbers

    def _where(self, place: int) -> str:
        query_id, model = self._ids[self._query[place]], self._models[self._model[place]]
        return f"query {query_id!r}, model {model!r}"


def _codes(table: pa.Table, column: str) -> tuple[list[Any], Indices]:
    """Distinct values in the order in which they appear, and each row's; -1 where it is null."""
    encoded = table[column].combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.fill_null(-1).to_numpy().astype(np.intp)


def _numbers(table: pa.Table, column: str) -> Floats:
    """A column as floats, NaN where there is none."""
    if column not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return np.asarray(table[column].to_numpy(), dtype=np.float64)


def _prompt(query_id: str, messages: str) -> str:
    try:
        return Request.build(json.loads(messages)).prompt
    except (json.JSONDecodeError, RequestError) as error:
        raise DataError(f"query {query_id!r}: messages cannot be read ({error})") from error
