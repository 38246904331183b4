"""Every method on every recorded data set: what docs/results.md is made from.

`python -m tests.benchmarks.results mot-date` prints one data set's tables; `--write` puts them
into docs/results.md in place of the old ones; `all` stands for every data set, and makes the
summary too.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from bestroute.learning.evaluation.assess import encoder_of, transfers
from bestroute.learning.evaluation.compare import COST_CUTS, Comparison, compare
from bestroute.learning.evaluation.curves import Curve
from bestroute.learning.evaluation.intervals import Interval
from bestroute.learning.evaluation.methods import BASELINES, Bench
from bestroute.learning.evaluation.report import (
    comparison_markdown,
    evaluation_markdown,
    tasks_markdown,
    transfer_markdown,
    value_of,
)
from bestroute.learning.fit import ENSEMBLE, fit, train
from bestroute.learning.training.probabilities import reliability
from bestroute.rewards.answers import extract_answer
from tests.benchmarks.adaptive import belief_of
from tests.benchmarks.pages import write
from tests.benchmarks.recorded import SETS, Recorded, load

PAGE = Path("docs/results.md")
TRANSFER = ("zeroeval", "routerbench")
SELECTION = {"agreement": extract_answer}
MOST_TASKS = 12
_OURS = (
    "best-route",
    "best-route, utility",
    "ensemble with knn",
    "ensemble with knn, utility",
)

ADAPTIVE = "best-route, adaptive"

SUMMARY_CUT = 0.4
SUMMARISED = ("random mix", *_OURS, ADAPTIVE, "knn", "oracle")


def section(name: str) -> tuple[str, Comparison]:
    """One data set's part of the page, and the comparison in it."""
    recorded = load(name)
    fitted = fit(recorded.table, recorded.pool, baselines=())
    test = fitted.outcomes.select("test")
    bench = Bench(
        test=test,
        cost_model=fitted.engine.cost_model,
        train=fitted.outcomes.select("train"),
        table=recorded.table,
        pool=recorded.pool,
        selection=SELECTION,
    )
    several = any(arm.n > 1 for arm in test.arms)
    comparison = compare(
        test,
        _curves(recorded, bench, fitted.engine.router),
        clairvoyant=bench.clairvoyant() if several else None,
    )
    sizes = {split: fitted.outcomes.splits.count(split) for split in ("train", "calibration")}
    tables = [
        f"## {name}",
        f"Source: {recorded.source}. {sizes['train']} train, {sizes['calibration']} calibration, "
        f"{len(test)} test queries. {recorded.notes}",
        f"```bash\npython -m tests.benchmarks.results {name}\n```",
        comparison_markdown(comparison),
        evaluation_markdown(fitted.evaluation).replace("## ", "### "),
        f"{fitted.drops} {_promise(fitted.engine.calibration)}",
    ]
    tasks = fitted.assessment.tasks
    if 1 < len(tasks) <= MOST_TASKS:
        tables += ["### Task by task, at the same threshold", tasks_markdown(tasks)]
    if name in TRANSFER:
        found = transfers(
            fitted.outcomes, fitted.engine.cost_model, encoder_of(fitted.engine.router)
        )
        tables += ["### Trained on the other tasks only", transfer_markdown(found)]
    tables.append(_calibration_error(recorded))
    return "\n\n".join(tables), comparison


def summary(found: dict[str, Comparison]) -> str:
    """One line a data set: drops at one cost cut, and the gap that our routers recover."""
    column = COST_CUTS.index(SUMMARY_CUT)
    whose = (*_OURS, ADAPTIVE)
    gaps = [f"gap recovered by {name}" for name in whose]
    head = [f"drop (%) at {SUMMARY_CUT:.0%} cost cut", *SUMMARISED, *gaps]
    lines = [head, ["---"] * len(head)]
    for name, comparison in found.items():
        methods = [comparison.method(each) for each in SUMMARISED]
        ours = [comparison.method(each) for each in whose]
        drops = [value_of(each.drops[column]) for each in methods]
        lines.append(
            [
                name,
                *("n/a" if drop is None else f"{100 * drop:.1f}" for drop in drops),
                *(_with_interval(each.gap_recovered[column]) for each in ours),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _with_interval(figure: Interval | None) -> str:
    if figure is None:
        return "n/a"
    return f"{figure.value:.0%} [{figure.lo:.0%}, {figure.hi:.0%}]"


def _curves(recorded: Recorded, bench: Bench, router) -> dict[str, Curve]:
    ensemble = train(recorded.table, recorded.pool, router=ENSEMBLE)[0].router
    ours = (bench.router(router), bench.utility(router))
    ours += (bench.router(ensemble), bench.utility(ensemble))
    curves = dict(zip(_OURS, ours, strict=True))
    several = any(arm.n > 1 for arm in bench.test.arms)
    curves[ADAPTIVE] = bench.adaptive(router, belief_of(bench))
    if several:
        curves["best-route, early stop"] = bench.early_stop(router)
    for name in BASELINES:
        if several or name not in ("single-sample", "cascade"):
            curves |= bench.baseline(name, encoder_of(router))
    return curves


def _promise(table) -> str:
    rows = [
        f"{row.max_drop:.1%} at threshold {row.threshold:.3f}"
        for row in table.promises
        if row.confidence == 0.95
    ]
    limits = [each.max_drop for each in table.limits if each.confidence == 0.95]
    least = "nothing" if not limits or limits[0] is None else f"{limits[0]:.1%}"
    certified = ", ".join(rows) or "none of 0.5, 1, 2, 5, 10 %"
    return (
        f"Certified with 95 % confidence on the {table.n_queries} calibration queries: "
        f"{certified}; the smallest certifiable drop is {least}."
    )


def _calibration_error(recorded: Recorded) -> str:
    """Expected calibration error on the test split, as trained and calibrated."""
    lines = ["| match probabilities | expected calibration error | log loss |", "|---|---|---|"]
    for kind in ("as-trained", "temperature", "isotonic"):
        engine, outcomes = train(recorded.table, recorded.pool, probabilities=kind)
        test = outcomes.select("test")
        headed = [i for i in range(len(test.arms)) if i != test.reference_index]
        found = reliability(
            engine.router.predict(test.queries).match[:, headed], test.match[:, headed]
        )
        lines.append(f"| {kind} | {found.ece:.3f} | {found.log_loss:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the data sets asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=["all", *SETS])
    parser.add_argument("--write", action="store_true", help="into docs/results.md")
    asked = parser.parse_args()
    whole = "all" in asked.names
    found = {}
    for name in SETS if whole else asked.names:
        text, found[name] = section(name)
        sys.stdout.write(text + "\n\n")
        if asked.write:
            write(name, text, PAGE)
    if whole:
        sys.stdout.write(summary(found) + "\n")
        if asked.write:
            write("summary", summary(found), PAGE)


if __name__ == "__main__":
    main()
