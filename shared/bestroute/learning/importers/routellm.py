"""Mixtral-8x7B beside gpt-4-1106-preview on GSM8K and MMLU (lm-sys/RouteLLM)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bestroute.errors import DataError
from bestroute.learning.importers.base import (
    Imported,
    csv_rows,
    imported,
    pool_of,
    split_of,
    tokens_of,
)

_MODELS = {
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b",
    "gpt-4-1106-preview": "gpt-4-1106-preview",
}
_PRICES = {"mixtral-8x7b": (0.6, 0.6), "gpt-4-1106-preview": (10.0, 30.0)}

NOTES = (
    "One response a model. MMLU holds no responses: one completion token is charged. Tokens are "
    "else characters / 4. $ per 1M tokens in/out, list prices of the time: Mixtral-8x7B 0.6/0.6, "
    "gpt-4-1106-preview 10/30 (the reference)."
)


def read_routellm(path: Path, *, seed: int = 0) -> Imported:
    """Read CSV files: one file, or all below a folder; GSM8K's and MMLU's subjects are tasks.

    Raises:
        DataError: There is none, or one lacks a column.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.csv*"))
    if not files:
        raise DataError(f"{path}: no CSV file in it")
    rows = [row for file in files for row in _rows(file, seed)]
    return imported(rows, pool_of(_PRICES, "gpt-4-1106-preview"), NOTES)


def _rows(file: Path, seed: int) -> Iterator[dict[str, Any]]:
    task = file.name.partition(".")[0].removesuffix("_responses")
    seen: set[str] = set()
    for record in csv_rows(file):
        missing = [name for name in ("prompt", *_MODELS) if name not in record]
        if missing:
            raise DataError(f"{file}: no column {missing[0]!r}")
        prompt = record["prompt"] or ""
        query_id = f"{task}-{hashlib.sha256(prompt.encode()).hexdigest()[:12]}"
        if query_id in seen:
            continue  # a few questions of MMLU are there twice
        seen.add(query_id)
        for column, model in _MODELS.items():
            response = record.get(f"{column}_response")
            yield {
                "query_id": query_id,
                "query": prompt,
                "task": task,
                "split": split_of(query_id, seed),
                "model": model,
                "sample": 0,
                "response": response or "",
                "prompt_tokens": tokens_of(prompt),
                "completion_tokens": tokens_of(response) if response else 1,
                "oracle_score": float(record[column] == "True"),
            }
