"""`bestroute train`: a router from a scored samples table, not calibrated yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from bestroute.cli.console import progress_bars
from bestroute.cli.fit import encoder_named
from bestroute.cli.options import EncoderName, Monotone, ProbabilitiesName, RouterName, Seed
from bestroute.learning.fit import MULTI_HEAD, Probabilities
from bestroute.learning.fit import train as train_engine
from bestroute.learning.samples import read_samples
from bestroute.learning.training.probabilities import reliability
from bestroute.pool import ModelPool
from bestroute.rewards.base import RewardModel
from bestroute.rewards.classifier import ClassifierReward
from bestroute.rewards.static import CONFIG_FILE, StaticReward


def train(
    samples: Annotated[Path, typer.Argument(help="Scored samples table (Parquet).")],
    pool: Annotated[Path, typer.Option(help="Model pool (YAML).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the router.")],
    router: RouterName = MULTI_HEAD,
    encoder: EncoderName = "static",
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Train the HuggingFace encoder too, as the paper.")
    ] = False,
    epochs: Annotated[int, typer.Option(help="Passes over the queries, for --fine-tune.")] = 5,
    reward: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the reward model that made the proxy scores. [default: consistency]"
        ),
    ] = None,
    probabilities: ProbabilitiesName = "as-trained",
    monotone: Monotone = False,
    seed: Seed = 0,
) -> None:
    """Train a router on the train split. Until `calibrate` has run it asks the reference.

    Example: bestroute train scored.parquet --pool pool.yaml -o router/
    """
    console = Console()
    table = read_samples(samples, scored=True)
    with progress_bars(console) as report:
        engine, outcomes = train_engine(
            table,
            ModelPool.from_yaml(pool),
            router=router,
            encoder=encoder_named(encoder),
            fine_tuned=output / "encoder" if fine_tune else None,
            epochs=epochs,
            reward=_reward(reward),
            probabilities=cast(Probabilities, probabilities),
            monotone=monotone,
            seed=seed,
            progress=report,
        )
    engine.save_pretrained(output)
    if "calibration" in outcomes.splits and engine.router is not None:
        held_out = outcomes.select("calibration")
        found = reliability(engine.router.predict(held_out.queries).match, held_out.match)
        console.print(
            f"Match probabilities on {len(held_out)} calibration queries: expected calibration "
            f"error {found.ece:.3f}, log loss {found.log_loss:.3f}.",
            highlight=False,
        )
    console.print(f"Saved: {output}; next: bestroute calibrate {output} {samples}")


def _reward(folder: Path | None) -> RewardModel | None:
    if folder is None:
        return None
    if (folder / CONFIG_FILE).is_file():
        return StaticReward.from_pretrained(folder)
    return ClassifierReward(str(folder))
