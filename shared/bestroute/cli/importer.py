"""`bestroute import`: recorded responses of public layouts as a samples table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from bestroute.cli.console import console_of
from bestroute.cli.options import JsonPath, write_json
from bestroute.errors import ConfigError
from bestroute.learning.atomic import replacing
from bestroute.learning.importers import IMPORTERS
from bestroute.learning.samples import write_table


def _list(wanted: bool) -> None:
    if not wanted:
        return
    for layout, importer in IMPORTERS.items():
        about = (sys.modules[importer.__module__].__doc__ or "").partition("\n")[0]
        Console().print(f"{layout:16}{about}", highlight=False, soft_wrap=True)
    raise typer.Exit


def import_samples(
    layout: Annotated[str, typer.Argument(help=f"One of: {', '.join(IMPORTERS)}.")],
    path: Annotated[Path, typer.Argument(help="File or folder, as the layout has it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Samples table (Parquet).")],
    pool_out: Annotated[
        Path | None, typer.Option(help="Also write the models and their prices here (YAML).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split into train, calibration, test.")] = 0,
    listing: Annotated[
        bool,
        typer.Option("--list", callback=_list, is_eager=True, help="List the layouts, and exit."),
    ] = False,
    json_path: JsonPath = None,
) -> None:
    """Turn recorded responses of others into a samples table and a pool.

    Example: bestroute import routerbench routerbench.csv -o samples.parquet --pool-out pool.yaml
    """
    if layout not in IMPORTERS:
        raise ConfigError(f"no layout {layout!r}; there are {', '.join(IMPORTERS)}")
    console = console_of(json_path)
    found = IMPORTERS[layout](path, seed=seed)
    with replacing(output) as part:
        write_table(found.table, part)
    if pool_out is not None:
        pool = found.pool.model_dump(mode="json", exclude_defaults=True)
        with replacing(pool_out) as part:
            part.write_text(yaml.safe_dump(pool, sort_keys=False), encoding="utf-8")
    queries = len(found.table["query_id"].unique())
    write_json(
        json_path,
        {"responses": found.table.num_rows, "queries": queries, "notes": found.notes},
    )
    console.print(f"{found.table.num_rows:,} responses to {queries:,} queries: {output}")
    console.print(found.notes, highlight=False)
