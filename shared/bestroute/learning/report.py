"""What an evaluation looks like: Markdown for a model card, a PNG curve, a one-page HTML."""

from __future__ import annotations

import base64
from importlib import resources
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bestroute._extras import require
from bestroute.learning.curves import oracle, random_mix, sweep
from bestroute.learning.evaluate import Evaluation
from bestroute.pool import Arm

if TYPE_CHECKING:
    from bestroute.learning.fit import Fitted


def evaluation_markdown(evaluation: Evaluation) -> str:
    """The evaluation's tables for a model card."""
    lines = [f"## Evaluation on {evaluation.n_queries} unseen queries", ""]
    lines += ["| | quality | interval | $ per 1K queries | cost cut |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.quality:.3f} | {row.quality_lo:.3f} - {row.quality_hi:.3f} "
        f"| {row.cost_per_1k:.4f} | {row.cost_cut:.0%} |"
        for row in evaluation.rows
    ]
    lines += ["", evaluation.verdict, ""]
    lines += ["| drop at a cost cut of | router | random mix | oracle |", "|---|---|---|---|"]
    lines += [
        f"| {drop.cost_cut:.0%} | {percent(drop.router)} | {percent(drop.random_mix)} "
        f"| {percent(drop.oracle)} |"
        for drop in evaluation.drops
    ]
    return "\n".join(lines)


def percent(share: float | None) -> str:
    """A share in percent, or n/a."""
    return "n/a" if share is None else f"{share:.1%}"


def write_report(fitted: Fitted, directory: str | Path) -> None:
    """Write `curve.png` and the self-contained `report.html`.

    Args:
        fitted: A trained engine with its evaluation on the test split.
        directory: Made if absent.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    curve = folder / "curve.png"
    _draw_curve(fitted, curve)
    jinja2 = require("jinja2", feature="Reports", extra="demo")
    source = resources.files("bestroute").joinpath("learning/report.html.j2").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        source
    )
    page = template.render(
        evaluation=fitted.evaluation,
        drops=fitted.drops,
        note=fitted.calibration.note,
        models=fitted.engine.pool.models,
        percent=percent,
        curve=base64.b64encode(curve.read_bytes()).decode(),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _draw_curve(fitted: Fitted, path: Path) -> None:
    """Cost against quality on the test split: the router, its baselines, every fixed arm."""
    require("matplotlib", feature="Plots", extra="demo")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    axes = figure.subplots()
    test = fitted.outcomes.select("test")
    engine = fitted.engine
    assert engine.router is not None
    prediction = engine.router.predict(test.queries)
    routed = sweep(prediction.match, test.estimated_costs(engine.cost_model, prediction), test)
    best, mix = oracle(test), random_mix(test)
    axes.plot(best.cost * 1e3, best.quality, color="#8a8a8a", ls=":", label="oracle")
    order = np.argsort(routed.cost)
    axes.plot(routed.cost[order] * 1e3, routed.quality[order], color="#1f6feb", label="router")
    axes.plot(mix.cost * 1e3, mix.quality, color="#d1762b", ls="--", label="random mix")
    _draw_arms(axes, fitted.evaluation)
    axes.set_xlabel("$ per 1,000 queries (realised)")
    axes.set_ylabel("quality (mean oracle score)")
    axes.set_title(f"Cost and quality on {len(test)} test queries")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path)


def _draw_arms(axes: Any, evaluation: Evaluation) -> None:
    """Every fixed arm, joined model by model, and the chosen threshold."""
    chosen = evaluation.row("router")
    axes.plot(chosen.cost_per_1k, chosen.quality, "o", color="#1f6feb", ms=9, label="chosen")
    whole = evaluation.row("always_reference")
    axes.plot(whole.cost_per_1k, whole.quality, "*", color="#444444", ms=11, label="reference")
    arms: dict[str, list[tuple[float, float]]] = {}
    for row in evaluation.rows:
        kind, _, arm = row.name.partition(":")
        if kind == "fixed":
            points = arms.setdefault(Arm.parse(arm).model, [])
            points.append((row.cost_per_1k, row.quality))
    for (model, points), marker in zip(arms.items(), cycle("sD^vPX"), strict=False):
        name = f"{model}, n = 1 to {len(points)}"
        costs, qualities = zip(*points, strict=True)
        axes.plot(costs, qualities, marker, ls="-", lw=0.5, color="#444444", ms=4, label=name)
