"""`bestroute route`: one decision, explained; no model is called."""

from __future__ import annotations

from typing import Annotated

import typer

from bestroute.cli.console import console_of
from bestroute.cli.engines import AnyPool, AnyRouter, PromisedDrop, TargetCost, Threshold, engine_of
from bestroute.cli.options import JsonPath, write_json
from bestroute.cli.pictures import arms_table, decision_text
from bestroute.explanation import explain
from bestroute.pool import ModelPool


def route(
    query: Annotated[str, typer.Argument(help="What a user would ask; `-` reads it from stdin.")],
    router: AnyRouter = None,
    pool: AnyPool = None,
    threshold: Threshold = None,
    max_drop: PromisedDrop = None,
    target_cost: TargetCost = None,
    max_n: Annotated[int | None, typer.Option(help="Largest number of samples.")] = None,
    max_cost: Annotated[
        float | None, typer.Option(help="$ that this request may cost at most.")
    ] = None,
    json_path: JsonPath = None,
) -> None:
    """Show which model and how many samples a query would get, and why; nobody is asked.

    Example: bestroute route "What is the capital of France?" --router router/ --threshold 0.7
    """
    engine = engine_of(
        router,
        None if pool is None else ModelPool.from_yaml(pool),
        threshold=threshold,
        max_drop=max_drop,
        target_cost=target_cost,
    )
    text = typer.get_text_stream("stdin").read() if query == "-" else query
    decision = engine.route(text, max_n=max_n, max_cost=max_cost)
    arms = explain(decision, engine.pool.reference_arm)
    numbers = {
        "query": text,
        "decision": decision.model_dump(mode="json"),
        "arms": [each.model_dump(mode="json") for each in arms],
    }
    write_json(json_path, numbers)
    console = console_of(json_path)
    console.print(arms_table(arms))
    console.print(decision_text(decision, str(engine.pool.reference_arm)))
