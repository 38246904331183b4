"""A saved router, assessed on a samples table: what `evaluate` and `report` start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bestroute.cli.console import progress_bars
from bestroute.engine import BestRoute
from bestroute.learning.evaluation.assess import Assessment, assess
from bestroute.learning.evaluation.methods import BASELINES, known_baselines
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import read_samples
from bestroute.learning.selection_rule import selection_of
from bestroute.pool import ModelPool

Samples = Annotated[Path, typer.Argument(help="Scored samples table (Parquet).")]
SavedRouter = Annotated[Path, typer.Option(help="Directory of the saved router.")]
OtherPool = Annotated[
    Path | None, typer.Option(help="Model pool with other prices. [default: the router's]")
]
Baselines = Annotated[
    list[str] | None,
    typer.Option(help=f"all, or any of {', '.join(BASELINES)}, once each. [default: knn]"),
]
RewardPrice = Annotated[
    float, typer.Option(help="$ per 1M tokens that the reward model reads, charged too.")
]
Resamples = Annotated[int, typer.Option(help="Bootstrap resamples.")]


def assessed(
    samples: Path,
    router: Path,
    console: Console,
    *,
    pool: Path | None,
    baselines: list[str] | None,
    **options: Any,
) -> tuple[Assessment, ModelPool]:
    """Load, work out what the arms were worth, assess; and the pool that it is of.

    Args:
        samples: Scored samples table.
        router: Directory of the saved router.
        console: Where progress is shown.
        pool: Model pool with other prices.
        baselines: Names of baselines.
        **options: Those of `assess`.
    """
    engine = BestRoute.from_pretrained(
        router, pool=None if pool is None else ModelPool.from_yaml(pool)
    )
    table = read_samples(samples, scored=True)
    names = known_baselines(baselines or ("knn",))
    with progress_bars(console) as report:
        outcomes = Outcomes.from_samples(
            table,
            engine.pool,
            progress=lambda a, b: report("outcomes", a, b),
            **selection_of(engine.reward),
        )
        found = assess(
            engine, table, outcomes=outcomes, baselines=names, progress=report, **options
        )
    return found, engine.pool
