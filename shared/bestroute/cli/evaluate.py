"""`bestroute evaluate`: what a saved router is worth, beside every baseline."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bestroute.cli.console import comparison_table, evaluation_table, print_left_out, progress_bars
from bestroute.cli.options import JsonPath, Seed
from bestroute.engine import BestRoute
from bestroute.learning.evaluation.assess import assess
from bestroute.learning.evaluation.methods import BASELINES, known_baselines
from bestroute.learning.evaluation.report import (
    assessment_markdown,
    effort_text,
    tasks_markdown,
    transfer_markdown,
    write_report,
)
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import read_samples
from bestroute.learning.selection_rule import selection_of
from bestroute.pool import ModelPool


def evaluate(
    samples: Annotated[Path, typer.Argument(help="Scored samples table (Parquet).")],
    router: Annotated[Path, typer.Option(help="Directory of the saved router.")],
    pool: Annotated[
        Path | None, typer.Option(help="Model pool with other prices. [default: the router's]")
    ] = None,
    baselines: Annotated[
        list[str] | None,
        typer.Option(help=f"all, or any of {', '.join(BASELINES)}, once each. [default: knn]"),
    ] = None,
    transfer: Annotated[
        bool, typer.Option("--transfer", help="Train on all but one task, test on that one.")
    ] = False,
    reward_price: Annotated[
        float, typer.Option(help="$ per 1M tokens that the reward model reads, charged too.")
    ] = 0.0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 1000,
    seed: Seed = 0,
    json_path: JsonPath = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Directory of plots and HTML page.")] = None,
) -> None:
    """Evaluate on the test split: decided on estimates, charged what happened.

    Example: bestroute evaluate scored.parquet --router router/ --baselines all --json out.json
    """
    began = time.monotonic()
    console = Console()
    models = None if pool is None else ModelPool.from_yaml(pool)
    engine = BestRoute.from_pretrained(router, pool=models)
    table = read_samples(samples, scored=True)
    with progress_bars(console) as report:
        outcomes = Outcomes.from_samples(
            table,
            engine.pool,
            progress=lambda a, b: report("outcomes", a, b),
            **selection_of(engine.reward),
        )
        found = assess(
            engine,
            table,
            outcomes=outcomes,
            baselines=known_baselines(baselines or ("knn",)),
            transfer=transfer,
            reward_price=reward_price,
            resamples=resamples,
            seed=seed,
            progress=report,
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
    if json_path is not None:
        json_path.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if markdown is not None:
        markdown.write_text(assessment_markdown(found) + "\n", encoding="utf-8")
    if plots is not None:
        write_report(found, engine, outcomes.select("test"), plots)
    console.print(f"Done in {time.monotonic() - began:.0f} s.")
