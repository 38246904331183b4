"""RouterBench's wide tables: one row a query, a score, a response and a cost for every model.

The layout of withmartian/routerbench as CSV or Parquet: `sample_id`, `prompt`, `eval_name`, one
score column a model, `MODEL|model_response`, `MODEL|total_cost` in $. Read from
`convertors/common.py` @ 30e0925, which writes it, and from a slice in shuhao02/RouterDC @ 0e63989.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bestroute._extras import require
from bestroute.errors import DataError
from bestroute.learning.importers.base import (
    Imported,
    csv_rows,
    imported,
    pool_of,
    split_of,
    tokens_of,
)

_PRICES = {
    "mistralai/mistral-7b-chat": (0.2, 0.2),
    "WizardLM/WizardLM-13B-V1.2": (0.3, 0.3),
    "mistralai/mixtral-8x7b-chat": (0.6, 0.6),
    "meta/code-llama-instruct-34b-chat": (0.776, 0.776),
    "zero-one-ai/Yi-34B-Chat": (0.8, 0.8),
    "meta/llama-2-70b-chat": (0.9, 0.9),
    "claude-instant-v1": (0.8, 2.4),
    "gpt-3.5-turbo-1106": (1.0, 2.0),
    "claude-v1": (8.0, 24.0),
    "claude-v2": (8.0, 24.0),
    "gpt-4-1106-preview": (10.0, 30.0),
}
_REFERENCE = "gpt-4-1106-preview"

NOTES = (
    "One response a model; queries that lack a score are left out. Tokens are those that make the "
    "recorded cost at the list price, so that what is charged is what was paid: characters / 4 of "
    "the prompt, less where that leaves nothing for an answer, the rest completion. "
    "$ per 1M tokens in/out as in RouterBench (2403.12031): mistral-7b 0.2, WizardLM-13B 0.3, "
    "mixtral 0.6, code-llama-34b 0.776, Yi-34B 0.8, llama-2-70b 0.9 (in and out alike), "
    "claude-instant-v1 0.8/2.4, gpt-3.5-turbo-1106 1/2, claude-v1 and v2 8/24, "
    "gpt-4-1106-preview 10/30 (the reference)."
)


def read_routerbench(path: Path, *, seed: int = 0) -> Imported:
    """Read a CSV or Parquet file, or all of a folder.

    Raises:
        DataError: There is none, one is a pickle, or lacks a column.
    """
    files = [path] if path.is_file() else sorted([*path.glob("*.csv*"), *path.glob("*.parquet")])
    files = files or sorted(path.glob("*.pkl"))
    if not files:
        raise DataError(f"{path}: no CSV or Parquet file in it")
    records = [record for file in files for record in _records(file)]
    return imported(_rows(records, seed), pool_of(_PRICES, _REFERENCE), NOTES)


def _records(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".pkl":
        raise DataError(
            f"{file} is a pickle, which can run code when it is read; where you trust it, turn it "
            "into Parquet with pandas (read_pickle, to_parquet) and import that"
        )
    if file.suffix == ".parquet":
        parquet = require("pyarrow.parquet", feature="Importing samples", extra="train")
        records: list[dict[str, Any]] = parquet.read_table(str(file)).to_pylist()
    else:
        records = csv_rows(file)
    columns = [m + part for m in _PRICES for part in ("", "|model_response", "|total_cost")]
    for name in ("sample_id", "prompt", "eval_name", *columns):
        if records and name not in records[0]:
            raise DataError(f"{file}: no column {name!r}; is it RouterBench's wide table?")
    return records


def _rows(records: list[dict[str, Any]], seed: int) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for record in records:
        prompt = _text(record["prompt"])
        # Some sample ids are there twice, with other prompts.
        query_id = f"{record['sample_id']}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}"
        if query_id in seen or any(
            record[column] is None for m in _PRICES for column in (m, f"{m}|total_cost")
        ):
            continue
        seen.add(query_id)
        for model, price in _PRICES.items():
            paid = float(record[f"{model}|total_cost"])
            read, written = _tokens(paid * 1e6, tokens_of(prompt), *price)
            yield {
                "query_id": query_id,
                "query": prompt,
                "task": record["eval_name"],
                "split": split_of(query_id, seed),
                "model": model,
                "sample": 0,
                "response": _text(record[f"{model}|model_response"]),
                "prompt_tokens": read,
                "completion_tokens": written,
                "cost": paid,
                "oracle_score": float(record[model]),
            }


def _tokens(paid: float, read: int, given: float, made: float) -> tuple[int, int]:
    """Prompt and completion tokens that cost so much, in $ per 1M at prices per 1M."""
    read = max(0, min(read, round((paid - made) / given)))
    return read, max(1, round((paid - given * read) / made))


def _text(value: Any) -> str:
    """A text, out of the one-element list that the layout writes it as."""
    text = "" if value is None else str(value)
    if not text.startswith("["):
        return text
    try:
        parts = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return "\n".join(map(str, parts)) if isinstance(parts, list) else text
