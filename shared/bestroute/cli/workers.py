"""Where a command does its work: in this process, or by workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from bestroute.errors import ConfigError
from bestroute.learning.desk import RayEngine
from bestroute.learning.engines import Engine

EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="`local`, or `ray`: the cluster of RAY_ADDRESS, else one on this machine.",
    ),
]
Workers = Annotated[int | None, typer.Option(help="Processes on Ray. [default: one for each CPU]")]
Gpus = Annotated[float, typer.Option(help="GPUs of each worker on Ray.")]


def engine_named(
    name: str,
    workers: int | None,
    *,
    gpus: float = 0,
    setup: Callable[[], object] | None = None,
) -> Engine:
    """The engine of that name.

    Args:
        name: local or ray.
        workers: On Ray: how many.
        gpus: On Ray: of each worker.
        setup: On Ray: called once in each process.

    Raises:
        ConfigError: There is none, or what is said of workers is not for it.
    """
    if name == "ray":
        return RayEngine(workers=workers, gpus=gpus, setup=setup)
    if name != "local":
        raise ConfigError(f"--engine {name}: it is local, or ray")
    if workers is not None or gpus:
        raise ConfigError("--workers and --gpus are for --engine ray")
    return "local"
