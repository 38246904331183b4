"""`bestroute evaluate`: what a saved router is worth, beside every baseline."""

from __future__ import annotations

import time
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
from bestroute.cli.console import comparison_table, console_of, evaluation_table, print_left_out
from bestroute.cli.options import JsonPath, Seed, write_json
from bestroute.learning.evaluation.page import write_report
from bestroute.learning.evaluation.report import (
    assessment_markdown,
    effort_text,
    tasks_markdown,
    transfer_markdown,
)


def evaluate(
    samples: Samples,
    router: SavedRouter,
    pool: OtherPool = None,
    baselines: Baselines = None,
    transfer: Annotated[
        bool, typer.Option("--transfer", help="Train on all but one task, test on that one.")
    ] = False,
    reward_price: RewardPrice = 0.0,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    json_path: JsonPath = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Directory of plots and HTML page.")] = None,
) -> None:
    """Evaluate on the test split: decided on estimates, charged what happened.

    Example: bestroute evaluate scored.parquet --router router/ --baselines all --json out.json
    """
    began = time.monotonic()
    console = console_of(json_path)
    found, models = assessed(
        samples,
        router,
        console,
        pool=pool,
        baselines=baselines,
        transfer=transfer,
        reward_price=reward_price,
        resamples=resamples,
        seed=seed,
    )
    console.print(evaluation_table(found.evaluation, title="On the test split"))
    if found.evaluation.effort is not None:
        console.print(effort_text(found.evaluation.effort), highlight=False)
    console.print(comparison_table(found.comparison))
    if found.tasks:
        console.print(tasks_markdown(found.tasks), highlight=False)
    if found.transfer:
        console.print(transfer_markdown(found.transfer), highlight=False)
    print_left_out(found.left_out, console)
    console.print(found.evaluation.verdict)
    write_json(json_path, found.model_dump(mode="json"))
    if markdown is not None:
        markdown.write_text(assessment_markdown(found) + "\n", encoding="utf-8")
    if plots is not None:
        write_report(found, models, plots)
    console.print(f"Done in {time.monotonic() - began:.0f} s.")
