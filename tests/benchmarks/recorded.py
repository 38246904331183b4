"""The recorded data that the benchmarks run on, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from bestroute.learning.importers import IMPORTERS
from bestroute.learning.samples import read_samples
from bestroute.pool import ModelPool

ROOT = Path(os.environ.get("BESTROUTE_DATA", "../shared/data"))


@dataclass(frozen=True)
class Recorded:
    """A scored samples table, its pool, its public source and what was assumed."""

    name: str
    table: Any
    pool: ModelPool
    source: str
    notes: str


def _demo() -> tuple[Any, ModelPool, str]:
    data = Path(str(resources.files("bestroute") / "data"))
    table = read_samples(data / "demo_samples.parquet", scored=True)
    notes = "Our own recording; prices are as if (see the data card)."
    return table, ModelPool.from_yaml(data / "demo_pool.yaml"), notes


def _layout(layout: str, folder: str, task: str | None = None) -> Callable[[], Any]:
    def read() -> tuple[Any, ModelPool, str]:
        found = IMPORTERS[layout](ROOT / folder)
        table = found.table
        if task is not None:
            table = table.filter(pc.equal(table["task"], task))
        return table, found.pool, found.notes

    return read


SETS: dict[str, tuple[str, Callable[[], Any]]] = {
    "demo": ("the samples shipped with this package", _demo),
    "mot-date": (
        "MurongYue/LLM_MoT_cascade @ 8db97e6",
        _layout("mot-date", "mot_date"),
    ),
    "zeroeval-gsm": ("WildEval/ZeroEval @ 8c1485e", _layout("zeroeval", "zeroeval", "gsm")),
    "zeroeval-crux": ("WildEval/ZeroEval @ 8c1485e", _layout("zeroeval", "zeroeval", "crux")),
    "zeroeval": ("WildEval/ZeroEval @ 8c1485e, both tasks", _layout("zeroeval", "zeroeval")),
    "routerbench": (
        "withmartian/routerbench, slice in shuhao02/RouterDC @ 0e63989",
        _layout("routerbench", "routerbench_slice/routerbench_zs"),
    ),
    "alpaca-eval": ("tatsu-lab/alpaca_eval @ cd543a1", _layout("alpaca-eval", "alpaca_eval")),
    "routellm-gsm8k": ("lm-sys/RouteLLM @ 0b64fda", _layout("routellm", "routellm/gsm8k")),
    "routellm-mmlu": ("lm-sys/RouteLLM @ 0b64fda", _layout("routellm", "routellm/mmlu")),
}
"""Name -> (public source and commit, reader)."""


def load(name: str) -> Recorded:
    """Read one set; SystemExit says where it should be if it is absent."""
    source, read = SETS[name]
    if name != "demo" and not ROOT.is_dir():
        raise SystemExit(f"{name}: no recorded data at {ROOT} (BESTROUTE_DATA): skipped")
    table, pool, notes = read()
    return Recorded(name, table, pool, source, notes)
