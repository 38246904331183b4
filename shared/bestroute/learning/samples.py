"""The samples table: one row a recorded response, in one Parquet schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bestroute._extras import require
from bestroute.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: Mapping[str, str] = {
    "query_id": "string",
    "query": "string",
    "messages": "string",
    "task": "string",
    "split": "string",
    "model": "string",
    "sampling": "string",
    "sample": "int32",
    "response": "string",
    "finish_reason": "string",
    "prompt_tokens": "int32",
    "completion_tokens": "int32",
    "latency": "float32",
    "cost": "float64",
    "logprob": "float64",
    "oracle_score": "float64",
    "proxy_score": "float64",
    "check": "string",
    "reference_answer": "string",
}
"""Column -> Arrow type. `messages`, `sampling` and `check` are JSON; `cost` is in $, `latency` in
seconds; `logprob` is the mean log-probability of the response's tokens in nats, null where the
provider gave none; `split` is train, calibration or test; `prompt_tokens` counts the prompt once
a row; `reference_answer` is a text, or a JSON list of accepted ones. A score that nobody made is
null, never NaN."""

REQUIRED = ("query_id", "query", "model", "sample", "response")
_MOST_ROWS, _MOST_BYTES = 50_000_000, 8 * 2**30
_PACKED: Mapping[str, Any] = {"compression": "zstd", "compression_level": 19}
_BATCH = 1024
"""Rows read at once: a small file may unpack to much."""
SPLITS = ("train", "calibration", "test")


def split_of(key: str, seed: int, shares: Sequence[float]) -> str:
    """The split of a query, or of the group that it belongs to: a seeded hash of its key.

    Args:
        key: Equal keys come into the same split.
        seed: Of the hash.
        shares: Shares of train, calibration and test; they sum to 1.
    """
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < shares[0]:
        return SPLITS[0]
    return SPLITS[1] if place < shares[0] + shares[1] else SPLITS[2]


def _arrow() -> Any:
    return require("pyarrow", feature="Samples tables (Parquet)", extra="train")


def schema() -> pa.Schema:
    """The Arrow schema of the samples table."""
    arrow = _arrow()
    return arrow.schema([(name, arrow.type_for_alias(kind)) for name, kind in COLUMNS.items()])


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def write_samples(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write rows as Parquet; columns that a row lacks are null.

    Raises:
        DataError: A row has a column that the schema does not know.
    """
    write_table(_table(rows), path)


@contextmanager
def table_writer(path: str | Path) -> Iterator[Callable[[Sequence[Mapping[str, Any]]], None]]:
    """Write a samples table part by part; yields what writes so many rows.

    Raises:
        DataError: As `write_samples`.
    """
    parquet = require("pyarrow.parquet", feature="Samples tables (Parquet)", extra="train")
    with parquet.ParquetWriter(str(path), schema(), **_PACKED) as writer:
        yield lambda rows: writer.write_table(_table(rows))


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    unknown = sorted({key for row in rows for key in row} - set(COLUMNS))
    if unknown:
        raise DataError(f"unknown columns {unknown}; the schema has {list(COLUMNS)}")
    return _arrow().Table.from_pylist([dict(row) for row in rows], schema=schema())


def write_table(table: pa.Table, path: str | Path) -> None:
    """Write a samples table as Parquet."""
    parquet = require("pyarrow.parquet", feature="Samples tables (Parquet)", extra="train")
    parquet.write_table(table, str(path), **_PACKED)


def read_samples(path: str | Path, *, scored: bool = False) -> pa.Table:
    """Read a samples table and check it.

    Args:
        path: A Parquet file.
        scored: Whether every row must have an oracle score.

    Raises:
        DataError: The file is truncated or not Parquet, a required column is missing or holds
            nulls, a score is NaN, or (with `scored`) an oracle score is missing.
    """
    arrow = _arrow()
    parquet = require("pyarrow.parquet", feature="Samples tables (Parquet)", extra="train")
    try:
        with parquet.ParquetFile(str(path)) as file:
            table = _unpacked(file, str(path))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: truncated, or not a Parquet file ({error})") from error
    _check(table, str(path), scored)
    return table


def _unpacked(file: Any, where: str) -> pa.Table:
    """The whole table in the types of `COLUMNS`, as long as it is of a size that anyone records."""
    if file.metadata.num_rows > _MOST_ROWS:
        raise DataError(f"{where}: tells of {file.metadata.num_rows:,} rows; divide the table")
    batches, size = [], 0
    for batch in file.iter_batches(_BATCH):
        batch.validate(full=True)
        batches.append(_typed(batch, where))
        size += batches[-1].nbytes
        if size > _MOST_BYTES:
            raise DataError(f"{where}: unpacks to more than {size / 1e9:.1f} GB; divide the table")
    arrow = _arrow()
    schema = batches[0].schema if batches else file.schema_arrow
    return arrow.Table.from_batches(batches, schema=schema).combine_chunks()


def _typed(batch: Any, where: str) -> Any:
    """A batch whose known columns have their types."""
    arrow = _arrow()
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            known = name in COLUMNS
            columns[name] = column.cast(arrow.type_for_alias(COLUMNS[name])) if known else column
        except arrow.ArrowException as error:
            raise DataError(
                f"{where}: column {name!r} is {column.type}, not {COLUMNS[name]} ({error})"
            ) from error
    return arrow.RecordBatch.from_pydict(columns)


def is_scored_samples(source: str | Path) -> bool:
    """Whether a file is a samples table with oracle scores, and not prompts of another kind."""
    path = Path(source)
    if not path.is_file() or path.suffix != ".parquet":
        return False
    parquet = require("pyarrow.parquet", feature="Samples tables (Parquet)", extra="train")
    try:
        names = parquet.read_schema(str(path)).names
    except (_arrow().ArrowException, OSError):
        return False  # nor prompts: reading them says what is wrong
    return {*REQUIRED, "oracle_score"} <= set(names)


def _check(table: pa.Table, where: str, scored: bool) -> None:
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise DataError(f"{where}: columns {missing} are missing; found {table.column_names}")
    for name in REQUIRED:
        if table[name].null_count:
            raise DataError(f"{where}: column {name!r} holds {table[name].null_count} nulls")
    compute = require("pyarrow.compute", feature="Samples tables (Parquet)", extra="train")
    for name in ("oracle_score", "proxy_score"):
        if name in table.column_names and compute.any(compute.is_nan(table[name])).as_py():
            raise DataError(f"{where}: column {name!r} holds NaN; leave unknown scores null")
    if scored:
        column = "oracle_score"
        absent = table.num_rows if column not in table.column_names else table[column].null_count
        if absent:
            raise DataError(f"{where}: {absent} of {table.num_rows} rows have no {column}")
