"""The reference implementation's merged JSONL (microsoft/best-route-llm).

One object a query: `id`, `prompt`, and for every model `{"responses": [...], "armoRM_scores":
[...], "token_num_prompt": 9, "token_num_responses": [...], "ourRM_scores": [...]}`, the last once
the proxy reward model has scored. Read from its README @ 5aa3720 and from the notebooks that write
it (a copy in ynulihao/LLMRouterBench @ 5aa32c9). No such file is published, so none was seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bestroute.errors import DataError
from bestroute.learning.importers.base import (
    Imported,
    imported,
    json_lines,
    listed,
    pool_of,
    split_of,
    tokens_of,
)

_PRICES = {
    "mistral-7b": (0.25, 0.25),
    "llama-31-8b": (0.3, 0.61),
    "phi-3-mini": (0.3, 0.9),
    "mistral-8x7b": (0.7, 0.7),
    "phi-3-medium": (0.5, 1.5),
    "codestral-22b": (1.0, 3.0),
    "gpt-35-turbo": (3.0, 6.0),
    "gpt-4o": (5.0, 15.0),
}
_REFERENCE = "gpt-4o"
_LARGEST = 5
_SPLITS = {"train": "train", "validation": "calibration", "test": "test"}
_LISTS = {
    "armoRM_scores": "oracle_score",
    "ourRM_scores": "proxy_score",
    "token_num_responses": "completion_tokens",
}

NOTES = (
    "Oracle score: ArmoRM; proxy score: the paper's reward model, where the file has it. A file "
    "named ..._train, ..._validation or ..._test keeps its split, validation being calibration. "
    "Best-of-n up to 5, the reference once, $ per 1M tokens in/out: the paper's (2506.22716); "
    "models that it does not price are left out. Where the file counts no tokens: characters / 4."
)


def read_best_route(path: Path, *, seed: int = 0) -> Imported:
    """Read one file, or every JSONL file of a folder.

    Raises:
        DataError: There is none, a field is missing, or the reference gpt-4o is not in it.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.jsonl*"))
    rows = listed(row for file in files for row in _rows(file, seed))
    found = {row["model"] for row in rows}
    if _REFERENCE not in found:
        raise DataError(f"{path}: no JSONL file with responses of {_REFERENCE}, the reference")
    prices = {name: price for name, price in _PRICES.items() if name in found}
    sizes = {name: _LARGEST for name in prices if name != _REFERENCE}
    return imported(rows, pool_of(prices, _REFERENCE, max_samples=sizes), NOTES)


def _rows(file: Path, seed: int) -> Iterator[dict[str, Any]]:
    split = _SPLITS.get(file.name.partition(".")[0].rpartition("_")[2])
    for record in json_lines(file):
        for model in [name for name in _PRICES if name in record]:
            for sample in _samples(record[model], record["prompt"], f"{file}: {record['id']}"):
                yield {
                    "query_id": record["id"],
                    "query": record["prompt"],
                    "task": record["id"].rpartition("/")[0],
                    "split": split or split_of(record["id"], seed),
                    "model": model,
                    **sample,
                }


def _samples(answered: dict[str, Any], prompt: str, where: str) -> Iterator[dict[str, Any]]:
    responses = answered["responses"]
    for name in [name for name in _LISTS if name in answered]:
        if len(answered[name]) != len(responses):
            raise DataError(
                f"{where}: {len(responses)} responses, but {len(answered[name])} {name}"
            )
    for sample, response in enumerate(responses):
        yield {
            "sample": sample,
            "response": response,
            "prompt_tokens": answered.get("token_num_prompt", tokens_of(prompt)),
            "completion_tokens": tokens_of(response),
            **{
                column: answered[name][sample]
                for name, column in _LISTS.items()
                if name in answered
            },
        }
