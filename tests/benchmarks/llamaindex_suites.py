"""The suite for LlamaIndex LLMs on BestRouteLLM and on its neighbours, against the same server.

`python -m tests.benchmarks.llamaindex_suites [--json out.json] [--markdown]`: the neighbours are
run where they are installed; nothing installs them. Cells are passed / failed / skipped; a skip
is a claim that the class does not make. Failures are named on stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.suites import Counts, outcomes, table, version
from tests.llamaindex_suite import LLMSuite

CLASSES = Path(__file__).with_name("llamaindex_neighbours.py")
MODELS = {
    "BestRouteLLM, three samples": ("TestBestRoute", "bestroute"),
    "BestRouteLLM, one sample": ("TestBestRouteOne", "bestroute"),
    "LiteLLM": ("TestLiteLLM", "llama-index-llms-litellm"),
    "OpenAILike": ("TestOpenAILike", "llama-index-llms-openai-like"),
}
TOTAL = "in total"


def grouped(ended: Mapping[str, str]) -> dict[str, Counts]:
    """Counts by group, and in total."""
    group_of = LLMSuite.groups()
    counts = {group: Counts() for group in (*dict.fromkeys(group_of.values()), TOTAL)}
    for name, outcome in ended.items():
        for group in (group_of[name.partition("[")[0]], TOTAL):
            counts[group].add(name, outcome)
    return counts


def main() -> None:
    """Run all, write the table and the failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the counts and the failures here")
    parser.add_argument("--markdown", action="store_true", help="write the table as Markdown")
    options = parser.parse_args()
    results: dict[str, dict[str, Counts]] = {}
    for model, (suite, package) in MODELS.items():
        if installed := version(package):
            results[f"{model} ({installed})"] = grouped(outcomes(CLASSES, suite))
        else:
            sys.stderr.write(f"{model}: {package} is not installed\n")
    rows = [
        (group, *(_cell(counts[group]) for counts in results.values()))
        for group in next(iter(results.values()))
    ]
    sys.stdout.write(table(("", *results), rows, markdown=options.markdown))
    for model, counts in results.items():
        for name in counts[TOTAL].failures:
            sys.stderr.write(f"{model}: {name} failed\n")
    if options.json:
        plain = {
            model: {group: asdict(each) for group, each in counts.items()}
            for model, counts in results.items()
        }
        options.json.write_text(json.dumps(plain, indent=2) + "\n")


def _cell(counts: Counts) -> str:
    return f"{counts.passed} / {counts.failed} / {counts.skipped}"


if __name__ == "__main__":
    main()
