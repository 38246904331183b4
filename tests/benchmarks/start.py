"""How long it takes until one can route: imports, and loading a saved router.

Every measurement is a process of its own, by turns; CPU seconds, medians. Importing is held
against a process that imports numpy and pydantic only. The router is that of `bestroute demo`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.benchmarks.rows import Row, at_most, beside, main

RUNS = 9
HEAVY = (
    *("litellm", "torch", "transformers", "onnxruntime", "sklearn", "scipy", "pyarrow"),
    *("matplotlib", "huggingface_hub", "langchain_core", "llama_index", "typer", "rich"),
)

_BASE = "import numpy, pydantic; pydantic.BaseModel"
_NAMES = f"{_BASE}; from bestroute import *"
_LOAD = f"{_NAMES}; began = clock(); BestRoute.from_pretrained({{folder!r}})"
_TOLD = (
    "import json, sys, time; clock = time.process_time; began = clock(); {code}; "
    "print(json.dumps([clock() - began, sorted(sys.modules)]))"
)


def measure() -> Iterator[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        _fit(Path(folder))
        codes = {"base": _BASE, "names": _NAMES, "load": _LOAD.format(folder=folder)}
        taken: dict[str, list[float]] = {name: [] for name in codes}
        for _ in range(RUNS):
            for name, code in codes.items():
                seconds, modules = _run(code, cache)
                taken[name].append(seconds)
    base, names, load = (median(each) for each in taken.values())
    yield at_most("from bestroute import *, beyond numpy and pydantic", names - base, "s", 0.3)
    yield beside("numpy and pydantic", base, "s")
    yield at_most("BestRoute.from_pretrained, static encoder", load, "s", 0.5)
    heavy = [name for name in HEAVY if name in modules]
    yield at_most("heavy packages imported until then", len(heavy), "", 0)


def _fit(folder: Path) -> None:
    """The router of `bestroute demo`."""
    from bestroute import ModelPool
    from bestroute.learning.fit import fit
    from bestroute.learning.samples import read_samples
    from tests.benchmarks.routers import DATA

    table = read_samples(DATA / "demo_samples.parquet", scored=True)
    pool = ModelPool.from_yaml(DATA / "demo_pool.yaml")
    fit(table, pool, baselines=()).engine.save_pretrained(folder)


def _run(code: str, cache: str) -> tuple[float, list[str]]:
    """CPU seconds of some code in a new process, and the modules that it has imported."""
    told = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    told["PYTHONPYCACHEPREFIX"] = cache  # pip compiles what it installs, but not a checkout
    command = [sys.executable, "-c", _TOLD.format(code=code)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=told)
    seconds, modules = json.loads(done.stdout)
    return seconds, modules


if __name__ == "__main__":
    main(measure)
