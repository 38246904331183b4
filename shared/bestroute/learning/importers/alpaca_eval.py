"""Judged answers to 805 instructions (tatsu-lab/alpaca_eval)."""

from __future__ import annotations

import hashlib
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

_REFERENCE = "gpt4_1106_preview"
_PRICES = {
    "FuseChat-Llama-3.2-1B-Instruct": (0.1, 0.1),
    "gpt-3.5-turbo-1106": (1.0, 2.0),
    "claude-instant-1.2": (0.8, 2.4),
    "claude-2": (8.0, 24.0),
    _REFERENCE: (10.0, 30.0),
}

NOTES = (
    "One response a model; the oracle score is the judge's raw preference against "
    "gpt-4-1106-preview in [0, 1], that of the reference 0.5 by definition. The judge favours "
    "long answers. Tokens are characters / 4. $ per 1M tokens in/out, list prices of the time: "
    "gpt-3.5-turbo-1106 1/2, claude-instant-1.2 0.8/2.4, claude-2 8/24, gpt-4-1106-preview 10/30 "
    "(the reference); FuseChat-Llama-3.2-1B as if hosted at 0.1/0.1."
)


def read_alpaca_eval(path: Path, *, seed: int = 0) -> Imported:
    """Read the folder that holds `outputs_prefs.jsonl.gz`; its five sources are the tasks."""
    return imported(
        _rows(path / "outputs_prefs.jsonl.gz", seed), pool_of(_PRICES, _REFERENCE), NOTES
    )


def _rows(path: Path, seed: int) -> Iterator[dict[str, Any]]:
    for record in json_lines(path):
        if record["model"] not in _PRICES:
            continue
        text = record["instruction"]
        query_id = hashlib.sha256(text.encode()).hexdigest()[:12]
        yield {
            "query_id": query_id,
            "query": text,
            "task": record["dataset"],
            "split": split_of(query_id, seed),
            "model": record["model"],
            "sample": 0,
            "response": record["output"] or "",
            "prompt_tokens": tokens_of(text),
            "completion_tokens": tokens_of(record["output"] or ""),
            "oracle_score": float(record["win_prob_vs_gpt4_1106"]),
        }
