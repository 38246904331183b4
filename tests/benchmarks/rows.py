"""One row a measurement, with the bar it was held against; what every suite gives."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


class Row(BaseModel):
    """A measurement.

    Attributes:
        name: What was measured, in words.
        value: What came out.
        unit: Of the value: x (a ratio of two things measured side by side), ms, s, MB ...
        bar: What was hoped for, such as "<= 2"; `None` where the value only stands beside others.
        passed: Whether the value clears the bar; `pass` in JSON.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    name: str
    value: float
    unit: str
    bar: str | None = None
    passed: bool | None = Field(default=None, alias="pass")


def at_most(name: str, value: float, unit: str, bar: float) -> Row:
    """A row whose value should not exceed the bar."""
    return Row(name=name, value=value, unit=unit, bar=f"<= {bar:g}", passed=value <= bar)


def at_least(name: str, value: float, unit: str, bar: float) -> Row:
    """A row whose value should reach the bar."""
    return Row(name=name, value=value, unit=unit, bar=f">= {bar:g}", passed=value >= bar)


def beside(name: str, value: float, unit: str) -> Row:
    """A row without a bar."""
    return Row(name=name, value=value, unit=unit)


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| measured | value | bar | |", "|---|---|---|---|"]
    verdicts = {True: "pass", False: "falls short", None: ""}
    for row in rows:
        value = f"{row.value:.3g} {row.unit}".rstrip()
        lines.append(f"| {row.name} | {value} | {row.bar or ''} | {verdicts[row.passed]} |")
    return "\n".join(lines)


def write(rows: Iterable[Row], path: Path) -> None:
    """The rows as JSON: `{"rows": [{"name", "value", "unit", "bar", "pass"}]}`."""
    plain = [row.model_dump(by_alias=True) for row in rows]
    path.write_text(json.dumps({"rows": plain}, indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> list[Row]:
    """What `write` wrote."""
    return [Row.model_validate(each) for each in json.loads(path.read_text("utf-8"))["rows"]]


def main(measure: Callable[[], Iterable[Row]]) -> None:
    """Run one suite: `python -m tests.benchmarks.SUITE [--json out.json]`."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--json", type=Path, help="Write the rows.")
    arguments = parser.parse_args()
    rows = list(measure())
    sys.stdout.write(table(rows) + "\n")
    if arguments.json is not None:
        write(rows, arguments.json)
