"""Plots of an assessment."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from bestroute._extras import require
from bestroute.engine import BestRoute
from bestroute.learning.evaluation.curves import oracle, random_mix, sweep
from bestroute.learning.evaluation.evaluate import Evaluation
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.training.probabilities import Reliability
from bestroute.pool import Arm


def draw_curve(evaluation: Evaluation, engine: BestRoute, test: Outcomes, path: Path) -> None:
    """Cost against quality on the test split: the router, its baselines, every fixed arm."""
    figure, axes = _figure(8, 5)
    assert engine.router is not None
    prediction = engine.router.predict(test.queries)
    routed = sweep(prediction.match, test.estimated_costs(engine.cost_model, prediction), test)
    best, mix = oracle(test), random_mix(test)
    axes.plot(best.cost * 1e3, best.quality, color="#8a8a8a", ls=":", label="oracle")
    order = np.argsort(routed.cost)
    axes.plot(routed.cost[order] * 1e3, routed.quality[order], color="#1f6feb", label="router")
    axes.plot(mix.cost * 1e3, mix.quality, color="#d1762b", ls="--", label="random mix")
    _draw_arms(axes, evaluation)
    axes.set_xlabel("$ per 1,000 queries (realised)")
    axes.set_ylabel("quality (mean oracle score)")
    axes.set_title(f"Cost and quality on {len(test)} test queries")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path)


def draw_reliability(found: Reliability, path: Path) -> None:
    """Predicted match probabilities against observed ones; the area of a dot is its count."""
    figure, axes = _figure(5, 5)
    axes.plot([0, 1], [0, 1], color="#8a8a8a", ls=":")
    sizes = np.array([each.count for each in found.bins], dtype=np.float64)
    axes.scatter(
        [each.predicted for each in found.bins],
        [each.observed for each in found.bins],
        s=400 * sizes / sizes.max(),
        color="#1f6feb",
        alpha=0.7,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("predicted match probability")
    axes.set_ylabel("observed")
    axes.set_title(f"Expected calibration error {found.ece:.3f}")
    axes.grid(alpha=0.25)
    figure.savefig(path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    require("matplotlib", feature="Plots", extra="train")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    return figure, figure.subplots()


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
