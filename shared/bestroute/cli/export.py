"""`bestroute export`: a router with a transformer encoder, for ONNX Runtime in int8."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bestroute.cli.console import console_of
from bestroute.cli.options import JsonPath, write_json
from bestroute.learning.export import export as export_router
from bestroute.learning.samples import read_samples


def export(
    router: Annotated[Path, typer.Argument(help="Directory of a saved router.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the new one.")],
    samples: Annotated[
        Path | None,
        typer.Option(help="Samples table (Parquet): compare probabilities on its test split."),
    ] = None,
    json_path: JsonPath = None,
) -> None:
    """Save a router for ONNX Runtime in int8: faster on a CPU, and without torch.

    Example: bestroute export router/ -o router-onnx/ --samples scored.parquet
    """
    console = console_of(json_path)
    queries = [] if samples is None else _test_queries(samples)
    exported = export_router(router, output, queries=queries)
    if queries:
        console.print(
            f"Match probabilities differ by at most {exported.difference:.4f} on the "
            f"{len(queries)} test queries.",
            highlight=False,
        )
    write_json(json_path, {"queries": len(queries), "difference": exported.difference})
    console.print(f"Saved: {output}; next: bestroute calibrate {output} SAMPLES")


def _test_queries(samples: Path) -> list[str]:
    table = read_samples(samples)
    rows = zip(table["split"].to_pylist(), table["query"].to_pylist(), strict=True)
    return list(dict.fromkeys(query for split, query in rows if split == "test"))
