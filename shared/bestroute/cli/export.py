"""`bestroute export`: a router, or a reward model, for ONNX Runtime."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bestroute.cli.console import console_of
from bestroute.cli.options import JsonPath, write_json
from bestroute.errors import ConfigError
from bestroute.learning.export import (
    Agreement,
    SampleSets,
    agreement_of,
    export_reward,
    held_out_sets,
)
from bestroute.learning.export import export as export_router
from bestroute.learning.samples import read_samples
from bestroute.manifest import CONFIG_FILE
from bestroute.rewards.classifier import ClassifierReward
from bestroute.rewards.folder import load_folder


def export(
    router: Annotated[
        Path, typer.Argument(help="Directory of a saved router, or of a reward model.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the new one.")],
    samples: Annotated[
        Path | None,
        typer.Option(help="Samples table (Parquet): compare old and new on its test split."),
    ] = None,
    int8_reward: Annotated[
        bool,
        typer.Option("--int8-reward", help="A reward model in int8, too: some picks change."),
    ] = False,
    json_path: JsonPath = None,
) -> None:
    """Save a router for ONNX Runtime: its encoder in int8, faster on a CPU; without torch.

    Its reward model too, if that is a sequence classifier; or such a reward model by itself.

    Example: bestroute export router/ -o router-onnx/ --samples scored.parquet
    """
    console = console_of(json_path)
    sets = [] if samples is None else held_out_sets(read_samples(samples))
    queries = list(dict.fromkeys(query for query, _ in sets))
    if router.is_dir() and not (router / CONFIG_FILE).is_file():
        difference, agreement = 0.0, _export_reward(router, output, int8_reward, sets)
        then = f"`bestroute train --reward {output}`"
    else:
        exported = export_router(
            router, output, queries=queries, sample_sets=sets, int8_reward=int8_reward
        )
        difference, agreement = exported.difference, exported.agreement
        then = f"bestroute calibrate {output} SAMPLES"
        if queries:
            console.print(
                f"Match probabilities differ by at most {difference:.4f} on the "
                f"{len(queries)} test queries.",
                highlight=False,
            )
    _tell(console, agreement)
    found = {"queries": len(queries), "difference": difference}
    write_json(json_path, {**found, "reward": agreement and asdict(agreement)})
    console.print(f"Saved: {output}; next: {then}")


def _export_reward(folder: Path, output: Path, int8: bool, sets: SampleSets) -> Agreement | None:
    reward = load_folder(folder)
    if not isinstance(reward, ClassifierReward):
        raise ConfigError(f"{folder} holds a {type(reward).__name__}: it needs no export")
    return agreement_of(reward, export_reward(reward, output, int8=int8), sets)


def _tell(console: Console, agreement: Agreement | None) -> None:
    if agreement is not None:
        console.print(
            f"The reward model picks the same in {agreement.same:.1%} of {agreement.sets} sample "
            f"sets of the test split; its scores correlate by {agreement.correlation:.4f}.",
            highlight=False,
        )
