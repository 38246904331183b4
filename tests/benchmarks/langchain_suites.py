"""LangChain's own two suites on ChatBestRoute and on its neighbours, against the same server.

`python -m tests.benchmarks.langchain_suites [--json out.json] [--markdown]`: the neighbours are
run where they are installed; nothing installs them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.suites import Counts, outcomes, table, version

CLASSES = Path(__file__).with_name("neighbours.py")
MODELS = {
    "ChatBestRoute": ("BestRoute", "bestroute"),
    "ChatLiteLLM": ("LiteLLM", "langchain-litellm"),
    "ChatOpenAI": ("OpenAI", "langchain-openai"),
}
HEAD = ("model", "version", "unit", "integration")


def run(suite: str) -> Counts:
    """Run one class."""
    counts = Counts()
    for name, outcome in outcomes(CLASSES, suite).items():
        counts.add(name, outcome)
    return counts


def main() -> None:
    """Run all, write the table and the failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the counts and the failures here")
    parser.add_argument("--markdown", action="store_true", help="write the table as Markdown")
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    results: dict[str, dict[str, Counts]] = {}
    for model, (prefix, package) in MODELS.items():
        if (installed := version(package)) is None:
            rows.append((model, "not installed", "", ""))
            continue
        results[model] = {kind: run(f"Test{prefix}{kind.title()}") for kind in HEAD[2:]}
        rows.append((model, installed, *map(_cell, results[model].values())))
    sys.stdout.write(table(HEAD, rows, markdown=options.markdown))
    for model, suites in results.items():
        for kind, counts in suites.items():
            for name in counts.failures:
                sys.stdout.write(f"{model}, {kind}: {name} failed\n")
    if options.json:
        plain = {
            model: {kind: asdict(counts) for kind, counts in suites.items()}
            for model, suites in results.items()
        }
        options.json.write_text(json.dumps(plain, indent=2) + "\n")


def _cell(counts: Counts) -> str:
    return f"{counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped"


if __name__ == "__main__":
    main()
