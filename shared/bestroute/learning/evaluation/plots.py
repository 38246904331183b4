"""Figures of an assessment, as files and as inline SVG that follows the page's colours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from io import StringIO
from itertools import cycle
from typing import Any

import numpy as np

from bestroute._extras import require
from bestroute.learning.evaluation.compare import CLAIRVOYANT, ORACLE, RANDOM_MIX, Comparison
from bestroute.learning.evaluation.evaluate import Evaluation
from bestroute.learning.training.probabilities import Reliability
from bestroute.pool import Arm

PAPER = {
    "ink": "#1b1f24",
    "faint": "#c9ced6",
    "muted": "#6b7280",
    "main": "#1f6feb",
    "second": "#c2410c",
}
"""Colours by role, as on white paper; a page may have others for each role."""

_OTHERS = ("#0f8a6d", "#9333ea", "#b45309", "#be185d", "#0e7490", "#4d7c0f", "#7c6f64")
"""Colours of baselines: dark enough on white, light enough on black."""

_DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))

_LONG = 28
"""Characters of a name beside which no other fits."""

_LIMITS: Mapping[str, dict[str, Any]] = {
    RANDOM_MIX: {"color": PAPER["second"], "ls": "--", "lw": 2},
    ORACLE: {"color": PAPER["muted"], "ls": ":", "lw": 2},
    CLAIRVOYANT: {"color": PAPER["muted"], "ls": "-.", "lw": 1},
}


def curve_figure(evaluation: Evaluation, comparison: Comparison, *, own: str) -> Any:
    """Cost against quality on the test split: every method and every fixed arm.

    Args:
        evaluation: The engine at its own setting.
        comparison: The curves.
        own: Name of the engine's own curve.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _figure(4.4, 4.0 + 0.12 * len(comparison.methods))
    styles = {**_LIMITS, own: {"color": PAPER["main"], "lw": 2.5, "zorder": 4}}
    others = [each.name for each in comparison.methods if each.name not in styles]
    for name, color, dash in zip(others, cycle(_OTHERS), cycle(_DASHES), strict=False):
        styles[name] = {"color": color, "ls": dash, "lw": 1.2}
    for method in comparison.methods:
        axes.plot(*np.array(method.points).T, label=method.name, **styles[method.name])
    _draw_arms(axes, evaluation)
    main = evaluation.row("router")
    axes.plot(main.cost_per_1k, main.quality, "o", color=PAPER["main"], ms=9, label="setting")
    axes.set_xlabel("$ per 1,000 queries (realised)")
    axes.set_ylabel("quality (mean oracle score)")
    axes.grid(color=PAPER["faint"], lw=0.6)
    labels = axes.get_legend_handles_labels()[1]
    figure.legend(
        loc="outside lower center",
        ncols=1 if max(map(len, labels)) > _LONG else 2,
        frameon=False,
        fontsize=10,
        labelcolor=PAPER["ink"],
    )
    return figure


def reliability_figure(found: Reliability) -> Any:
    """Predicted match probabilities against observed ones; the area of a dot is its count.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _figure(4.4, 4.2)
    axes.plot([0, 1], [0, 1], color=PAPER["muted"], ls=":")
    sizes = np.array([each.count for each in found.bins], dtype=np.float64)
    axes.scatter(
        [each.predicted for each in found.bins],
        [each.observed for each in found.bins],
        s=400 * sizes / sizes.max(),
        color=PAPER["main"],
        alpha=0.7,
        zorder=3,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("predicted match probability")
    axes.set_ylabel("observed")
    axes.grid(color=PAPER["faint"], lw=0.6)
    return figure


def inline_svg(figure: Any, *, name: str, label: str) -> str:
    """A figure as an element of a page: texts stay texts, colours become `var(--role)`.

    Args:
        figure: A matplotlib figure.
        name: Unique on the page; it keeps the ids of several figures apart.
        label: What it shows, for those who do not see it.
    """
    from matplotlib import rc_context

    page = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(page, format="svg", transparent=True, metadata={"Date": None})
    svg = page.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)  # HTML knows them
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(
        r' width="[^"]*pt" height="[^"]*pt"| height="[^"]*pt" width="[^"]*pt"', "", svg, count=1
    )
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 var(--font)", svg)
    for role, color in PAPER.items():
        svg = svg.replace(color, f"var(--{role})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    require("matplotlib", feature="Plots", extra="train")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    roles = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style: Any = {**dict.fromkeys(roles, PAPER["ink"]), "font.size": 11}
    with rc_context(style):
        figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
        return figure, figure.subplots()


def _draw_arms(axes: Any, evaluation: Evaluation) -> None:
    """Every fixed arm, joined model by model, and the reference."""
    whole = evaluation.row("always_reference")
    axes.plot(whole.cost_per_1k, whole.quality, "*", color=PAPER["ink"], ms=12, label="reference")
    arms: dict[str, list[tuple[float, float]]] = {}
    for row in evaluation.rows:
        kind, _, arm = row.name.partition(":")
        if kind == "fixed":
            points = arms.setdefault(Arm.parse(arm).model, [])
            points.append((row.cost_per_1k, row.quality))
    for (model, points), marker in zip(arms.items(), cycle("sD^vPX"), strict=False):
        name = f"{model}, n ≤ {len(points)}" if len(points) > 1 else model
        costs, qualities = zip(*points, strict=True)
        axes.plot(costs, qualities, marker, ls="-", lw=0.5, color=PAPER["ink"], ms=4, label=name)
