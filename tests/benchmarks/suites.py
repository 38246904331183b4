"""A test suite run on several classes, each in a process of its own, and the table of it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PYTEST = ("-q", "-p", "no:cacheprovider", "-W", "ignore", "--tb=line", "--benchmark-disable")


@dataclass
class Counts:
    """How the items of a suite ended; `failures` are their names."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, outcome: str) -> None:
        """One more item; its outcome is passed, failed or skipped."""
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome == "failed":
            self.failures.append(name)


def outcomes(classes: Path, suite: str) -> dict[str, str]:
    """Run one class; passed, failed or skipped by the item's name.

    Args:
        classes: A file of test classes.
        suite: The class.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *_PYTEST, f"--junit-xml={report}"]
        done = subprocess.run(
            [*command, f"{classes}::{suite}"], cwd=_ROOT, capture_output=True, text=True
        )
        if not report.exists():
            raise SystemExit(f"{suite} did not run:\n{done.stdout}{done.stderr}")
        ended: dict[str, str] = {}
        for case in ElementTree.parse(report).iter("testcase"):  # our own report
            name = case.attrib["name"]  # again, where its fixture failed too
            ended[name] = "failed" if ended.get(name) == "failed" else _outcome(case)
        return ended


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "passed" if case.find("skipped") is None else "skipped"


def version(package: str) -> str | None:
    """The installed version, if any."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """The rows under their head."""
    whole = [head, *rows]
    if markdown:
        whole.insert(1, ("---",) * len(head))
        return "".join(f"| {' | '.join(row)} |\n" for row in whole)
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in whole
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)
