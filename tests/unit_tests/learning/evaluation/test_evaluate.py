"""A perfect router is the oracle, a useless one no better than a random mix, and intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from bestroute.errors import ConfigError
from bestroute.learning.evaluation.curves import ALWAYS_REFERENCE
from bestroute.learning.evaluation.evaluate import evaluate


def test_a_perfect_router_is_the_oracle(easy_or_hard) -> None:
    found = evaluate(easy_or_hard.match, easy_or_hard.cost, easy_or_hard, 0.5, resamples=200)
    router, best, mix = (found.row(name) for name in ("router", "oracle", "random_mix"))
    assert (router.quality, router.cost_per_1k, router.cost_cut) == pytest.approx((1, 3000, 0.4))
    assert best.quality == pytest.approx(1)
    # arms (1, .5), (2.5, .6) and (5, 1): the hull leaves the middle one out
    assert mix.quality == pytest.approx(0.75)
    assert mix.cost_per_1k == best.cost_per_1k == pytest.approx(3000)
    gain = found.router_minus_random_mix
    assert gain.value == pytest.approx(0.25)
    assert 0.2 < gain.lo < gain.hi  # p (1 - p), largest where half the queries are easy
    assert gain.hi == pytest.approx(0.25)
    assert found.gap_recovered is not None
    assert (found.gap_recovered.lo, found.gap_recovered.hi) == pytest.approx((1, 1))
    assert found.arm_shares == {"small:1": 0.5, "big:1": 0.5}
    assert "better than a random mix" in found.verdict
    assert "recovered: 100%" in found.verdict


def test_rows_name_every_arm_once(easy_or_hard) -> None:
    found = evaluate(easy_or_hard.match, easy_or_hard.cost, easy_or_hard, 0.5, resamples=10)
    assert [row.name for row in found.rows] == [
        "always_reference",
        "random_mix",
        "router",
        "oracle",
        "fixed:small:1",
        "fixed:small:2",
    ]
    reference, small = found.row("always_reference"), found.row("fixed:small:2")
    assert (reference.quality, reference.cost_per_1k, reference.cost_cut) == (1, 5000, 0)
    assert (small.quality, small.cost_per_1k, small.cost_cut) == pytest.approx((0.6, 2500, 0.5))
    assert (found.n_queries, found.threshold) == (200, 0.5)
    with pytest.raises(KeyError):
        found.row("nobody")


def test_a_constant_router_is_within_the_random_mix(make_outcomes) -> None:
    rng = np.random.default_rng(1)
    cost = rng.uniform(0.5, 1.5, (150, 4)) * [1, 2, 3, 8]
    quality = (rng.random((150, 4)) < [0.4, 0.6, 0.65, 0.8]).astype(float)
    outcomes = make_outcomes(cost, quality)
    estimated = np.tile([1.0, 2, 3, 8], (150, 1))
    match = np.tile([0.5, 0.7, 0.8, 1.0], (150, 1))
    for threshold in (0.1, 0.6, 0.75, 0.9):
        found = evaluate(match, estimated, outcomes, threshold, resamples=100)
        assert found.router_minus_random_mix.hi <= 1e-9
        assert len(found.arm_shares) == 1
        assert found.gap_recovered is not None
        assert found.gap_recovered.hi <= 1e-9


def test_a_router_that_guesses_is_not_told_from_the_random_mix(make_outcomes) -> None:
    rng = np.random.default_rng(2)
    quality = (rng.random((1000, 2)) < [0.5, 0.8]).astype(float)
    outcomes = make_outcomes(np.tile([1.0, 5], (1000, 1)), quality)
    match = rng.random((1000, 2))
    found = evaluate(match, outcomes.cost, outcomes, 0.5, resamples=300)
    gain = found.router_minus_random_mix
    assert gain.lo < 0 < gain.hi
    assert gain.hi - gain.lo < 0.1
    assert "not distinguishable from" in found.verdict


def test_a_router_that_is_always_wrong_is_worse(easy_or_hard) -> None:
    upside_down = 1 - easy_or_hard.match
    found = evaluate(upside_down, easy_or_hard.cost, easy_or_hard, 0.5, resamples=100)
    assert found.router_minus_random_mix.hi < 0
    assert "worse than" in found.verdict


def test_without_a_gap_there_is_none_to_recover(make_outcomes) -> None:
    alike = make_outcomes(np.tile([1.0, 5], (30, 1)), np.tile([0.5, 1], (30, 1)))
    found = evaluate(alike.match, alike.cost, alike, 0.5, resamples=50)
    assert found.gap_recovered is None
    assert found.verdict.endswith("n/a.")
    assert found.row("router").cost_cut == 0


def test_a_gap_that_chance_may_have_made_is_none(make_outcomes) -> None:
    quality = np.ones((40, 2))
    quality[0] = [1, 0]
    quality[1] = [0, 1]  # without this query, small is as good as any
    lucky = make_outcomes(np.tile([1.0, 5], (40, 1)), quality)
    found = evaluate(lucky.match, lucky.cost, lucky, 0.5, resamples=500)
    assert found.row("oracle").quality > found.row("random_mix").quality
    assert found.gap_recovered is None


def test_always_reference_differs_from_itself_by_nothing(make_outcomes) -> None:
    rng = np.random.default_rng(4)
    quality = np.column_stack([rng.random(101) * 0.5, np.full(101, 0.7)])  # no arm to prefer
    outcomes = make_outcomes(rng.random((101, 2)) * [1, 9], quality)
    found = evaluate(outcomes.match, outcomes.cost, outcomes, ALWAYS_REFERENCE, resamples=100)
    gain = found.router_minus_random_mix
    assert (gain.value, gain.lo, gain.hi) == (0, 0, 0)
    assert "+0.000 in quality" in found.verdict
    router, reference = found.row("router"), found.row("always_reference")
    assert router.cost_cut == reference.cost_cut == 0
    assert router.quality_lo == pytest.approx(reference.quality_lo)
    assert router.cost_per_1k == pytest.approx(reference.cost_per_1k)


def test_intervals_have_the_width_of_the_mean_s_error(make_outcomes) -> None:
    rng = np.random.default_rng(3)
    outcomes = make_outcomes(np.tile([1.0, 5], (400, 1)), rng.random((400, 2)))
    found = evaluate(outcomes.match, outcomes.cost, outcomes, 0.5, resamples=2000)
    row = found.row("fixed:small:1")
    error = outcomes.quality[:, 0].std() / np.sqrt(400)
    assert row.quality_hi - row.quality_lo == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert row.quality_lo < row.quality < row.quality_hi
    narrow = evaluate(outcomes.match, outcomes.cost, outcomes, 0.5, level=0.5)
    half = narrow.row("fixed:small:1")
    assert half.quality_hi - half.quality_lo == pytest.approx(2 * 0.674 * error, rel=0.1)


def test_the_seed_makes_it_repeatable(easy_or_hard) -> None:
    def run(seed: int):
        return evaluate(
            easy_or_hard.match, easy_or_hard.cost, easy_or_hard, 0.5, resamples=50, seed=seed
        )

    assert run(7) == run(7)
    assert run(7).rows != run(8).rows


def test_a_router_cheaper_than_every_arm_is_compared_with_the_cheapest(make_outcomes) -> None:
    cost = [[1.0, 3, 9], [3, 1, 9]]
    outcomes = make_outcomes(cost, [[0.5, 0, 1], [0, 0.5, 1]])
    found = evaluate(np.ones((2, 3)), outcomes.cost, outcomes, 0.5, resamples=20)
    assert found.row("router").cost_per_1k == 1000
    assert found.row("random_mix").cost_per_1k == 2000
    assert found.row("random_mix").quality == pytest.approx(0.25)


def test_what_costs_nothing_saves_nothing(make_outcomes) -> None:
    free = make_outcomes([[0.0, 0.0]] * 4, [[0.5, 1]] * 4)
    found = evaluate(free.match, free.cost, free, 0.5, resamples=10)
    assert found.row("router").cost_cut == 0


def test_progress_counts_the_resamples(easy_or_hard) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(
        easy_or_hard.match,
        easy_or_hard.cost,
        easy_or_hard,
        0.5,
        resamples=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("options", [{"resamples": 0}, {"level": 1.0}])
def test_an_interval_needs_resamples_and_a_level(easy_or_hard, options) -> None:
    with pytest.raises(ConfigError, match="no interval"):
        evaluate(easy_or_hard.match, easy_or_hard.cost, easy_or_hard, 0.5, **options)
