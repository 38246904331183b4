"""`bestroute collect`: from prompts and a pool to the samples table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bestroute._litellm import litellm
from bestroute.cli.console import console_of, progress_bars
from bestroute.cli.options import Concurrency, DryRun, JsonPath, MaxCost, Recorded, write_json
from bestroute.cli.recording import install_recording
from bestroute.cli.workers import EngineName, Workers, engine_named
from bestroute.errors import ConfigError
from bestroute.learning.collecting.collect import Collected
from bestroute.learning.collecting.collect import collect as collect_samples
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.collecting.workload import Plan, Samples, plan
from bestroute.learning.journal import Lost
from bestroute.pool import ModelPool


def collect(
    prompts: Annotated[
        str,
        typer.Argument(
            help="JSONL, Parquet, a samples table, a folder saved by `datasets`, or a hub id "
            "(owner/name:split)."
        ),
    ],
    pool: Annotated[Path, typer.Option(help="Model pool (YAML).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Samples table (Parquet).")],
    samples: Annotated[
        list[str] | None,
        typer.Option(
            "--samples",
            "-n",
            help="Samples of each prompt: 20, or MODEL=20, once a model. By default 20, or the "
            "model's max_samples if that is more.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Field of a prompt and its name there, such as query=question."),
    ] = None,
    concurrency: Concurrency = 8,
    max_cost: MaxCost = None,
    dry_run: DryRun = False,
    recorded: Recorded = None,
    engine: EngineName = "local",
    workers: Workers = None,
    seed: Annotated[int, typer.Option(help="Of the split into train, calibration, test.")] = 0,
    json_path: JsonPath = None,
) -> None:
    """Draw samples of every model for every prompt; run it again to go on where it ended.

    Example: bestroute collect prompts.jsonl --pool pool.yaml -n 20 -o samples.parquet
    """
    console = console_of(json_path)
    litellm().suppress_debug_info = True  # the command line owns the terminal
    models = ModelPool.from_yaml(pool)
    setup = partial(install_recording, models, recorded)
    where = engine_named(engine, workers, setup=setup)
    by_default = setup()
    asked = read_prompts(prompts, columns=_pairs(column or (), "--column"), seed=seed)
    wanted = parse_samples(samples or (), by_default)
    planned = plan(asked, models, output, samples=wanted)
    print_plan(planned, console)
    done: Collected | None = None
    if not dry_run:
        with progress_bars(console) as report:
            done = collect_samples(
                asked,
                models,
                output,
                samples=wanted,
                concurrency=concurrency,
                max_cost=max_cost,
                engine=where,
                progress=report,
            )
        _print_collected(done, console)
    write_json(
        json_path,
        {
            "plan": planned.model_dump(mode="json"),
            "collected": done.model_dump(mode="json") if done else None,
        },
    )


def print_plan(planned: Plan, console: Console) -> None:
    """What will be asked of each model, and what the last run left under way."""
    table = Table(title=f"{planned.prompts} prompts, {planned.kept} samples there already")
    table.add_column("model")
    for name in ("samples", "calls", "tokens in", "tokens out", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in planned.models:
        tokens = (each.prompt_tokens, each.completion_tokens)
        numbers = [f"{number:,}" for number in (each.samples, each.calls, *tokens)]
        table.add_row(each.model, *numbers, dollars(each.cost))
    console.print(table)
    console.print(f"Expected in all: {dollars(planned.cost)}")
    print_lost(planned.lost, console)


def print_lost(lost: Lost, console: Console) -> None:
    """What is asked again, if anything."""
    if lost.calls:
        console.print(
            f"The last run was stopped with {lost.calls} calls under way, which may have cost "
            f"{dollars(lost.cost)}; they are asked again."
        )


def dollars(cost: float | None) -> str:
    """An amount, or that nobody knows."""
    return "price unknown" if cost is None else f"${cost:.4f}"


def _print_collected(done: Collected, console: Console) -> None:
    for failure in done.failures:
        text = f"{failure.model}: {failure.prompts} prompts failed, the first with {failure.error}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if done.stopped:
        console.print(f"Stopped: {done.stopped}", soft_wrap=True)
    if done.missing:
        console.print(f"{done.missing:,} samples are missing; run the same command to go on.")
    console.print(f"{done.rows:,} samples, {dollars(done.cost)} in all: {done.path}")


def parse_samples(given: Sequence[str], by_default: dict[str, int]) -> Samples:
    """One number for all, or a number for some."""
    if len(given) == 1 and "=" not in given[0]:
        return _number(given[0])
    return {**by_default, **{k: _number(v) for k, v in _pairs(given, "--samples").items()}}


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"--samples {text}: write a number, or MODEL=NUMBER once a model")
    return int(text)


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    for each in given:
        if not all(each.partition("=")):
            raise ConfigError(f"{option} {each}: write it as NAME=VALUE")
    return {name: value for name, _, value in (each.partition("=") for each in given)}
