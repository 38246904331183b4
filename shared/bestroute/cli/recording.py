"""Recorded models in a pool: the recording that answers for them."""

from __future__ import annotations

import json
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

from bestroute.errors import ConfigError, DataError
from bestroute.learning.collecting.workload import default_samples
from bestroute.learning.samples import read_samples
from bestroute.pool import ModelPool
from bestroute.recorded import PROVIDER, Recording

_PREFIX = f"{PROVIDER}/"


def install_recording(pool: ModelPool, path: Path | None) -> dict[str, int]:
    """Let a samples table answer for the models `recorded/...` of a pool.

    Args:
        pool: The pool.
        path: The table; by default the shipped one.

    Returns:
        Name in the pool -> samples to collect of it by default, no more than every query has; of
        the recorded models only.

    Raises:
        ConfigError: A table is given and the pool has no recorded model.
        DataError: A model of the pool is not in the table.
    """
    members = [member for member in pool.models if member.model.startswith(_PREFIX)]
    if not members:
        if path is not None:
            raise ConfigError(f"--recorded {path}: no model of the pool is {_PREFIX}...")
        return {}
    source = path or _shipped()
    table = read_samples(source)
    missing = [name for name in ("messages", "sampling") if name not in table.column_names]
    if missing:
        raise DataError(f"{source}: columns {missing} are missing: it cannot be replayed")
    Recording(table.to_pylist()).install()
    counts = Counter(zip(table["model"].to_pylist(), table["query_id"].to_pylist(), strict=True))
    limits: dict[str, int] = {}
    for (model, _), count in counts.items():
        limits[model] = min(count, limits.get(model, count))
    return {
        member.name: min(default_samples(member), _limit(member.model, limits, source))
        for member in members
    }


def recorded_questions(path: Path | None, *, split: str = "test") -> dict[str, dict[str, Any]]:
    """Questions that can be asked word for word, and the parameters they were asked with.

    Args:
        path: The samples table; by default the shipped one.
        split: Whose; those of one user message alone.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in read_samples(path or _shipped()).to_pylist():
        messages = json.loads(row["messages"])
        if row["split"] == split and [each["role"] for each in messages] == ["user"]:
            found[messages[0]["content"]] = json.loads(row["sampling"])
    return found


def _shipped() -> Path:
    return Path(str(resources.files("bestroute") / "data" / "demo_samples.parquet"))


def _limit(model: str, limits: dict[str, int], source: Path) -> int:
    name = model.removeprefix(_PREFIX)
    if name not in limits:
        raise DataError(f"{source}: nothing recorded of {name!r}; it holds {sorted(limits)}")
    return limits[name]
