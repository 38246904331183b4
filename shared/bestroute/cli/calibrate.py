"""`bestroute calibrate`: what drop a saved router can promise, and at what cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bestroute.calibration import CalibrationTable
from bestroute.cli.console import console_of, progress_bars
from bestroute.cli.options import JsonPath, Seed, write_json
from bestroute.learning.calibration.recalibrate import recalibrate
from bestroute.learning.samples import read_samples
from bestroute.target import Target

Range = tuple[float, float]


def calibrate(
    router: Annotated[Path, typer.Argument(help="Directory of the saved router; written to.")],
    samples: Annotated[Path, typer.Argument(help="Scored samples table (Parquet).")],
    max_drop: Annotated[
        float | None,
        typer.Option(help="Promise at most this drop against always-reference, such as 0.01."),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Confidence of the promise.")] = 0.95,
    target_cost: Annotated[
        float | None, typer.Option(help="Instead, spend at most this many $ per 1K queries.")
    ] = None,
    score_range: Annotated[
        Range | None,
        typer.Option(help="Lowest and highest oracle score. [default: 0 1]", show_default=False),
    ] = None,
    require: Annotated[
        bool, typer.Option("--require", help="Exit with 1 if --max-drop is not certifiable.")
    ] = False,
    seed: Seed = 0,
    json_path: JsonPath = None,
) -> None:
    """Find thresholds that keep a promised drop, on the calibration split, and save them.

    They are those of the saved policy: the paper's, or the adaptive one.

    Example: bestroute calibrate router/ samples.parquet --max-drop 0.01 --confidence 0.95
    """
    console = console_of(json_path)
    target = Target(max_drop=max_drop, target_cost=target_cost, confidence=confidence)
    scored = read_samples(samples, scored=True)
    with progress_bars(console) as report:
        table, certificate = recalibrate(
            router, scored, target=target, score_range=score_range, seed=seed, progress=report
        )
    console.print(_promises(table))
    if certificate is not None:
        console.print(certificate.verdict, highlight=False)
    if target_cost is not None:
        row = table.for_cost(target_cost)
        console.print(
            f"Threshold {row.threshold:g} cost ${row.cost_per_1k:.4f} per 1K calibration queries.",
            highlight=False,
        )
    write_json(
        json_path,
        {
            "table": table.model_dump(mode="json"),
            "certificate": certificate and certificate.model_dump(mode="json"),
        },
    )
    if require and certificate is not None and certificate.threshold is None:
        raise typer.Exit(1)


def _promises(table: CalibrationTable) -> Table:
    """One line a promise; each holds on its own."""
    limits = "; ".join(
        f"{limit.max_drop:.2%} at {limit.confidence:g}"
        for limit in table.limits
        if limit.max_drop is not None
    )
    of_policy = "" if table.policy == "one-shot" else f" ({table.policy})"
    shown = Table(
        title=f"Promises of {table.n_queries} calibration queries{of_policy}",
        caption=f"Smallest certifiable drop: {limits or 'none'}",
        title_justify="left",
        caption_justify="left",
    )
    for name in ("max drop", "confidence", "threshold", "$ per 1K"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table.promises:
        shown.add_row(
            f"{row.max_drop:.2%}",
            f"{row.confidence:g}",
            f"{row.threshold:g}",
            f"{row.cost_per_1k:.4f}",
        )
    return shown
