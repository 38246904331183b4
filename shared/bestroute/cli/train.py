"""`bestroute train`: a router from a scored samples table, not calibrated yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from bestroute.cli.console import console_of, progress_bars
from bestroute.cli.fit import encoder_named
from bestroute.cli.options import (
    EncoderName,
    JsonPath,
    MaxWaves,
    Monotone,
    ProbabilitiesName,
    RouterName,
    Seed,
    write_json,
)
from bestroute.learning.evaluation.plots import reliability_figure
from bestroute.learning.fit import PolicyName
from bestroute.learning.fit import train as train_engine
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import read_samples
from bestroute.learning.training.by_name import MULTI_HEAD, Probabilities
from bestroute.learning.training.probabilities import Reliability, reliability
from bestroute.learning.training.ranks import is_first_process
from bestroute.learning.training.train import uncalibrated
from bestroute.pool import ModelPool
from bestroute.rewards.base import RewardModel
from bestroute.rewards.folder import load_folder
from bestroute.routers.base import Router


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
    policy: Annotated[
        str,
        typer.Option(
            help="`threshold`; `early-stop`: draw only until the majority is settled; or "
            "`adaptive`: also learn what samples say of quality."
        ),
    ] = "threshold",
    max_waves: MaxWaves = None,
    plots: Annotated[
        Path | None, typer.Option(help="Directory of reliability plots (calibration split).")
    ] = None,
    seed: Seed = 0,
    json_path: JsonPath = None,
) -> None:
    """Train a router on the train split. Until `calibrate` has run it asks the reference.

    Example: bestroute train scored.parquet --pool pool.yaml -o router/
    """
    console = console_of(json_path)
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
            policy=cast(PolicyName, policy),
            max_waves=max_waves,
            seed=seed,
            progress=report,
        )
    if not is_first_process():
        return
    engine.save_pretrained(output)
    found: dict[str, Reliability] = {}
    if "calibration" in outcomes.splits and engine.router is not None:
        found = _show_reliability(engine.router, outcomes.select("calibration"), plots, console)
    told = {stage: each.model_dump(mode="json") for stage, each in found.items()}
    write_json(json_path, {"router": str(output), "reliability": told})
    console.print(f"Saved: {output}; next: bestroute calibrate {output} {samples}")


def _show_reliability(
    router: Router, held_out: Outcomes, plots: Path | None, console: Console
) -> dict[str, Reliability]:
    """Are match probabilities what they say: before calibration, if there was one, and after."""
    stages = {"before": uncalibrated(router), "after": router}
    shown: dict[str, Reliability] = {}
    headed = [i for i in range(len(held_out.arms)) if i != held_out.reference_index]
    for stage, each in stages.items():
        if each is None:
            continue
        predicted = each.predict(held_out.queries).match[:, headed]
        shown[stage] = found = reliability(predicted, held_out.match[:, headed])
        when = "" if stages["before"] is None else f" {stage} calibration"
        console.print(
            f"Match probabilities{when}, on {len(held_out)} calibration queries: expected "
            f"calibration error {found.ece:.3f}, log loss {found.log_loss:.3f}.",
            highlight=False,
        )
        if plots is not None:
            plots.mkdir(parents=True, exist_ok=True)
            reliability_figure(found).savefig(plots / f"reliability-{stage}.png")
    return shown


def _reward(folder: Path | None) -> RewardModel | None:
    return None if folder is None else load_folder(folder)
