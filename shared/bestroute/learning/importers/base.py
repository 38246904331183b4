"""What importers have in common: rows of the samples table, splits, tokens, prices."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bestroute._extras import require
from bestroute.errors import DataError
from bestroute.learning.samples import schema
from bestroute.learning.samples import split_of as drawn_split
from bestroute.pool import ModelPool

if TYPE_CHECKING:
    import pyarrow as pa

SHARES = (0.5, 0.15, 0.35)
"""Shares of the queries in train, calibration and test."""

Prices = Mapping[str, tuple[float, float]]
"""Model -> $ per 1M tokens, in and out."""


@dataclass(frozen=True)
class Imported:
    """Recorded responses as a samples table.

    Attributes:
        table: In the schema of the samples table, with oracle scores and splits.
        pool: The models of the table, with the prices of `notes`.
        notes: What had to be assumed, in words.
    """

    table: pa.Table
    pool: ModelPool
    notes: str


class Importer(Protocol):
    """Reads one layout."""

    def __call__(self, path: Path, *, seed: int = 0) -> Imported:
        """Read recorded responses.

        Args:
            path: A file or a folder, as the layout has it.
            seed: Of the split.

        Raises:
            DataError: It is not of this layout.
        """
        ...


def imported(rows: Iterable[dict[str, Any]], pool: ModelPool, notes: str) -> Imported:
    """Rows of the samples table, as a table.

    Raises:
        DataError: There is no row, or a record of the file lacks a field or has it in another type.
    """
    arrow = require("pyarrow", feature="Importing samples", extra="train")
    records = listed(rows)
    if not records:
        raise DataError("no query that all of the layout's models have a score for")
    try:
        return Imported(arrow.Table.from_pylist(records, schema()), pool, notes)
    except arrow.ArrowException as error:
        raise DataError(f"a field is of another type than the layout has it: {error}") from error


def listed(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows that a reader gives.

    Raises:
        DataError: A record of the file lacks a field.
    """
    try:
        return list(rows)
    except KeyError as error:
        raise DataError(f"a record has no {error}; is it of this layout?") from error


def split_of(key: str, seed: int) -> str:
    """The split of a query, or of the group that it belongs to, in `SHARES`."""
    return drawn_split(key, seed, SHARES)


def tokens_of(text: str) -> int:
    """About as many tokens as a text has: four characters are one."""
    return max(1, round(len(text) / 4))


def pool_of(
    prices: Prices, reference: str, *, max_samples: Mapping[str, int] | None = None
) -> ModelPool:
    """A pool of recorded models, whose providers bill the prompt once for n samples."""
    sizes = max_samples or {}
    return ModelPool.from_dict(
        {
            "models": [
                {
                    "name": name,
                    "model": f"recorded/{name}",
                    "price": {"input": given, "output": made},
                    "max_samples": sizes.get(name, 1),
                    "reference": name == reference,
                    "native_n": True,
                }
                for name, (given, made) in prices.items()
            ]
        }
    )


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSONL file, gzipped or not.

    Raises:
        DataError: It is absent, or a line is no JSON object.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise DataError(f"{path}:{number}: expected a JSON object")
                yield record
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DataError(f"{path}: is not JSONL ({error})") from error


def csv_rows(path: Path) -> list[dict[str, str | None]]:
    """Rows of a CSV file, gzipped or not, every value as the text that stands there.

    Raises:
        DataError: It is absent or damaged.
    """
    arrow = require("pyarrow", feature="Importing samples", extra="train")
    csv = require("pyarrow.csv", feature="Importing samples", extra="train")
    layout = csv.ParseOptions(newlines_in_values=True)
    try:
        with csv.open_csv(str(path), parse_options=layout) as opened:
            texts = dict.fromkeys(opened.schema.names, arrow.string())
        table = csv.read_csv(
            str(path),
            parse_options=layout,
            convert_options=csv.ConvertOptions(
                column_types=texts, null_values=[""], strings_can_be_null=True
            ),
        )
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from error
    rows: list[dict[str, str | None]] = table.to_pylist()
    return rows
