"""LangChain's own two suites on ChatBestRoute and on its neighbours, against the same server.

`python -m tests.benchmarks.langchain_suites [--json out.json] [--markdown]`: the neighbours are
run where they are installed; nothing installs them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, dataclass, field
from pathlib import Path

CLASSES = Path(__file__).with_name("neighbours.py")
MODELS = {
    "ChatBestRoute": ("BestRoute", "bestroute"),
    "ChatLiteLLM": ("LiteLLM", "langchain-litellm"),
    "ChatOpenAI": ("OpenAI", "langchain-openai"),
}
HEAD = ("model", "version", "unit", "integration")


@dataclass
class Counts:
    """How the items of one suite ended; `failures` are their names."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """As in the table."""
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(suite: str) -> Counts:
    """Run one class in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
        command += ["--benchmark-disable", f"--junit-xml={report}", f"{CLASSES}::{suite}"]
        done = subprocess.run(command, cwd=CLASSES.parents[2], capture_output=True, text=True)
        if not report.exists():
            raise SystemExit(f"{suite} did not run:\n{done.stdout}{done.stderr}")
        cases = ElementTree.parse(report).iter("testcase")  # our own report
        counts = Counts()
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                counts.failed += 1
                counts.failures.append(case.attrib["name"])
            elif case.find("skipped") is not None:
                counts.skipped += 1
            else:
                counts.passed += 1
        return counts


def version(package: str) -> str | None:
    """The installed version, if any."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def table(rows: list[tuple[str, ...]], *, markdown: bool) -> str:
    """The rows under their head."""
    whole = [HEAD, *rows]
    if markdown:
        whole.insert(1, ("---",) * len(HEAD))
        return "".join(f"| {' | '.join(row)} |\n" for row in whole)
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in whole
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


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
        rows.append((model, installed, *map(str, results[model].values())))
    sys.stdout.write(table(rows, markdown=options.markdown))
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


if __name__ == "__main__":
    main()
