"""Date understanding, several samples of three models (MurongYue/LLM_MoT_cascade, ICLR 2024)."""

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

_RUNS = {
    "llama2_13B/date_pot2": "llama2-13b",
    "GPT3/date_pot2_t=0.8": "gpt-3.5-turbo",
    "GPT4/date_cot2": "gpt-4",
}
_PRICES = {"llama2-13b": (0.2, 0.2), "gpt-3.5-turbo": (1.5, 2.0), "gpt-4": (30.0, 60.0)}
_MAX_SAMPLES = {"llama2-13b": 5, "gpt-3.5-turbo": 10}
_EXAMPLES = 1000

NOTES = (
    "Runs: llama2_13B/date_pot2 (10 samples), GPT3/date_pot2_t=0.8 (20), GPT4/date_cot2 (3, the "
    "reference). Split by scenario, the text before `What is the date`. A program stands in a code "
    "block with its recorded output below, where self-consistency reads it; what gave no answer "
    "is an empty response. Tokens are characters / 4 of the response as it was, and 1,000 prompt "
    "tokens for the examples that the file leaves out. "
    "$ per 1M tokens in/out, list prices of the time: 0.2/0.2, 1.5/2, 30/60."
)


def read_mot_date(path: Path, *, seed: int = 0) -> Imported:
    """Read the folder that holds `samples.jsonl.gz`."""
    pool = pool_of(_PRICES, "gpt-4", max_samples=_MAX_SAMPLES)
    return imported(_rows(path / "samples.jsonl.gz", seed), pool, NOTES)


def _rows(path: Path, seed: int) -> Iterator[dict[str, Any]]:
    for record in json_lines(path):
        if record["run"] not in _RUNS:
            continue
        question, response = record["question"], record["response"]
        yield {
            "query_id": f"date-{record['qid']}",
            "query": question,
            "task": "date",
            "split": split_of(question.partition("What is the date")[0].strip(), seed),
            "model": _RUNS[record["run"]],
            "sample": record["sample"],
            "response": _answered(record),
            "prompt_tokens": _EXAMPLES + tokens_of(question),
            "completion_tokens": tokens_of(response),
            "oracle_score": float(record["correct"]),
        }


def _answered(record: dict[str, Any]) -> str:
    """The response, its recorded answer on its last line; empty where it has none."""
    response, answer = record["response"].strip(), record["answer"]
    if not answer:
        return ""
    return f"```python\n{response}\n```\nA: {answer}" if "pot" in record["run"] else response
