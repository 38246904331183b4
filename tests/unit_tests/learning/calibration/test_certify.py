"""The promise: kept in repeated calibrations, worth something, and refused where it must be."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

import numpy as np
import pytest

from bestroute import BestRoute
from bestroute.errors import ConfigError, DataError
from bestroute.learning.calibration.bounds import empirical_bernstein
from bestroute.learning.calibration.calibrate import pick_threshold
from bestroute.learning.calibration.certify import certify
from bestroute.learning.calibration.sequence import REPLAYED, THRESHOLDS, one_shot
from bestroute.learning.evaluation.curves import Curve, sweep
from bestroute.learning.evaluation.methods import Bench
from bestroute.learning.fit import train
from bestroute.learning.samples import read_samples
from bestroute.learning.selection_rule import selection_of
from bestroute.policy import Adaptive
from bestroute.policy.threshold import ALWAYS_REFERENCE
from bestroute.pool import ModelPool
from tests.populations import Looking, Population, easy_and_hard, just_too_bad, population

RUNS = 300
MOST_VIOLATIONS = 28
"""99.9 % quantile of the binomial with 300 runs at 0.05."""

Rule = Callable[[int, tuple], float | None]


@pytest.fixture(scope="module")
def bench() -> tuple[BestRoute, Bench]:
    """The shipped samples beyond the training split, and an engine trained on that."""
    data = resources.files("bestroute") / "data"
    table = read_samples(str(data / "demo_samples.parquet"), scored=True)
    engine, outcomes = train(
        table, ModelPool.from_yaml(str(data / "demo_pool.yaml")), policy="adaptive"
    )
    rows = [row for row, split in enumerate(outcomes.splits) if split != "train"]
    selection = selection_of(engine.reward)
    return engine, Bench(
        outcomes.take(rows), engine.cost_model, table=table, pool=engine.pool, selection=selection
    )


@pytest.fixture(scope="module")
def shipped(bench: tuple[BestRoute, Bench]) -> Population:
    """Under the paper's rule."""
    engine, held_out = bench
    assert engine.router is not None
    prediction = engine.router.predict(held_out.test.queries)
    estimated = held_out.test.estimated_costs(engine.cost_model, prediction)
    return Population(prediction.match, estimated, held_out.test)


def promised(max_drop: float) -> Rule:
    return lambda seed, drawn: certify(one_shot(*drawn), max_drop=max_drop, seed=seed).threshold


def recalibrated(everything: Population, rule: Rule, *, n: int, max_drop: float) -> tuple[int, int]:
    """Of 300 calibration sets: how many certify a threshold, how many a wrong one."""
    rng = np.random.default_rng(1)
    found = [rule(seed, everything.draw(n, rng)) for seed in range(RUNS)]
    thresholds = [threshold for threshold in found if threshold is not None]
    truth = everything.drops(thresholds)
    return len(thresholds), sum(truth[threshold] > max_drop for threshold in thresholds)


@pytest.mark.parametrize(("n", "max_drop"), [(500, 0.02), (600, 0.05)])
def test_the_shipped_samples_as_population(shipped: Population, n: int, max_drop: float) -> None:
    certified, violations = recalibrated(shipped, promised(max_drop), n=n, max_drop=max_drop)
    assert violations <= MOST_VIOLATIONS
    assert certified > RUNS / 2, "a promise never made is never broken"


def test_the_shipped_samples_under_the_adaptive_policy(bench: tuple[BestRoute, Bench]) -> None:
    engine, held_out = bench
    assert engine.router is not None and isinstance(engine.policy, Adaptive)
    steps = [*REPLAYED[::-3], ALWAYS_REFERENCE]
    every = held_out.replays(engine.policy.at, engine.router, thresholds=steps, permutations=5)
    truth = dict(zip(steps, 1 - every.quality / every.quality[-1], strict=True))
    certified = violations = 0
    for run in range(RUNS):
        rows = np.random.default_rng(run).integers(len(held_out.test), size=600)
        drawn = Curve(every.thresholds, every.costs[:, rows], every.qualities[:, rows])
        found = certify(drawn, max_drop=0.1, seed=run).threshold
        if found is not None:
            certified += 1
            violations += truth[found] > 0.1
    assert violations <= MOST_VIOLATIONS
    assert certified > RUNS / 2


def test_a_population_that_allows_it() -> None:
    everything = easy_and_hard()
    certified, violations = recalibrated(everything, promised(0.02), n=600, max_drop=0.02)
    assert violations <= MOST_VIOLATIONS
    assert certified >= 0.8 * RUNS


def test_a_population_that_is_a_hair_too_bad() -> None:
    """Every threshold that saves anything is wrong here: the worst case for a promise."""
    everything = just_too_bad(0.05)
    _, violations = recalibrated(everything, promised(0.05), n=600, max_drop=0.05)
    assert violations <= MOST_VIOLATIONS


