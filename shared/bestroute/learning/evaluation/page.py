"""An assessment as one self-contained HTML page, and its figures as files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from bestroute._extras import require
from bestroute.learning.evaluation.assess import ROUTER, Assessment
from bestroute.learning.evaluation.compare import COST_CUTS
from bestroute.learning.evaluation.paths import Way
from bestroute.learning.evaluation.plots import curve_figure, inline_svg, reliability_figure
from bestroute.learning.evaluation.report import (
    dollars,
    effort_figures,
    effort_text,
    percent,
    value_of,
)
from bestroute.ledger import LedgerSummary
from bestroute.pool import ModelPool
from bestroute.trace import Step

_MOST_DAYS = 31

_WAYS: dict[Way, str] = {
    "accept": "accept the answer",
    "more": "draw more of the same model",
    "other": "try another model",
    "reference": "ask the reference",
}


def write_report(
    found: Assessment,
    pool: ModelPool,
    directory: str | Path,
    *,
    drops: str = "",
    note: str = "",
) -> None:
    """Write `curve.png`, `reliability.png` and the self-contained `report.html`.

    Args:
        found: The assessment.
        pool: The pool of the engine that it is of.
        directory: Made if absent.
        drops: The drop on calibration and test queries, in words.
        note: What is known of the threshold, in words.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    _curve(found).savefig(folder / "curve.png")
    reliability_figure(found.reliability).savefig(folder / "reliability.png")
    page = report_page(found, pool, drops=drops, note=note)
    (folder / "report.html").write_text(page, encoding="utf-8")


def report_page(
    found: Assessment,
    pool: ModelPool,
    *,
    drops: str = "",
    note: str = "",
    savings: LedgerSummary | None = None,
) -> str:
    """The page: it asks nobody for anything, and is readable on a phone and in the dark.

    Args:
        found: The assessment; queries are shown where it holds examples.
        pool: The pool of the engine that it is of.
        drops: The drop on calibration and test queries, in words.
        note: What is known of the threshold, in words.
        savings: What routed calls came to, where a ledger was kept.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    jinja2 = require("jinja2", feature="Reports", extra="train")
    folder = resources.files("bestroute").joinpath("learning/evaluation")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "dollars": dollars}
    template = environment.from_string(folder.joinpath("report.html.j2").read_text("utf-8"))
    evaluation, comparison = found.evaluation, found.comparison
    names = ", ".join(method.name for method in comparison.methods)
    return str(
        template.render(
            found=found,
            evaluation=evaluation,
            methods=comparison.methods,
            effort=None if evaluation.effort is None else effort_text(evaluation.effort),
            cost_cuts=COST_CUTS,
            drops=drops,
            note=note,
            savings=savings,
            days=None if savings is None else _days(savings),
            models=pool.models,
            ways=_WAYS,
            order=("more", "other", "accept", "reference"),  # what goes on stands over the next
            timeline=_timeline,
            value_of=value_of,
            effort_of=effort_figures,
            own=_own(found),
            curve=inline_svg(
                _curve(found),
                name="curve",
                label=f"Cost against quality of {names}, and of every fixed arm; the table "
                "'Drop in quality' has the figures",
            ),
            reliability=inline_svg(
                reliability_figure(found.reliability),
                name="reliability",
                label="Predicted match probabilities against observed ones: "
                + "; ".join(
                    f"{each.predicted:.0%} predicted, {each.observed:.0%} observed"
                    for each in found.reliability.bins
                ),
            ),
        )
    )


def _days(savings: LedgerSummary) -> list[dict[str, Any]]:
    """The latest days, with the widths of their bars in percent of the dearest."""
    days = savings.days[-_MOST_DAYS:]
    most = max((day.cost + max(day.savings, 0.0) for day in days), default=0.0) or 1.0
    return [
        {
            "day": day,
            "spent": 100 * day.cost / most,
            "saved": 100 * max(day.savings, 0.0) / most,
        }
        for day in days
    ]


def _own(found: Assessment) -> str:
    """Name of the engine's own curve: its policy's, or its router's under the paper's rule."""
    names = [method.name for method in found.comparison.methods]
    return found.paths.policy if found.paths and found.paths.policy in names else ROUTER


def _curve(found: Assessment) -> Any:
    return curve_figure(found.evaluation, found.comparison, own=_own(found))


def _timeline(trace: tuple[Step, ...]) -> list[dict[str, Any]]:
    """The moves of a request as the page tells them; a draw ahead is no wave of its own."""
    told, wave = [], 0
    for step, then in zip(trace, (*trace[1:], None), strict=True):
        wave += step.move == "draw" and not step.ahead
        sure = None if then is None else then.match_probabilities.get(step.model or "")
        told.append({"step": step, "wave": wave, "sure": sure})
    return told
