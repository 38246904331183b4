"""`bestroute export`: a router with a transformer encoder, for ONNX Runtime in int8."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bestroute.learning.export import export as export_router
from bestroute.learning.samples import read_samples


def export(
    router: Annotated[Path, typer.Argument(help="Directory of a saved router.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the new one.")],
    samples: Annotated[
        Path | None,
        typer.Option(help="Samples table (Parquet): compare probabilities on its test split."),
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write the numbers here.")
    ] = None,
) -> None:
    """Save a router for ONNX Runtime in int8: faster on a CPU, and without torch.

    Example: bestroute export router/ -o router-onnx/ --samples scored.parquet
    """
    console = Console()
    queries = [] if samples is None else _test_queries(samples)
    exported = export_router(router, output, queries=queries)
    if queries:
        console.print(
            f"Match probabilities differ by at most {exported.difference:.4f} on the "
            f"{len(queries)} test queries.",
            highlight=False,
        )
    if json_path is not None:
        numbers = {"queries": len(queries), "difference": exported.difference}
        json_path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    console.print(f"Saved: {output}; next: bestroute calibrate {output} SAMPLES")


def _test_queries(samples: Path) -> list[str]:
    table = read_samples(samples)
    rows = zip(table["split"].to_pylist(), table["query"].to_pylist(), strict=True)
    return list(dict.fromkeys(query for split, query in rows if split == "test"))