@pytest.mark.parametrize("orders", [1, 4])
def test_a_policy_that_looks_at_its_samples(orders: int) -> None:
    """The quality of a query is then a mean over orders, which differ from set to set."""
    everything = Looking.easy_and_hard()
    certified, violations = 0, 0
    for run in range(RUNS):
        rng = np.random.default_rng(run)
        found = certify(everything.draw(600, orders, rng), max_drop=0.02, seed=run)
        if found.threshold is not None:
            certified += 1
            violations += everything.drop(found.threshold) > 0.02
    assert violations <= MOST_VIOLATIONS
    assert certified > RUNS / 2


@pytest.mark.parametrize("orders", [1, 4])
def test_a_policy_that_looks_and_is_a_hair_too_bad(orders: int) -> None:
    everything = Looking.just_too_bad(0.05)
    assert 0.05 < everything.drop(REPLAYED[0]) < 0.0501
    broken = sum(
        certify(
            everything.draw(600, orders, np.random.default_rng(run)), max_drop=0.05, seed=run
        ).threshold
        is not None
        for run in range(RUNS)
    )
    assert broken <= MOST_VIOLATIONS


def test_a_point_estimate_would_not_pass() -> None:
    everything = just_too_bad(0.05)

    def picked(seed: int, drawn: tuple) -> float:
        return pick_threshold(*drawn, max_drop=0.05).threshold

    _, violations = recalibrated(everything, picked, n=600, max_drop=0.05)
    assert violations > 3 * MOST_VIOLATIONS


def drawn(n: int, seed: int = 0) -> tuple:
    return easy_and_hard().draw(n, np.random.default_rng(seed))


def test_what_is_measured_is_told_beside_the_promise() -> None:
    match, estimated, outcomes = drawn(2000)
    found = certify(one_shot(match, estimated, outcomes), max_drop=0.02)
    assert found.threshold in THRESHOLDS
    small = match[:, 0] >= found.threshold
    quality = np.where(small, outcomes.quality[:, 0], outcomes.quality[:, 1])
    assert found.drop == pytest.approx(1 - quality.mean() / outcomes.quality[:, 1].mean())
    assert found.drop < 0.02
    assert found.cost_per_1k == pytest.approx(1 - 0.9 * small.mean())
    assert found.cost_cut == pytest.approx(0.9 * small.mean())
    assert found.cost_cut > 0.3
    assert f"Threshold {found.threshold:g} promises a drop of at most 2.00%" in found.verdict


def test_a_larger_drop_and_less_confidence_save_more() -> None:
    data = drawn(2000)
    cuts = [certify(one_shot(*data), max_drop=drop).cost_cut for drop in (0.005, 0.02, 0.1)]
    assert cuts[0] < cuts[1] < cuts[2]
    sure, less = (
        certify(one_shot(*data), max_drop=0.02, confidence=level) for level in (0.99, 0.8)
    )
    assert less.cost_cut > sure.cost_cut


def test_too_few_queries_are_told_what_they_could_do() -> None:
    data = drawn(60)
    found = certify(one_shot(*data), max_drop=0.01)
    assert found.threshold is None
    assert (found.drop, found.cost_cut) == (0, 0)
    assert found.smallest_drop is not None and found.smallest_drop > 0.01
    assert certify(one_shot(*data), max_drop=found.smallest_drop).threshold is not None
    assert certify(one_shot(*data), max_drop=found.smallest_drop * 0.9).threshold is None
    assert found.queries_needed is not None and found.queries_needed > 60
    assert "not certifiable with 60 queries; the smallest certifiable drop is" in found.verdict
    assert f"About {found.queries_needed:,} queries would be needed" in found.verdict
    shares = [
        certify(one_shot(*drawn(found.queries_needed, seed)), max_drop=0.01).threshold is not None
        for seed in range(10)
    ]
    assert sum(shares) >= 3


def test_more_queries_do_not_prove_what_is_not_so() -> None:
    hopeless = population(np.full(500, 0.9), np.zeros(500), np.ones(500))
    found = certify(one_shot(hopeless.match, hopeless.estimated, hopeless.outcomes), max_drop=0.05)
    assert (found.threshold, found.queries_needed) == (None, None)
    assert "more queries may not help" in found.verdict


def test_a_router_that_never_leaves_the_reference_promises_nothing() -> None:
    dear = population(np.full(50, 0.9), np.ones(50), np.ones(50))
    found = certify(one_shot(dear.match, dear.estimated[:, ::-1], dear.outcomes), max_drop=0.5)
    assert (found.threshold, found.smallest_drop) == (None, None)
    assert "no threshold that saves anything passes" in found.verdict


