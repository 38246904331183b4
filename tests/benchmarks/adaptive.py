"""Policies that look at the samples, on every recorded data set: what docs/adaptive.md tells.

`python -m tests.benchmarks.adaptive mot-date` prints the tables of the test split;
`--train-only` prints the ablations instead, by cross-validation on the train split: no test query
is read. `--write` puts them into docs/adaptive.md; `all` stands for every data set, and makes the
summary too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import numpy as np

from bestroute.learning.beliefs.train import learn
from bestroute.learning.bestofn import Floats
from bestroute.learning.evaluation.compare import COST_CUTS, Comparison, compare
from bestroute.learning.evaluation.curves import Curve
from bestroute.learning.evaluation.intervals import Interval, bootstrap, interval, tails
from bestroute.learning.evaluation.methods import Bench
from bestroute.learning.evaluation.recording import SECONDS_PER_TOKEN
from bestroute.learning.evaluation.report import comparison_markdown
from bestroute.learning.fit import train
from bestroute.learning.outcomes import Outcomes
from bestroute.policy import Cascade, OneShot, Policy
from bestroute.policy.adaptive import Adaptive
from bestroute.policy.belief import Belief
from bestroute.policy.early_stop import EarlyStop
from bestroute.policy.threshold import ALWAYS_REFERENCE
from bestroute.routers import Router, StaticEncoder
from tests.benchmarks.ablations import SELECTION, ablations, orders_of
from tests.benchmarks.pages import write
from tests.benchmarks.recorded import SETS, Recorded, load
from tests.benchmarks.variants import multi_head

PAGE = Path("docs/adaptive.md")
ONE_SHOT, ADAPTIVE = "one-shot", "adaptive"


@dataclass(frozen=True)
class Trained:
    """One data set, what was learnt from its train split, and what it is tried on."""

    recorded: Recorded
    bench: Bench
    router: Router
    belief: Belief

    @property
    def several(self) -> bool:
        """Whether any model may be sampled more than once."""
        return any(arm.n > 1 for arm in self.bench.test.arms)


def trained(name: str) -> Trained:
    """Everything from the train split; the test split to try it on."""
    recorded = load(name)
    engine, outcomes = train(recorded.table, recorded.pool)
    bench = Bench(
        test=outcomes.select("test"),
        cost_model=engine.cost_model,
        train=outcomes.select("train"),
        table=recorded.table,
        pool=recorded.pool,
        selection=SELECTION,
    )
    return Trained(recorded, bench, engine.router, belief_of(bench))


def belief_of(bench: Bench) -> Belief:
    """Learnt from the train split, the paper's router its prior."""
    return learn(
        bench.table,
        bench.pool,
        bench.train,
        multi_head(StaticEncoder()),
        selection=SELECTION,
        permutations=orders_of(bench.train),
    )


def curves_of(found: Trained) -> dict[str, Curve]:
    """Every policy at all its settings."""
    bench, router, belief = found.bench, found.router, found.belief
    curves = {ONE_SHOT: bench.router(router), "one-shot, utility": bench.utility(router)}
    if found.several:
        curves |= bench.cascades()
        curves["early stop"] = bench.early_stop(router)
    curves[ADAPTIVE] = bench.adaptive(router, belief)
    if found.several:
        curves["adaptive, look_ahead=1"] = bench.adaptive(router, belief, look_ahead=1)
        curves["adaptive, max_waves=2"] = bench.adaptive(router, belief, max_waves=2)
        curves["adaptive, max_waves=1"] = bench.adaptive(router, belief, max_waves=1)
    return curves


def section(name: str) -> tuple[str, Comparison]:
    """The tables of one test split, and the comparison in them."""
    found = trained(name)
    test, curves = found.bench.test, curves_of(found)
    known = found.bench.clairvoyant() if found.several else None
    comparison = compare(test, curves, clairvoyant=known)
    parts = [
        f"### {name}",
        f"{len(found.bench.train)} train and {len(test)} test queries.",
        f"```bash\npython -m tests.benchmarks.adaptive {name}\n```",
        comparison_markdown(comparison),
    ]
    if found.several:
        parts += [_at_equal_quality(test, curves), _seconds(found, curves)]
    return "\n\n".join(parts), comparison


def _at_equal_quality(test: Outcomes, curves: dict[str, Curve]) -> str:
    """Cost and sampled tokens against one-shot's, at the quality that it has at each cost cut."""
    names = [name for name in curves if name != ONE_SHOT]
    reference = test.reference_index

    def measure(counts: Floats) -> Floats:
        shares = counts / len(test)
        wanted = (shares @ test.cost[:, reference]) * (1 - np.array(COST_CUTS))
        lines = {name: _points(curve, test, shares) for name, curve in curves.items()}
        targets = np.interp(wanted, *lines[ONE_SHOT][:2])
        base = _cheapest(*lines[ONE_SHOT], targets)
        found = [_cheapest(*lines[name], targets) / base - 1 for name in names]
        return np.concatenate(found).ravel()

    point, drawn = bootstrap(measure, len(test), resamples=1000, seed=0)
    unknown = np.isnan(point) | (np.isnan(drawn).mean(axis=0) > 0.05)
    quantiles = tails(1000, 0.95)
    cells = [
        "n/a" if unknown[at] else _percent(interval(point[at], drawn[:, at], quantiles))
        for at in range(len(point))
    ]
    head = [
        "(%) against one-shot, at its quality at a cost cut of",
        "method",
        *(f"{cut:.0%}" for cut in COST_CUTS),
    ]
    rows = []
    for what, offset in (("cost", 0), ("sampled tokens", 1)):
        for place, name in enumerate(names):
            first = 2 * len(COST_CUTS) * place + offset
            rows.append([what, name, *cells[first : first + 2 * len(COST_CUTS) : 2]])
    return _table(head, rows)


