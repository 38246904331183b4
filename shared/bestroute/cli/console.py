"""What the commands share: progress bars and tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from bestroute.learning.evaluation.compare import COST_CUTS

if TYPE_CHECKING:
    from bestroute.learning.evaluation.compare import Comparison
    from bestroute.learning.evaluation.evaluate import Evaluation
    from bestroute.learning.progress import Progress as Report


def console_of(json_path: Path | None) -> Console:
    """Where a command talks to people: stderr, where stdout is wanted for JSON."""
    return Console(stderr=str(json_path) == "-")


@contextmanager
def progress_bars(console: Console) -> Iterator[Report]:
    """Progress bars, one a step; none in a pipe. Yields what a step reports to."""
    columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield report


def evaluation_table(evaluation: Evaluation, *, title: str) -> Table:
    """Each fixed arm, and the router between its baselines."""
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for name in ("quality", f"{evaluation.level:.0%} interval", "$ per 1K", "cost cut"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in evaluation.rows:
        table.add_row(
            row.name,
            f"{row.quality:.3f}",
            f"{row.quality_lo:.3f}-{row.quality_hi:.3f}",
            f"{row.cost_per_1k:.4f}",
            f"{row.cost_cut:.0%}",
            style="bold" if row.name == "router" else None,
        )
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Relative quality drop of every method at equal cost, and the gap recovered."""
    table = Table(title="Quality drop at a cost cut of", title_justify="left")
    table.add_column("", no_wrap=True)
    for cut in COST_CUTS:
        table.add_column(f"{cut:.0%}", justify="right", no_wrap=True)
    table.add_column("area", justify="right", no_wrap=True)
    for method in comparison.methods:
        drops = ["n/a" if each is None else f"{each.value:.1%}" for each in method.drops]
        area = "n/a" if method.area is None else f"{method.area.value:.3f}"
        style = "bold" if method.name == "router" else None
        table.add_row(method.name, *drops, area, style=style)
    return table


def print_left_out(left_out: Mapping[str, str], console: Console) -> None:
    """Baselines that could not be had, and why."""
    for name, why in left_out.items():
        console.print(f"Left out: {name} ({why})", markup=False, highlight=False)


def print_answers(console: Console, answers: Sequence[dict[str, Any]], *, title: str) -> None:
    """Decision, costs and answer of single requests, three lines each."""
    console.print(f"\n[bold]{title}[/]")
    for number, row in enumerate(answers, start=1):
        right = "[green]right[/]" if row["right"] else "[red]wrong[/]"
        console.print(
            f"{number:>2}. [bold]{row['arm']}[/]  match {row['match_probability']:.2f}  "
            f"estimated ${row['estimated_cost']:.6f}  real ${row['cost']:.6f}  {right}",
            highlight=False,
        )
        for label, text in (("Q", row["query"]), ("A", row["answer"])):
            line = " ".join(text.split())
            console.print(f"    {label}  {line}", markup=False, highlight=False, soft_wrap=True)
