"""`bestroute score`: oracle and proxy scores for a samples table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bestroute._litellm import litellm
from bestroute.cli.collect import dollars, print_lost
from bestroute.cli.console import console_of, progress_bars
from bestroute.cli.options import DryRun, JsonPath, write_json
from bestroute.cli.workers import EngineName, Gpus, Workers, engine_named
from bestroute.learning.samples import read_samples
from bestroute.learning.scoring.score import ScorePlan, ScoreReport, plan_scores
from bestroute.learning.scoring.score import score as score_table
from bestroute.learning.scoring.scorers import KINDS, Scorer, scorer


def score(
    samples: Annotated[Path, typer.Argument(help="Samples table (Parquet).")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Scored table; may be the same file.")
    ],
    oracle: Annotated[str | None, typer.Option(help=f"What fills oracle_score: {KINDS}.")] = None,
    proxy: Annotated[
        str | None, typer.Option(help="What fills proxy_score, named in the same way.")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with a classifier.")
    ] = False,
    concurrency: Annotated[int, typer.Option(help="Judge's calls under way at a time.")] = 8,
    engine: EngineName = "local",
    workers: Workers = None,
    gpus: Gpus = 0,
    dry_run: DryRun = False,
    json_path: JsonPath = None,
) -> None:
    """Score every response; run it again to go on where it ended.

    Example: bestroute score samples.parquet --oracle check -o scored.parquet
    """
    console = console_of(json_path)
    litellm().suppress_debug_info = True  # the command line owns the terminal
    where = engine_named(engine, workers, gpus=gpus)
    table = read_samples(samples)
    truth = _scorer(oracle, trust_remote_code)
    cheap = _scorer(proxy, trust_remote_code)
    planned = plan_scores(table, output, oracle=truth, proxy=cheap)
    _print_plan(planned, console)
    done: ScoreReport | None = None
    if not dry_run:
        with progress_bars(console) as report:
            done = score_table(
                table,
                output,
                oracle=truth,
                proxy=cheap,
                concurrency=concurrency,
                engine=where,
                progress=report,
            )
        _print_report(done, console)
    write_json(
        json_path,
        {
            "plan": planned.model_dump(mode="json"),
            "scored": done.model_dump(mode="json") if done else None,
        },
    )


def _scorer(name: str | None, trust_remote_code: bool) -> Scorer | None:
    return None if name is None else scorer(name, trust_remote_code=trust_remote_code)


def _print_plan(planned: ScorePlan, console: Console) -> None:
    console.print(f"{planned.scores:,} scores to be made (equal responses to a query are one).")
    if planned.calls:
        console.print(
            f"The judge: {planned.calls:,} calls, about {planned.prompt_tokens:,} prompt and "
            f"{planned.completion_tokens:,} completion tokens, {dollars(planned.cost)}."
        )
    print_lost(planned.lost, console)


def _print_report(done: ScoreReport, console: Console) -> None:
    for column, missing in done.missing.items():
        if missing:
            console.print(f"{column}: {missing:,} rows have none; run the same command to go on.")
    if done.failure:
        console.print(done.failure, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{done.rows:,} rows, {dollars(done.cost)} in all: {done.path}")
