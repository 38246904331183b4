"""`bestroute fit`: from a pool and prompts to a router, every step of the way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bestroute._litellm import litellm
from bestroute.cli.collect import parse_samples, print_plan
from bestroute.cli.console import (
    comparison_table,
    console_of,
    evaluation_table,
    print_left_out,
    progress_bars,
)
from bestroute.cli.options import (
    Concurrency,
    DryRun,
    EncoderName,
    JsonPath,
    MaxCost,
    MaxWaves,
    Monotone,
    ProbabilitiesName,
    Recorded,
    RouterName,
    Seed,
    write_json,
)
from bestroute.cli.recording import install_recording
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.collecting.workload import plan
from bestroute.learning.evaluation.methods import known_baselines
from bestroute.learning.fit import Fitted
from bestroute.learning.fit_checks import CONSISTENCY, check_fit
from bestroute.learning.pipeline import (
    COLLECTED,
    fit_prompts,
    fit_table,
    oracle_of,
    save,
)
from bestroute.learning.samples import is_scored_samples, read_samples
from bestroute.learning.training.by_name import MULTI_HEAD
from bestroute.pool import ModelPool
from bestroute.routers.encoder import Encoder


def fit(
    pool: Annotated[Path, typer.Argument(help="Model pool (YAML).")],
    prompts: Annotated[
        str, typer.Argument(help="Prompts, as `collect` reads them; or a scored samples table.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the router.")],
    work: Annotated[
        Path | None,
        typer.Option(help="Working folder: samples and scores. [default: OUTPUT.work]"),
    ] = None,
    samples: Annotated[
        list[str] | None, typer.Option("--samples", "-n", help="As in `collect`.")
    ] = None,
    oracle: Annotated[
        str | None,
        typer.Option(help="What scores, as in `score`. [default: the prompts' check or answer]"),
    ] = None,
    reward: Annotated[
        str,
        typer.Option(
            help="What picks the best of n at run time: `consistency`, or a reward model to train: "
            "`static`, or a checkpoint (hub id or path)."
        ),
    ] = CONSISTENCY,
    router: RouterName = MULTI_HEAD,
    encoder: EncoderName = "static",
    probabilities: ProbabilitiesName = "as-trained",
    monotone: Monotone = False,
    policy: Annotated[
        str,
        typer.Option(
            help="`threshold` (the paper's); `utility`: quality against cost; `early-stop`: the "
            "paper's, drawn only until the majority is settled; or `adaptive`: decide again after "
            "each wave of samples."
        ),
    ] = "threshold",
    max_waves: MaxWaves = None,
    max_drop: Annotated[
        float, typer.Option(help="Largest drop on the calibration split, as a point estimate.")
    ] = 0.02,
    baselines: Annotated[
        list[str] | None,
        typer.Option(help="Baselines to compare with: all, or names, once each. [default: knn]"),
    ] = None,
    concurrency: Concurrency = 8,
    max_cost: MaxCost = None,
    dry_run: DryRun = False,
    recorded: Recorded = None,
    seed: Seed = 0,
    json_path: JsonPath = None,
) -> None:
    """Collect, score, train, calibrate, evaluate, save; run it again to go on where it ended.

    Example: bestroute fit pool.yaml prompts.jsonl -o router/
    """
    console = console_of(json_path)
    litellm().suppress_debug_info = True  # the command line owns the terminal
    models = ModelPool.from_yaml(pool)
    folder = work or output.with_name(f"{output.name}.work")
    options: dict[str, Any] = {
        "reward": reward,
        "router": router,
        "encoder": encoder_named(encoder),
        "probabilities": probabilities,
        "monotone": monotone,
        "policy": policy,
        "max_waves": max_waves,
        "max_drop": max_drop,
        "baselines": known_baselines(baselines or ("knn",)),
        "seed": seed,
    }
    if is_scored_samples(prompts):
        table = read_samples(prompts, scored=True)
        if dry_run:
            console.print(f"{prompts}: all samples and scores are there; nobody will be asked.")
            return
        with progress_bars(console) as report:
            fitted = fit_table(table, models, folder, progress=report, **options)
    else:
        by_default = install_recording(models, recorded)
        asked = read_prompts(prompts, seed=seed)
        wanted = parse_samples(samples or (), by_default)
        truth = check_fit(
            asked, models, oracle=oracle or oracle_of(asked), samples=wanted, **options
        )
        planned = plan(asked, models, folder / COLLECTED, samples=wanted)
        print_plan(planned, console)
        if dry_run:
            write_json(json_path, {"plan": planned.model_dump(mode="json")})
            return
        with progress_bars(console) as report:
            fitted = fit_prompts(
                asked,
                models,
                folder,
                samples=wanted,
                oracle=truth,
                concurrency=concurrency,
                max_cost=max_cost,
                progress=report,
                **options,
            )
    save(fitted, output)
    _show(fitted, console, output)
    write_json(
        json_path,
        {
            "calibration": fitted.calibration.model_dump(mode="json"),
            "assessment": fitted.assessment.model_dump(mode="json"),
            "never_leaves_reference": fitted.idle is not None,
        },
    )


def encoder_named(name: str) -> Encoder | None:
    """The encoder of that name; `None` is the static one."""
    if name == "static":
        return None
    from bestroute.routers.transformer import TransformerEncoder

    return TransformerEncoder(name)


def _show(fitted: Fitted, console: Console, output: Path) -> None:
    console.print(evaluation_table(fitted.evaluation, title="On the test split"))
    console.print(comparison_table(fitted.assessment.comparison))
    console.print(f"{fitted.drops} The {fitted.calibration.knob} is {fitted.calibration.note}.")
    print_left_out(fitted.assessment.left_out, console)
    console.print(fitted.evaluation.verdict)
    if fitted.idle is not None:
        console.print(fitted.idle, style="bold yellow", markup=False, highlight=False)
    console.print(f"Saved: {output} (BestRoute.from_pretrained loads it; see report.html there)")