def test_of_what_is_certified_the_cheapest_is_taken() -> None:
    """A policy that looks can pay more at a lower threshold, for samples that did not help."""
    cost = np.array([0.5, 0.2, 0.6, 1.0])
    quality = np.ones((4, 500))
    curve = Curve(np.array([0.1, 0.5, 0.9, ALWAYS_REFERENCE]), np.tile(cost, (500, 1)).T, quality)
    found = certify(curve, max_drop=0.05)
    assert (found.threshold, found.cost_cut) == (0.5, pytest.approx(0.8))
    dear = Curve(curve.thresholds, np.tile([2.0, 3.0, 1.5, 1.0], (500, 1)).T, quality)
    assert certify(dear, max_drop=0.05).threshold is None, "none of them saves anything"


def test_the_sequence_starts_at_always_reference() -> None:
    data = easy_and_hard().draw(50, np.random.default_rng(0))
    with pytest.raises(DataError, match="always-reference"):
        certify(sweep(*data, [0.2, 0.8]), max_drop=0.1)


def test_the_sequence_stops_at_the_first_failure() -> None:
    """At 0.9 the small model is trusted where it fails; below, it makes up for that."""
    match = np.repeat([0.95, 0.85], [200, 1800])
    small = np.repeat([0.0, 1.0], [200, 1800])
    big = np.repeat([1.0, 0.5], [200, 1800])
    both = population(match, small, big)
    assert both.drops([0.9, 0.8]) == {0.9: pytest.approx(2 / 11), 0.8: pytest.approx(-7 / 11)}
    found = certify(one_shot(both.match, both.estimated, both.outcomes), max_drop=0.1)
    assert found.threshold is None


def test_an_arm_without_a_word_of_the_router_is_never_promised() -> None:
    """A match probability of 0 says that the router knows nothing of the arm."""
    silent = population(np.zeros(2000), np.ones(2000), np.ones(2000))
    found = certify(one_shot(silent.match, silent.estimated, silent.outcomes), max_drop=0.5)
    assert (found.threshold, found.smallest_drop) == (None, None)


def test_the_order_of_the_table_does_not_matter_much() -> None:
    """Sorted by task, the losses stand at the end; betting in that order would be wrong."""
    match, estimated, outcomes = just_too_bad(0.05).draw(2000, np.random.default_rng(0))
    last = np.argsort(-outcomes.quality[:, 0], kind="stable")
    found = certify(one_shot(match[last], estimated[last], outcomes.take(last)), max_drop=0.04)
    assert found.threshold is None


def test_it_is_the_same_again_under_a_seed() -> None:
    data = drawn(500)
    assert certify(one_shot(*data), max_drop=0.03, seed=5) == certify(
        one_shot(*data), max_drop=0.03, seed=5
    )


def test_bernstein_promises_less() -> None:
    data = drawn(2000)
    bets = certify(one_shot(*data), max_drop=0.05)
    found = certify(one_shot(*data), max_drop=0.05, test=empirical_bernstein)
    assert found.cost_cut < bets.cost_cut


def test_scores_on_another_scale_need_a_range() -> None:
    match, estimated, outcomes = drawn(2000)
    plain = certify(one_shot(match, estimated, outcomes), max_drop=0.02)
    scaled = population(match[:, 0], outcomes.quality[:, 0] * 8, outcomes.quality[:, 1] * 8)
    with pytest.raises(DataError, match=r"lie in \[0, 8\].*score_range"):
        certify(one_shot(match, estimated, scaled.outcomes), max_drop=0.02)
    found = certify(one_shot(match, estimated, scaled.outcomes), max_drop=0.02, score_range=(0, 8))
    assert found.threshold == plain.threshold
    wide = certify(one_shot(match, estimated, scaled.outcomes), max_drop=0.02, score_range=(-8, 80))
    assert wide.cost_cut < found.cost_cut
    clipped = certify(
        one_shot(match, estimated, scaled.outcomes), max_drop=0.02, score_range=(0, 4)
    )
    assert clipped.threshold == plain.threshold, "8 counts as 4 for both models"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_drop": -0.1}, "max_drop"),
        ({"max_drop": float("nan")}, "max_drop"),
        ({"max_drop": 0.1, "confidence": 1.0}, "confidence"),
        ({"max_drop": 0.1, "score_range": (1, 0)}, "score_range"),
    ],
)
def test_options_out_of_range(options: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        certify(one_shot(*drawn(10)), **options)


def test_a_reference_of_no_quality_has_no_relative_drop() -> None:
    nothing = population(np.full(9, 0.9), np.ones(9), np.zeros(9))
    with pytest.raises(DataError, match="not positive"):
        certify(one_shot(nothing.match, nothing.estimated, nothing.outcomes), max_drop=0.1)
