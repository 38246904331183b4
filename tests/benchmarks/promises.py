"""How many calibration queries a promise takes: `python -m tests.benchmarks.promises`.

Calibration sets of n queries are drawn from the population of `tests.populations.easy_and_hard`,
where truth is known. Prints Markdown: share of the sets that certify a threshold cheaper than
always-reference, the mean share of the cost that it saves (0 where none is certified), and the
share of sets whose promise is not kept. Last, about how many queries a threshold takes that loses
nothing on average, by the share of right-or-wrong answers that it changes.
"""

from __future__ import annotations

import numpy as np
from rich.console import Console

from bestroute.learning.calibration.bounds import (
    MeanTest,
    betting,
    empirical_bernstein,
    queries_needed,
)
from bestroute.learning.calibration.certify import certify
from bestroute.learning.calibration.sequence import one_shot
from tests.populations import Population, easy_and_hard

RUNS = 100
DROPS = (0.005, 0.01, 0.02, 0.05)
CHANGED = (0.0, 0.02, 0.05, 0.1, 0.2)
SIZES = (100, 250, 500, 1000, 2500, 5000)
TESTS: dict[str, MeanTest] = {"betting": betting, "empirical Bernstein": empirical_bernstein}


def main() -> None:
    """Print one table a test."""
    console = Console(width=120)
    everything = easy_and_hard()
    for name, test in TESTS.items():
        console.print(f"{name}: certified / cost cut / not kept, of {RUNS} calibration sets\n")
        console.print("| drop | " + " | ".join(f"n = {n}" for n in SIZES) + " |")
        console.print("|---" * (len(SIZES) + 1) + "|")
        for max_drop in DROPS:
            cells = [cell(everything, test, n, max_drop) for n in SIZES]
            console.print(f"| {max_drop:.1%} | " + " | ".join(cells) + " |")
        console.print()
    console.print("about how many queries, at confidence 0.95\n")
    console.print("| drop | " + " | ".join(f"{share:.0%} changed" for share in CHANGED) + " |")
    console.print("|---" * (len(CHANGED) + 1) + "|")
    for max_drop in DROPS:
        about = [f"{queries(max_drop, changed):,}" for changed in CHANGED]
        console.print(f"| {max_drop:.1%} | " + " | ".join(about) + " |")


def queries(max_drop: float, changed: float, *, many: int = 100_000) -> int:
    """For a reference right on 9 in 10, half of the changed answers better and half worse."""
    reference = np.arange(many) < 0.9 * many
    router = reference.copy()
    half = round(changed * many / 2)
    router[:half] = False
    router[many - half :] = True
    gains = router - (1 - max_drop) * reference
    return round(queries_needed(gains[None], lowest=max_drop - 1, delta=0.05))


def cell(everything: Population, test: MeanTest, n: int, max_drop: float) -> str:
    """The three shares."""
    rng = np.random.default_rng(n)
    found = [
        certify(one_shot(*everything.draw(n, rng)), max_drop=max_drop, seed=run, test=test)
        for run in range(RUNS)
    ]
    thresholds = [each.threshold for each in found if each.threshold is not None]
    truth = everything.drops(thresholds)
    broken = sum(truth[threshold] > max_drop for threshold in thresholds)
    saved = float(np.mean([each.cost_cut for each in found]))
    return f"{len(thresholds) / RUNS:.0%} / {saved:.0%} / {broken / RUNS:.0%}"


if __name__ == "__main__":
    main()
