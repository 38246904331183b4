"""`bestroute demo`: train, calibrate and evaluate on shipped samples, then route ten questions."""

from __future__ import annotations

import asyncio
import json
import random
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bestroute._litellm import load_litellm
from bestroute.cli.console import (
    comparison_table,
    console_of,
    evaluation_table,
    print_answers,
    progress_bars,
)
from bestroute.cli.options import JsonPath, write_json
from bestroute.cost import CostModel
from bestroute.engine import BestRoute
from bestroute.errors import ConfigError
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.fit import Fitted, fit
from bestroute.learning.pipeline import save
from bestroute.learning.samples import read_samples
from bestroute.learning.scoring.verifiers import parse_check, verify
from bestroute.pool import ModelPool
from bestroute.recorded import Recording

if TYPE_CHECKING:
    import pyarrow as pa

QUESTIONS = 10

_POOL, _SAMPLES = "demo_pool.yaml", "demo_samples.parquet"


def demo(
    json_path: JsonPath = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where curve, report and router go.")
    ] = Path("bestroute-demo"),
    live: Annotated[
        bool, typer.Option("--live", help="Ask a real server the last ten questions.")
    ] = False,
    api_base: Annotated[
        list[str] | None,
        typer.Option(help="With --live: OpenAI-compatible URL; once for all, or one a model."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="With --live: ids there, comma-separated, cheapest to reference."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    files: Annotated[
        Path | None,
        typer.Option(
            help="Only write pool.yaml and prompts.jsonl there, for `bestroute fit` and `collect`.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show the whole method on recorded samples of real small models.

    Example: bestroute demo --files . && bestroute fit pool.yaml prompts.jsonl -o router/
    """
    began = time.monotonic()
    console = console_of(json_path)
    data = Path(str(resources.files("bestroute") / "data"))
    if files is not None:
        count = write_files(data, files)
        write_json(json_path, {"folder": str(files), "prompts": count})
        console.print(f"Written: {files / 'pool.yaml'}, and {count} prompts beside it.")
        return
    pool = ModelPool.from_yaml(data / _POOL)
    served = live_pool(pool, api_base or [], models) if live else pool
    table = read_samples(data / _SAMPLES, scored=True)
    with progress_bars(console) as report:
        fitted = fit(table, pool, seed=seed, progress=report)
    save(fitted, output / "router", report=output)
    _show(fitted, console, output)
    engine = _served(fitted.engine, served)
    if not live:
        Recording(table.to_pylist(), seed=seed).install()
        engine = BestRoute.from_pretrained(output / "router", pool=pool)
    with progress_bars(console) as report:
        answers = asyncio.run(_ask(engine, _questions(table, seed), report))
    where = "live" if live else "recorded"
    print_answers(console, answers, title=f"Ten unseen questions through the engine ({where})")
    seconds = time.monotonic() - began
    rows = [row.model_dump() for row in fitted.evaluation.rows]
    write_json(json_path, {"rows": rows, "live": answers, "seconds": round(seconds, 1)})
    console.print(f"Done in {seconds:.0f} s. Report: {output / 'report.html'}")


def write_files(data: Path, folder: Path) -> int:
    """Write the pool and the prompts behind the recorded samples, as a user would have them.

    Args:
        data: Where the recorded samples are.
        folder: Where `pool.yaml` and `prompts.jsonl` go.

    Returns:
        How many prompts there are.

    Raises:
        ConfigError: One of the files is there already.
    """
    pool, prompts = folder / "pool.yaml", folder / "prompts.jsonl"
    for path in (pool, prompts):
        if path.exists():
            raise ConfigError(f"{path} exists: name another folder, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    asked = read_prompts(data / _SAMPLES)
    # The query is the last user turn, as it is by default.
    lines = [each.model_dump_json(exclude_none=True, exclude={"query"}) + "\n" for each in asked]
    prompts.write_text("".join(lines), encoding="utf-8")
    pool.write_text((data / _POOL).read_text(encoding="utf-8"), encoding="utf-8")
    return len(asked)


def live_pool(pool: ModelPool, api_base: list[str], models: str | None) -> ModelPool:
    """The demo's pool, answered by an OpenAI-compatible server.

    Raises:
        ConfigError: The number of URLs or of ids does not fit the pool.
    """
    count = len(pool.models)
    names = models.split(",") if models else []
    bases = api_base * count if len(api_base) == 1 else api_base
    ids = names * count if len(names) == 1 else names
    if len(bases) != count or len(ids) != count:
        raise ConfigError(
            f"--live needs --api-base and --models, each once for all or {count} of them "
            f"(cheapest to reference); got {len(api_base)} and {len(names)}"
        )
    members = []
    for member, base, name in zip(pool.models, bases, ids, strict=True):
        params = {**member.params, "api_base": base, "api_key": "os.environ/OPENAI_API_KEY"}
        if base.startswith(("http://127.0.0.1", "http://localhost")):
            params["api_key"] = "local"
        model = f"openai/{name.strip()}"
        members.append({**member.model_dump(), "model": model, "params": params})
    return ModelPool.from_dict({"models": members})


def _served(engine: BestRoute, pool: ModelPool) -> BestRoute:
    """The same router in front of other models."""
    return BestRoute(
        pool,
        router=engine.router,
        policy=engine.policy,
        reward=engine.reward,
        cost_model=CostModel(pool, engine.cost_model.stats),
    )


def _show(fitted: Fitted, console: Console, output: Path) -> None:
    evaluation = fitted.evaluation
    title = f"Test split: {evaluation.n_queries} queries; quality = share answered right"
    console.print(evaluation_table(evaluation, title=title))
    console.print(comparison_table(fitted.assessment.comparison))
    console.print(f"{fitted.drops} The threshold is {fitted.calibration.note}.")
    console.print(evaluation.verdict)
    console.print(f"Cost-quality curve: {output / 'curve.png'}")


def _questions(table: pa.Table, seed: int) -> list[dict[str, Any]]:
    """Ten queries of the test split, as they were asked."""
    rows = {row["query_id"]: row for row in table.to_pylist() if row["split"] == "test"}
    return random.Random(seed).sample(list(rows.values()), QUESTIONS)


async def _ask(engine: BestRoute, rows: list[dict[str, Any]], report: Any) -> list[dict[str, Any]]:
    (await load_litellm()).suppress_debug_info = True  # the command line owns the terminal
    answers = []
    for done, row in enumerate(rows, start=1):
        sampling = json.loads(row["sampling"])
        response = await engine.acomplete(
            json.loads(row["messages"]), max_tokens=sampling["max_tokens"]
        )
        answers.append(
            {
                "query": row["query"],
                "arm": str(response.decision.arm),
                "match_probability": response.decision.match_probability,
                "estimated_cost": response.decision.estimated_cost,
                "cost": response.cost,
                "answer": response.text,
                "right": bool(verify(parse_check(row["check"]), response.text)),
            }
        )
        report("asking", done, len(rows))
    return answers
