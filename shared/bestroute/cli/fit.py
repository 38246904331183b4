"""`bestroute fit`: from a scored samples table to a router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bestroute.cli.console import evaluation_table, progress_bars
from bestroute.learning.fit import fit as fit_router
from bestroute.learning.report import evaluation_markdown
from bestroute.learning.samples import read_samples
from bestroute.pool import ModelPool
from bestroute.routers.encoder import Encoder


def fit(
    samples: Annotated[Path, typer.Argument(help="Scored samples table (Parquet).")],
    pool: Annotated[Path, typer.Option(help="Model pool (YAML).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the router.")],
    encoder: Annotated[
        str, typer.Option(help="`static`, or a HuggingFace encoder: hub id or path.")
    ] = "static",
    max_drop: Annotated[
        float, typer.Option(help="Largest drop in quality, as a point estimate.")
    ] = 0.02,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
) -> None:
    """Train, calibrate and evaluate a router on your own scored samples."""
    console = Console()
    table = read_samples(samples, scored=True)
    with progress_bars(console) as report:
        fitted = fit_router(
            table,
            ModelPool.from_yaml(pool),
            encoder=_encoder(encoder),
            max_drop=max_drop,
            seed=seed,
            progress=report,
        )
    fitted.engine.save_pretrained(output, card=evaluation_markdown(fitted.evaluation))
    console.print(evaluation_table(fitted.evaluation, title="On the test split"))
    console.print(f"{fitted.drops} The threshold is {fitted.calibration.note}.")
    console.print(f"Saved: {output} (BestRoute.from_pretrained loads it)")


def _encoder(name: str) -> Encoder | None:
    if name == "static":
        return None
    from bestroute.routers.transformer import TransformerEncoder

    return TransformerEncoder(name)