def _points(curve: Curve, test: Outcomes, shares: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean cost, ascending, quality and tokens along a curve; always-reference ends it."""
    at, tokens = test.reference_index, test.sampled_tokens
    cost = np.append(curve.costs @ shares, shares @ test.cost[:, at])
    quality = np.append(curve.qualities @ shares, shares @ test.quality[:, at])
    sampled = np.append(curve.tokens @ shares, shares @ tokens[:, at])
    order = np.argsort(cost, kind="stable")
    return cost[order], quality[order], sampled[order]


def _cheapest(cost: Floats, quality: Floats, tokens: Floats, targets: Floats) -> Floats:
    """(Cost, tokens) where a curve first has each quality [targets, 2]; NaN where it never has."""
    found = np.full((len(targets), 2), np.nan)
    for row, target in enumerate(targets):
        places = np.flatnonzero(quality >= target - 1e-9)
        if not len(places):
            continue
        at = places[0]
        share = 1.0
        if at > 0:
            share = min((target - quality[at - 1]) / (quality[at] - quality[at - 1]), 1.0)
        low = max(at - 1, 0)
        found[row] = [
            cost[low] + share * (cost[at] - cost[low]),
            tokens[low] + share * (tokens[at] - tokens[low]),
        ]
    return found


def _seconds(found: Trained, curves: dict[str, Curve]) -> str:
    """Waves and latency at the settings nearest to each cost cut."""
    test = found.bench.test
    full = test.cost[:, test.reference_index].mean()
    policies: dict[str, Callable[[float], Policy]] = {
        ONE_SHOT: OneShot,
        "early stop": EarlyStop,
        ADAPTIVE: lambda t: Adaptive(t, found.belief),
        "adaptive, max_waves=2": lambda t: Adaptive(t, found.belief, max_waves=2),
        "adaptive, max_waves=1": lambda t: Adaptive(t, found.belief, max_waves=1),
    }
    for name in curves:
        if name.startswith("cascade-"):
            n = int(name.removeprefix("cascade-"))
            policies[name] = lambda share, n=n: Cascade(n=n, agreement=share)
    rows = [_row("always the reference", found, OneShot(ALWAYS_REFERENCE), full)]
    for cut in (0.4, 0.6):
        for name, policy_at in policies.items():
            curve = curves[name]
            nearest = int(np.abs(curve.cost - (1 - cut) * full).argmin())
            label = f"{name}, nearest to {cut:.0%}"
            rows.append(_row(label, found, policy_at(float(curve.thresholds[nearest])), full))
    recorded = rows[0].pop()
    for row in rows[1:]:
        row.pop()
    how = "as recorded" if recorded else f"{SECONDS_PER_TOKEN} s a token of the longest sample"
    head = ["", "cost cut", "quality", "waves", "sampled tokens", "p50 (s)", "p95 (s)"]
    return _table(head, rows) + f"\n\nSeconds over queries and orders, waves in turn: {how}."


def _row(label: str, found: Trained, policy: Policy, full: float) -> list[str]:
    prediction = found.router.predict(found.bench.test.queries)
    played = found.bench.play(policy, prediction, permutations=50)
    middle, tail = np.quantile(played.seconds, [0.5, 0.95])
    return [
        label,
        f"{1 - played.cost.mean() / full:.0%}",
        f"{played.quality.mean():.3f}",
        f"{played.waves.mean():.2f}",
        f"{played.tokens.mean():.0f}",
        f"{middle:.2f}",
        f"{tail:.2f}",
        "recorded" if played.recorded else "",
    ]


def summary(found: dict[str, Comparison]) -> str:
    """One line a data set: adaptive beside one-shot and the random mix, and what it gains."""
    head = ["quality minus that of the random mix at a cost cut of", "method"]
    lines = [
        [name if method == ADAPTIVE else "", method, *map(_gain, comparison.method(method).gains)]
        for name, comparison in found.items()
        for method in (ADAPTIVE, ONE_SHOT, "one-shot, utility")
    ]
    return _table([*head, *(f"{cut:.0%}" for cut in COST_CUTS)], lines)


def _percent(figure: Interval) -> str:
    return f"{100 * figure.value:+.0f} [{100 * figure.lo:+.0f}, {100 * figure.hi:+.0f}]"


def _gain(figure: Interval | None) -> str:
    if figure is None:
        return "n/a"
    return f"{figure.value:+.3f} [{figure.lo:+.3f}, {figure.hi:+.3f}]"


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(each)} |" for each in [head, ["---"] * len(head), *rows])


def main() -> None:
    """Run the data sets asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=["all", *SETS])
    parser.add_argument("--train-only", action="store_true", help="ablations, on the train split")
    parser.add_argument("--write", action="store_true", help="into docs/adaptive.md")
    asked = parser.parse_args()
    found = {}
    for name in SETS if "all" in asked.names else asked.names:
        if asked.train_only:
            text, mark = ablations(name), f"{name}, train"
        else:
            (text, found[name]), mark = section(name), name
        sys.stdout.write(text + "\n\n")
        sys.stdout.flush()
        if asked.write:
            write(mark, text, PAGE)
    if found:
        sys.stdout.write(summary(found) + "\n")
        if asked.write and len(found) == len(SETS):
            write("summary", summary(found), PAGE)


if __name__ == "__main__":
    main()
