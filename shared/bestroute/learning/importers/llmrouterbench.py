"""LLMRouterBench's result files (ynulihao/LLMRouterBench, formerly OpenRouterBench).

`bench/DATASET/SPLIT/MODEL/*.json`, each with `model_name`, `dataset_name`, `split`, `demo` and
`records` of `index`, `origin_query`, `prompt`, `score`, `raw_output`, `prompt_tokens`,
`completion_tokens`, `cost`: as `data_collector/storage.py` @ 46d48d4 writes them; models and prices
from its README and `config/baseline_config_performance_cost.yaml` @ 5aa32c9. The files themselves
were not seen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bestroute.errors import DataError
from bestroute.learning.importers.base import Imported, imported, listed, pool_of, split_of
from bestroute.learning.samples import canonical

_PRICES = {
    "qwen3-235b-a22b-2507": (0.09, 0.60),
    "intern-s1": (0.18, 0.54),
    "deepseek-v3-0324": (0.25, 0.88),
    "deepseek-v3.1-terminus": (0.27, 1.00),
    "kimi-k2-0905": (0.50, 2.00),
    "deepseek-r1-0528": (0.50, 2.15),
    "glm-4.6": (0.60, 2.20),
    "gemini-2.5-flash": (0.30, 2.50),
    "qwen3-235b-a22b-thinking-2507": (0.30, 2.90),
    "gpt-5-chat": (1.25, 10.00),
    "gemini-2.5-pro": (1.25, 10.00),
    "claude-sonnet-4": (3.00, 15.00),
    "gpt-5": (1.25, 10.00),
}
_REFERENCE = "gpt-5"

NOTES = (
    "One response a model. Of the flagship models those that are there, gpt-5 the reference, at "
    "the prices in the benchmark's README, $ per 1M tokens; the small models have none and are "
    "left out. Queries that not every one of these models has a score for are left out. Of "
    "several runs of one model the last in name counts; demonstrations do not."
)


def read_llmrouterbench(path: Path, *, seed: int = 0) -> Imported:
    """Read the folder `bench`; its datasets are the tasks.

    Raises:
        DataError: A file is not of this layout, or the reference gpt-5 is not there.
    """
    runs: dict[tuple[str, ...], dict[str, Any]] = {}
    # Names end in the time of the run; result.json is of the time before they did.
    files = path.rglob("*.json")
    for file in sorted(files, key=lambda file: (file.name != "result.json", file.name)):
        run = _run(file)
        if run["model_name"] in _PRICES and not run.get("demo"):
            runs[run["dataset_name"], run["split"], run["model_name"]] = run
    found = {model for *_, model in runs}
    if _REFERENCE not in found:
        raise DataError(f"{path}: no result file of {_REFERENCE}, the reference")
    rows = listed(row for run in runs.values() for row in _rows(run, seed))
    answered = Counter(row["query_id"] for row in rows)
    complete = [row for row in rows if answered[row["query_id"]] == len(found)]
    prices = {name: price for name, price in _PRICES.items() if name in found}
    return imported(complete, pool_of(prices, _REFERENCE), NOTES)


def _run(file: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: is not JSON ({error})") from error
    for name in ("model_name", "dataset_name", "split", "records"):
        if not isinstance(run, dict) or name not in run:
            raise DataError(f"{file}: no field {name!r}; is it a result of LLMRouterBench?")
    return run


def _rows(run: dict[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    for record in run["records"]:
        if record["score"] is None:
            continue
        query_id = f"{run['dataset_name']}/{run['split']}/{record['index']}"
        yield {
            "query_id": query_id,
            "query": _text(record["origin_query"]),
            "task": run["dataset_name"],
            "split": split_of(query_id, seed),
            "model": run["model_name"],
            "sample": 0,
            "response": _text(record["raw_output"]),
            "prompt_tokens": record["prompt_tokens"],
            "completion_tokens": record["completion_tokens"],
            "cost": record["cost"],
            "oracle_score": float(record["score"]),
        }


def _text(value: Any) -> str:
    """A text, or the JSON of what is none: messages, calls of tools."""
    return value if isinstance(value, str) else canonical(value)
