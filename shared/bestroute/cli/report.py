"""`bestroute report`: all that is known of a saved router, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bestroute.cli.assessing import (
    Baselines,
    OtherPool,
    Resamples,
    RewardPrice,
    Samples,
    SavedRouter,
    assessed,
)
from bestroute.cli.console import console_of
from bestroute.cli.options import JsonPath, Seed, write_json
from bestroute.learning.evaluation.page import report_page
from bestroute.ledger import summarise


def report(
    samples: Samples,
    router: SavedRouter,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    pool: OtherPool = None,
    baselines: Baselines = None,
    examples: Annotated[
        int, typer.Option(help="Queries told in words; 0 for a page that is to be shared.")
    ] = 6,
    ledger: Annotated[
        Path | None, typer.Option(help="A ledger's file: what routed calls saved so far.")
    ] = None,
    reward_price: RewardPrice = 0.0,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    json_path: JsonPath = None,
) -> None:
    """Write one self-contained HTML page: curve, reliability, arms, errors, decisions.

    Example: bestroute report scored.parquet --router router/ --baselines all -o report.html
    """
    console = console_of(json_path)
    savings = None if ledger is None else summarise(ledger)
    found, models = assessed(
        samples,
        router,
        console,
        pool=pool,
        baselines=baselines,
        reward_price=reward_price,
        resamples=resamples,
        examples=examples,
        seed=seed,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(report_page(found, models, savings=savings), encoding="utf-8")
    write_json(json_path, found.model_dump(mode="json"))
    console.print(f"Written: {output}")
