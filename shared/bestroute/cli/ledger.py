"""`bestroute ledger`: what routed calls cost, and what that saved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bestroute.cli.console import console_of
from bestroute.cli.options import JsonPath, write_json
from bestroute.ledger import LedgerSummary, summarise

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class By(StrEnum):
    """What spend is told by."""

    model = "model"
    arm = "arm"
    day = "day"


def ledger(
    file: Annotated[Path, typer.Argument(help="The ledger's file, as the engine was given it.")],
    since: Annotated[
        str | None,
        typer.Option(help="Only calls since then: 30m, 12h, 7d, 4w ago, or a date (2026-11-25)."),
    ] = None,
    by: Annotated[By | None, typer.Option(help="One table only.")] = None,
    json_path: JsonPath = None,
) -> None:
    """Print what routed calls cost, what that saved against always-reference, and on whom.

    Example: bestroute ledger calls.sqlite --since 7d --by model
    """
    summary = summarise(file, since=None if since is None else _moment(since))
    write_json(json_path, summary.model_dump(mode="json"))
    console = console_of(json_path)
    console.print(_totals(summary), highlight=False, markup=False)
    for table in _tables(summary, tuple(By) if by is None else (by,)):
        console.print(table)


def _moment(since: str) -> datetime:
    if ago := re.fullmatch(r"(\d+)([mhdw])", since):
        try:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            raise typer.BadParameter(f"{since!r} is too long ago") from None
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise typer.BadParameter(
            f"{since!r} is no time: write 30m, 12h, 7d, 4w, or a date such as 2026-11-25"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _totals(summary: LedgerSummary) -> str:
    """The whole in a few lines."""
    lines = [
        f"{summary.calls} routed calls: {summary.ok} answered ({summary.degraded} degraded), "
        f"{summary.errors} failed, {summary.cancelled} cancelled"
    ]
    if summary.first and summary.last:
        lines[0] += f"; {summary.first:%Y-%m-%d %H:%M} to {summary.last:%Y-%m-%d %H:%M} UTC"
    spent = f"spent {_dollars(summary.cost)}"
    if summary.unanswered_cost:
        spent += f", {_dollars(summary.unanswered_cost)} of it without an answer"
    if summary.unpriced:
        spent += f"; the cost of {summary.unpriced} calls is unknown"
    lines.append(spent)
    if summary.savings_share is not None:
        lines.append(
            f"saved about {_dollars(summary.savings)} ({summary.savings_share:.0%}) against always "
            f"asking the reference ({_dollars(summary.reference_cost)})"
        )
    if summary.latency_p50 is not None:
        lines.append(f"took {summary.latency_p50:.2f} s (p50), {summary.latency_p95:.2f} s (p95)")
    return "\n".join(lines)


def _dollars(amount: float) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):.6g}"


def _tables(summary: LedgerSummary, wanted: Sequence[By]) -> list[Table]:
    tables = {
        By.model: _table(
            ("model", "answers", "calls", "tokens in", "cached", "out", "$"),
            [
                (
                    each.model,
                    *(each.answers, each.calls, each.prompt_tokens, each.cached_tokens),
                    *(each.completion_tokens, f"{each.cost:.6f}"),
                )
                for each in summary.models
            ],
        ),
        By.arm: _table(
            ("arm", "decided", "share"),
            [(each.arm, each.calls, f"{each.share:.1%}") for each in summary.arms],
        ),
        By.day: _table(
            ("day (UTC)", "calls", "$", "saved $"),
            [
                (each.day, each.calls, f"{each.cost:.6f}", f"{each.savings:.6f}")
                for each in summary.days
            ],
        ),
    }
    return [tables[each] for each in wanted]


def _table(names: Sequence[str], rows: Sequence[Sequence[str | int]]) -> Table:
    table = Table()
    for name in names:
        table.add_column(name, justify="left" if name == names[0] else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(str, row))
    return table
