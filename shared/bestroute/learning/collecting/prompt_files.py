"""Records of prompts out of files and datasets, each with the place where it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bestroute._extras import require
from bestroute._plain import parsed
from bestroute.errors import DataError
from bestroute.learning.samples import read_samples
from bestroute.learning.scoring.references import accepted_answers

_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
_BATCH = 1024
"""Rows read at once: a small file may unpack to much."""
_OF_THE_QUESTION = ("max_tokens", "max_completion_tokens", "stop", "response_format", "tools")
_TABLE_COLUMNS = (
    *("query_id", "query", "messages", "task", "split"),
    *("sampling", "check", "reference_answer"),
)


class Record(NamedTuple):
    """Fields of one prompt.

    Attributes:
        where: File and line, for errors.
        fields: As they stand there.
    """

    where: str
    fields: Mapping[str, Any]


def read_records(source: str | Path) -> Iterator[Record]:
    """The records of a JSONL or Parquet file, a samples table, or a dataset.

    Raises:
        DataError: There is no such file, or it cannot be read; names the line.
        MissingExtraError: `datasets` or pyarrow is needed and not installed.
    """
    path = Path(source)
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix in (".jsonl", ".ndjson", ".json"):
        return _json_lines(path)
    return _dataset(str(source))


def _json_lines(path: Path) -> Iterator[Record]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield Record(f"{path}:{number}", _object(line, f"{path}:{number}"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text") from error


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        fields = parsed(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: is not JSON: {error.msg} at column {error.colno}") from error
    except ValueError as error:
        raise DataError(f"{where}: is JSON that cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where}: a line must be one JSON object, such as {{'query': ...}}")
    return fields


def _parquet(path: Path) -> Iterator[Record]:
    arrow = require("pyarrow", feature="Parquet", extra="train")
    parquet = require("pyarrow.parquet", feature="Parquet", extra="train")
    try:
        file = parquet.ParquetFile(str(path))
        if {"model", "response"} <= {*file.schema_arrow.names}:
            yield from _samples_table(path)
            return
        rows = (row for batch in file.iter_batches(_BATCH) for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            yield Record(f"{path}, row {number}", row)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: no such file, or not Parquet ({error})") from error


def _samples_table(path: Path) -> Iterator[Record]:
    """Each query once; of its sampling what belongs to the question, not how it was sampled."""
    table = read_samples(path)
    asked: dict[str, dict[str, Any]] = {}
    for row in table.select([c for c in _TABLE_COLUMNS if c in table.column_names]).to_pylist():
        asked.setdefault(row["query_id"], row)
    for query_id, row in asked.items():
        where = f"{path}, query {query_id!r}"
        sampling = _object(row.pop("sampling", None) or "{}", where)
        params = {name: sampling[name] for name in _OF_THE_QUESTION if name in sampling}
        answer = row.pop("reference_answer", None)
        fields = {**row, "id": query_id, "params": params}
        fields["answer"] = None if answer is None else accepted_answers(answer)
        yield Record(where, fields)


def _dataset(source: str) -> Iterator[Record]:
    """A folder saved by `datasets`, or a dataset of the hub."""
    name, *rest = [source] if Path(source).is_dir() else source.split(":")
    is_folder = Path(name).is_dir()
    if not is_folder and not _HUB_ID.fullmatch(name):
        raise DataError(
            f"{source}: no such prompts; expected a .jsonl or .parquet file, a folder saved by "
            "`datasets`, or a hub id such as owner/name:split"
        )
    datasets = require("datasets", feature="Reading a HuggingFace dataset", extra="datasets")
    try:
        load = datasets.load_from_disk if is_folder else datasets.load_dataset
        data = load(name, *rest[:-1])
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{source}: cannot be loaded as a dataset: {error}") from error
    if isinstance(data, Mapping):
        split = rest[-1] if rest else next(iter(data))
        if split not in data or (not rest and len(data) > 1):
            raise DataError(f"{source}: name one of its splits {sorted(data)}: {name}:SPLIT")
        data = data[split]
    for number, row in enumerate(data, start=1):
        yield Record(f"{source}, row {number}", row)
