"""Check the recorded responses against the truth and pack them into the shipped Parquet file.

    python shared/scripts/demo_data/build.py

Takes what `generate.py` recorded, scores every response with its prompt's own check, and
writes the samples table and its data card into the package.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generate import COUNTS, DATA, RECORDED, SAMPLING, messages_of, recordings  # noqa: E402
from local_models import MODELS  # noqa: E402
from prompts import build  # noqa: E402

from bestroute.learning.samples import SPLITS, canonical, read_samples, write_samples  # noqa: E402
from bestroute.learning.scoring.verifiers import verify  # noqa: E402


def scored_rows(partial: bool) -> list[dict[str, Any]]:
    """Rows of the samples table, prompt by prompt, with oracle scores."""
    known = [recordings(model) for model in COUNTS]
    prompts = build()
    asked = {p.id: canonical(messages_of(p)) for p in prompts}
    rows_of = {i: [row for each in known for row in each.get(m, ())] for i, m in asked.items()}
    whole = [p for p in prompts if len(rows_of[p.id]) == sum(COUNTS.values())]
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
            for row in rows_of[prompt.id]
        ]
    return rows


def accuracies(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Mean oracle score of one sample, model by model, for every family and for all."""
    scores: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for family in (row["task"], "all"):
            by_model = scores.setdefault(family, {model: [] for model in COUNTS})
            by_model[row["model"]].append(row["oracle_score"])
    names = sorted(scores, key=lambda family: (family == "all", family))
    return {name: [fmean(scores[name][model]) for model in COUNTS] for name in names}


def data_card(rows: list[dict[str, Any]], data: bytes) -> str:
    """Fill in the card's template."""
    splits = Counter(row["split"] for row in {row["query_id"]: row for row in rows}.values())
    table = ["| family | " + " | ".join(COUNTS) + " |", "|---" * (len(COUNTS) + 1) + "|"]
    for family, shares in accuracies(rows).items():
        table.append(f"| {family} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    weights = [
        f"| {model} | {MODELS[model].origin} | {count} | `{MODELS[model].sha256}` |"
        for model, count in COUNTS.items()
    ]
    return Template((HERE / "DATA_CARD.md.in").read_text(encoding="utf-8")).substitute(
        rows=f"{len(rows):,}",
        prompts=sum(splits.values()),
        splits=", ".join(f"{splits[split]} {split}" for split in SPLITS),
        bytes=f"{len(data):,}",
        sha256=hashlib.sha256(data).hexdigest(),
        days=RECORDED,
        runtime=f"xllamacpp {version('xllamacpp')}, LiteLLM {version('litellm')}",
        sampling=canonical(SAMPLING),
        weights="\n".join(weights),
        accuracy="\n".join(table),
    )


def main(
    output: Annotated[Path, typer.Option(help="Where to write.")] = DATA,
    partial: Annotated[bool, typer.Option(help="Pack what there is.")] = False,
) -> None:
    """Score and pack."""
    console = Console()
    rows = scored_rows(partial)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_samples(rows, output)
    read_samples(output, scored=True)
    card = data_card(rows, output.read_bytes())
    (output.parent / "DATA_CARD.md").write_text(card, encoding="utf-8")
    console.print(card, markup=False)


if __name__ == "__main__":
    typer.run(main)
