"""`bestroute train-reward`: from a scored samples table to a proxy reward model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bestroute.cli.console import console_of, progress_bars
from bestroute.cli.options import JsonPath, write_json
from bestroute.learning.reward_training.train_reward import RewardReport
from bestroute.learning.reward_training.train_reward import train_reward as train
from bestroute.learning.samples import read_samples
from bestroute.learning.training.ranks import is_first_process


def train_reward(
    samples: Annotated[Path, typer.Argument(help="Scored samples table (Parquet).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the reward model.")],
    base: Annotated[
        str, typer.Option(help="`static` (no torch), or a checkpoint: hub id or path.")
    ] = "static",
    epochs: Annotated[int, typer.Option(help="Passes over the pairs, for a checkpoint.")] = 5,
    seed: Annotated[int, typer.Option(help="Random seed, for a checkpoint.")] = 0,
    json_path: JsonPath = None,
) -> None:
    """Train the reward model that picks the best of n, on pairs by oracle score.

    It learns from the train split and is measured on the calibration split. A run that was cut
    short goes on when it is started again.

    Example: bestroute train-reward samples.parquet -o reward/
    """
    console = console_of(json_path)
    table = read_samples(samples)
    with progress_bars(console) as report:
        trained = train(table, output, base=base, epochs=epochs, seed=seed, progress=report)
    if not is_first_process():
        return
    write_json(json_path, trained.report.model_dump(mode="json"))
    console.print(_summary(trained.report), highlight=False)
    kind = "StaticReward.from_pretrained" if base == "static" else "ClassifierReward"
    console.print(f"Saved: {output} ({kind} loads it)")


def _summary(report: RewardReport) -> str:
    trained = f"Trained on {report.pairs} pairs in {report.seconds:.1f} s"
    if report.accuracy_after is None:
        return f"{trained}; the table has no calibration pairs to measure on."
    before = "" if report.accuracy_before is None else f", {report.accuracy_before:.1%} before"
    return (
        f"{trained}; ranks {report.accuracy_after:.1%} of {report.held_out_pairs} held-out pairs "
        f"right{before} (a coin: 50 %)."
    )
