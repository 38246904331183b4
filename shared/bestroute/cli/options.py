"""Options that several commands have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bestroute.learning.training.by_name import ROUTERS

Concurrency = Annotated[int, typer.Option(help="Calls under way at a time.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print calls, tokens and dollars, and ask nobody.")
]
EncoderName = Annotated[
    str, typer.Option("--encoder", help="`static`, or a HuggingFace encoder: hub id or path.")
]
JsonPath = Annotated[
    Path | None, typer.Option("--json", help="Also write the numbers here; `-` is stdout.")
]
MaxCost = Annotated[float | None, typer.Option(help="$ that all runs together may spend.")]
MaxWaves = Annotated[
    int | None, typer.Option("--max-waves", help="Waves of samples of a request, if adaptive.")
]
Monotone = Annotated[bool, typer.Option("--monotone", help="Match probabilities never fall in n.")]
ProbabilitiesName = Annotated[
    str,
    typer.Option("--probabilities", help="as-trained, or calibrated: temperature, isotonic."),
]
Recorded = Annotated[
    Path | None,
    typer.Option(help="Samples table that answers for recorded/... models of the pool."),
]
RouterName = Annotated[str, typer.Option("--router", help=f"One of {', '.join(ROUTERS)}.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


def write_json(path: Path | None, numbers: dict[str, Any]) -> None:
    """Write a command's numbers, if they are wanted."""
    if str(path) == "-":
        typer.echo(json.dumps(numbers, indent=2))
    elif path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
