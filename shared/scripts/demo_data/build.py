"""Check the recorded responses against the truth and pack them into the shipped Parquet file.

    python shared/scripts/demo_data/build.py

Reads the parts that `generate.py` wrote, scores every response with its prompt's own check, and
writes the samples table and its data card's checksum into the package.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generate import COUNTS, PARTS, messages_of, recorded  # noqa: E402
from prompts import build  # noqa: E402

from bestroute.learning.samples import canonical, read_samples, write_samples  # noqa: E402
from bestroute.learning.verifiers import verify  # noqa: E402

DATA = HERE.parents[1] / "bestroute" / "data" / "demo_samples.parquet"


def scored_rows(partial: bool) -> list[dict[str, Any]]:
    """Rows of the samples table, prompt by prompt, with oracle scores."""
    by_messages: dict[str, list[dict[str, Any]]] = {}
    for model in COUNTS:
        for row in recorded(PARTS / f"{model}.jsonl"):
            by_messages.setdefault(row["messages"], []).append(row)
    prompts = build()
    recordings = {p.id: by_messages.get(canonical(messages_of(p)), []) for p in prompts}
    whole = [p for p in prompts if len(recordings[p.id]) == sum(COUNTS.values())]
    if len(whole) < len(prompts) and not partial:
        raise SystemExit(f"{len(prompts) - len(whole)} prompts are not recorded yet: generate.py")
    rows = []
    for prompt in track(whole, description="verifying"):
        shared = {
            "query_id": prompt.id,
            "query": prompt.text,
            "task": prompt.family,
            "split": prompt.split,
            "check": prompt.check.model_dump_json(),
        }
        rows += [
            {**row, **shared, "oracle_score": verify(prompt.check, row["response"])}
            for row in recordings[prompt.id]
        ]
    return rows


def accuracy_table(rows: list[dict[str, Any]]) -> Table:
    """Mean oracle score by family and model: what the data card shows."""
    table = Table("family", *COUNTS, title="right with one sample")
    right: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for family in (row["task"], "all"):
            right[family, row["model"]] += row["oracle_score"]
            total[family, row["model"]] += 1
    for family in dict.fromkeys([*sorted({row["task"] for row in rows}), "all"]):
        shares = (f"{right[family, m] / max(1, total[family, m]):.2f}" for m in COUNTS)
        table.add_row(family, *shares)
    return table


def main(
    output: Annotated[Path, typer.Option(help="Where to write.")] = DATA,
    partial: Annotated[bool, typer.Option(help="Pack what there is.")] = False,
) -> None:
    """Score and pack."""
    console = Console()
    rows = scored_rows(partial)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_samples(rows, output)
    table = read_samples(output, scored=True)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    console.print(accuracy_table(rows))
    console.print(f"{output}: {table.num_rows} rows, {output.stat().st_size:,} bytes\n{digest}")


if __name__ == "__main__":
    typer.run(main)
