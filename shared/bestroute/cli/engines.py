"""The engine that a command asks: a saved router, a pool, or both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bestroute.engine import BestRoute
from bestroute.errors import ConfigError
from bestroute.pool import ModelPool

AnyRouter = Annotated[
    Path | None, typer.Option("--router", help="Directory of a saved router (from `fit`).")
]
AnyPool = Annotated[
    Path | None,
    typer.Option(
        "--pool", help="Model pool (YAML). Alone: the training-free cascade, which is uncalibrated."
    ),
]
Threshold = Annotated[
    float | None, typer.Option(help="Smallest match probability that qualifies an arm; or:")
]
PromisedDrop = Annotated[
    float | None, typer.Option("--max-drop", help="largest relative quality drop promised; or:")
]
TargetCost = Annotated[float | None, typer.Option(help="$ for 1,000 queries.")]


def engine_of(router: Path | None, pool: ModelPool | None, **options: Any) -> BestRoute:
    """The engine of a saved router, of a pool, or of a router in front of that pool.

    Args:
        router: Directory of the saved router.
        pool: The pool.
        **options: Of `BestRoute`: threshold, max_drop or target_cost, ledger.

    Raises:
        ConfigError: There is neither.
    """
    if router is not None:
        return BestRoute.from_pretrained(router, pool=pool, **options)
    if pool is None:
        raise ConfigError("give --router (a saved router), --pool (a pool alone), or both")
    return BestRoute(pool, **options)
