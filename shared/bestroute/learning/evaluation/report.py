"""What an assessment looks like in Markdown: for a model card, or a page of results."""

from __future__ import annotations

import math

from bestroute.learning.evaluation.assess import Assessment
from bestroute.learning.evaluation.compare import (
    CLAIRVOYANT,
    COST_CUTS,
    DROPS,
    ORACLE,
    RANDOM_MIX,
    Comparison,
)
from bestroute.learning.evaluation.evaluate import Effort, Evaluation
from bestroute.learning.evaluation.intervals import Interval
from bestroute.learning.evaluation.recording import SECONDS_PER_TOKEN


def assessment_markdown(found: Assessment) -> str:
    """All tables of an assessment, for a model card or a page of results."""
    parts = [evaluation_markdown(found.evaluation), comparison_markdown(found.comparison)]
    if found.tasks:
        parts.append(tasks_markdown(found.tasks))
    if found.transfer:
        parts.append(transfer_markdown(found.transfer))
    error = found.reliability
    parts.append(
        f"Match probabilities: expected calibration error {error.ece:.3f}, "
        f"log loss {error.log_loss:.3f}."
    )
    return "\n\n".join(parts)


def evaluation_markdown(evaluation: Evaluation) -> str:
    """The engine at its own setting, between its baselines."""
    rows = [
        [
            row.name,
            f"{row.quality:.3f}",
            f"{row.quality_lo:.3f} - {row.quality_hi:.3f}",
            f"{row.cost_per_1k:.4f}",
            f"{row.cost_cut:.0%}",
        ]
        for row in evaluation.rows
    ]
    head = ["", "quality", "interval", "$ per 1K queries", "cost cut"]
    title = f"## Evaluation on {evaluation.n_queries} unseen queries"
    parts = [title, _table(head, rows), evaluation.verdict]
    if evaluation.effort is not None:
        parts.append(effort_text(evaluation.effort))
    return "\n\n".join(parts)


def effort_text(effort: Effort) -> str:
    """What looking at the samples took, in words."""
    how = "recorded" if effort.seconds_recorded else f"at {SECONDS_PER_TOKEN:g} s a token"
    return (
        f"Replayed: {effort.waves:.2f} waves and {effort.tokens:.0f} sampled tokens a query; "
        f"{effort.seconds_p50:.2f} s in the middle, {effort.seconds_p95:.2f} s at the 95th "
        f"percentile ({how}). Monte Carlo error of the quality: {effort.error:.4f}."
    )


def comparison_markdown(comparison: Comparison) -> str:
    """Every method at equal cost: drop, cost cut, area, and the gap to the oracle recovered."""
    head = [
        "drop (%) at a cost cut of",
        *(percent(cut, 0) for cut in COST_CUTS),
        *(f"cost cut (%) at {percent(drop, 0)} drop" for drop in DROPS),
        "area",
    ]
    rows = [
        [
            method.name,
            *(_share(each) for each in method.drops),
            *(_share(each) for each in method.cost_cuts),
            _figure(method.area),
        ]
        for method in comparison.methods
    ]
    gaps = ["gap to the oracle recovered (%)", *(percent(cut, 0) for cut in COST_CUTS)]
    recovered = [
        [method.name, *(_share(each, 0) for each in method.gap_recovered)]
        for method in comparison.methods
        if method.name not in (RANDOM_MIX, ORACLE, CLAIRVOYANT)
    ]
    effort = ["waves / sampled tokens a query", *(percent(cut, 0) for cut in COST_CUTS)]
    spent = [
        [method.name, *map(effort_figures, method.waves, method.tokens)]
        for method in comparison.methods
        if any(tokens is not None for tokens in method.tokens)
    ]
    errors = [method.error for method in comparison.methods if method.error is not None]
    note = f"Brackets: paired {comparison.level:.0%} intervals over {comparison.n_queries} queries."
    if errors:
        note += f" Replayed curves: Monte Carlo error of a mean quality at most {max(errors):.4f}."
    tables = [_table(head, rows), _table(gaps, recovered), _table(effort, spent)]
    return "\n\n".join([*tables, note])


def tasks_markdown(tasks: dict[str, Evaluation]) -> str:
    """The engine at its own setting, task by task."""
    head = ["task", "queries", "drop", "cost cut", "quality minus random mix at equal cost"]
    rows = [
        [
            task,
            str(each.n_queries),
            percent(each.drop),
            f"{each.row('router').cost_cut:.0%}",
            _figure(each.router_minus_random_mix),
        ]
        for task, each in tasks.items()
    ]
    return _table(head, rows)


def transfer_markdown(transfer: dict[str, Comparison]) -> str:
    """Trained on all other tasks, tested on this one."""
    head = ["drop (%) on a task not trained on", "method", *(percent(cut, 0) for cut in COST_CUTS)]
    rows = [
        [task, method.name, *(_share(drop) for drop in method.drops)]
        for task, comparison in transfer.items()
        for method in comparison.methods
    ]
    return _table(head, rows)


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent, or n/a."""
    return "n/a" if share is None else f"{round(share, digits + 2) + 0.0:.{digits}%}"  # no -0


def dollars(amount: float | None) -> str:
    """$, in two decimals and at least three digits that tell something, or n/a."""
    if amount is None:
        return "n/a"
    sign, size = "-" if amount < 0 else "", abs(amount)
    decimals = 2 if size == 0 else max(2, 2 - math.floor(math.log10(size)))
    return f"{sign}${size:,.{decimals}f}"


def value_of(figure: Interval | None) -> float | None:
    """The figure without its interval."""
    return None if figure is None else figure.value


def _share(figure: Interval | None, digits: int = 1) -> str:
    if figure is None:
        return "n/a"
    value, low, high = (100 * each for each in (figure.value, figure.lo, figure.hi))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def effort_figures(waves: float | None, tokens: float | None) -> str:
    """Waves and tokens of a query, or n/a."""
    return "n/a" if waves is None or tokens is None else f"{waves:.2f} / {tokens:.0f}"


def _figure(figure: Interval | None) -> str:
    if figure is None:
        return "n/a"
    return f"{figure.value:.3f} [{figure.lo:.3f}, {figure.hi:.3f}]"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
