"""Greedy responses to GSM8K and CRUX (WildEval/ZeroEval)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bestroute.learning.importers.base import (
    Imported,
    imported,
    json_lines,
    pool_of,
    split_of,
    tokens_of,
)

_PRICES = {
    "gemma-2-2b-it": (0.1, 0.1),
    "Meta-Llama-3.1-8B-Instruct": (0.18, 0.18),
    "gpt-4o-mini-2024-07-18": (0.15, 0.6),
    "gpt-4o-2024-08-06": (2.5, 10.0),
}

NOTES = (
    "One greedy response a model; `correct` is a plain string or number match. Tokens are "
    "characters / 4, the instructions around the question left out. $ per 1M tokens in/out, "
    "list prices of 2024: gemma-2-2b-it 0.1/0.1, Llama-3.1-8B 0.18/0.18, gpt-4o-mini 0.15/0.6, "
    "gpt-4o 2.5/10 (the reference)."
)


def read_zeroeval(path: Path, *, seed: int = 0) -> Imported:
    """Read the folder that holds `gsm.*` and `crux.*`; these are the tasks."""
    rows = [row for task in ("gsm", "crux") for row in _rows(path, task, seed)]
    return imported(rows, pool_of(_PRICES, "gpt-4o-2024-08-06"), NOTES)


def _rows(path: Path, task: str, seed: int) -> Iterator[dict[str, Any]]:
    questions = {
        each["id"]: each["question"] for each in json_lines(path / f"{task}.questions.jsonl.gz")
    }
    for record in json_lines(path / f"{task}.responses.jsonl.gz"):
        if record["model"] not in _PRICES:
            continue
        question = questions[record["id"]]
        yield {
            "query_id": record["id"],
            "query": question,
            "task": task,
            "split": split_of(record["id"], seed),
            "model": record["model"],
            "sample": 0,
            "response": record["output"],
            "prompt_tokens": tokens_of(question),
            "completion_tokens": tokens_of(record["output"]),
            "oracle_score": float(record["correct"]),
        }
