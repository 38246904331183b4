"""The comparison of whole curves at equal realised cost."""

from __future__ import annotations

import numpy as np
import pytest

from bestroute.errors import ConfigError
from bestroute.learning.evaluation.compare import (
    CLAIRVOYANT,
    COST_CUTS,
    DROPS,
    ORACLE,
    RANDOM_MIX,
    compare,
)
from bestroute.learning.evaluation.curves import Curve, Upgrades, sweep


def values(figures):
    return [None if each is None else each.value for each in figures]


def test_figures_of_a_router_the_mix_and_the_oracle(easy_or_hard) -> None:
    curve = sweep(easy_or_hard.match, easy_or_hard.cost, easy_or_hard)
    found = compare(easy_or_hard, {"router": curve}, resamples=50)
    assert [method.name for method in found.methods] == [RANDOM_MIX, "router", ORACLE]
    router, mix, best = (found.method(name) for name in ("router", RANDOM_MIX, ORACLE))
    # the router loses nothing down to 40 %, then hard queries go to small:1, all wrong at 80 %;
    # the oracle sends them to small:2 first, so that (1.75, .8) lies on its way to (1, .5)
    assert values(router.drops) == pytest.approx([0, 0, 0, 0.25], abs=1e-12)
    assert values(best.drops) == pytest.approx([0, 0, 0, 0.16], abs=1e-12)
    assert values(mix.drops) == pytest.approx([0.0625, 0.125, 0.25, 0.375])
    assert values(router.gains) == pytest.approx([0.0625, 0.125, 0.25, 0.125])
    assert values(mix.gains) == pytest.approx([0] * 4)
    assert values(router.gap_recovered)[:3] == pytest.approx([1, 1, 1])
    assert router.gap_recovered[3].value == pytest.approx(0.125 / 0.215)
    # (3, 1) to (1, .5): a drop of 1 % is reached at 3 - .04
    assert values(router.cost_cuts) == pytest.approx([1 - 2.96 / 5, 1 - 2.92 / 5])
    assert values(mix.cost_cuts) == pytest.approx([0.016, 0.032])
    assert router.area.value == pytest.approx((0.75 * 2 + 1 * 2) / 4)
    assert best.area.value == pytest.approx((0.65 * 0.75 + 0.9 * 1.25 + 1 * 2) / 4)
    assert mix.area.value == pytest.approx(0.75)
    assert router.error is None
    assert router.waves == (1, 1, 1, 1)
    assert mix.tokens == (None,) * 4


def test_the_clairvoyant_knows_every_order(easy_or_hard) -> None:
    curve = sweep(easy_or_hard.match, easy_or_hard.cost, easy_or_hard)
    cost = np.stack([easy_or_hard.cost, easy_or_hard.cost], axis=1)
    lucky, unlucky = easy_or_hard.quality.copy(), easy_or_hard.quality.copy()
    lucky[:, 1], unlucky[:, 1] = 1.0, 0.2  # small:2, on average .6
    known = Upgrades.of_orders(cost, np.stack([lucky, unlucky], axis=1))
    found = compare(easy_or_hard, {"router": curve}, clairvoyant=known, resamples=50)
    assert [method.name for method in found.methods][-2:] == [ORACLE, CLAIRVOYANT]
    best, bound = found.method(ORACLE), found.method(CLAIRVOYANT)
    # hard queries, a quarter in either order: small:2 where it is lucky, for .375 more than
    # small:1 throughout, then the reference, for another 1 that buys the last .25 of quality
    assert values(bound.drops) == pytest.approx([0, 0, 0, (2.375 - 2) * 0.25])
    assert all(b.value <= o.value + 1e-12 for b, o in zip(bound.drops, best.drops, strict=True))
    assert best.gap_recovered[0].value == pytest.approx(1)


def test_waves_and_tokens_are_told_at_equal_cost(make_outcomes) -> None:
    outcomes = make_outcomes([[1.0, 2, 5]] * 4, [[0.2, 0.9, 1]] * 4)
    replayed = Curve(
        np.array([0.5]),
        np.full((1, 4), 3.0),
        np.full((1, 4), 0.9),
        waves=np.full((1, 4), 2.0),
        tokens=np.full((1, 4), 7.0),
    )
    method = compare(outcomes, {"m": replayed}, resamples=5).method("m")
    # between it and the reference (5, 1 wave of 1 token), and the cheapest arm (1, as the same)
    assert method.waves == pytest.approx((1.25, 1.5, 2, 1.5))
    assert method.tokens == pytest.approx((2.5, 4, 7, 4))


def test_intervals_are_paired_and_hold_the_figure(easy_or_hard) -> None:
    curve = sweep(easy_or_hard.match, easy_or_hard.cost, easy_or_hard)
    found = compare(easy_or_hard, {"router": curve, "same": curve}, resamples=300)
    assert found.method("router").model_dump(exclude={"name"}) == (
        found.method("same").model_dump(exclude={"name"})
    )
    drop = found.method(RANDOM_MIX).drops[2]
    assert drop.lo < 0.25 < drop.hi
    # the random mix of (1, p) and (5, 1) at 3: drop (1 - p) / 2, p the share of 200 coins
    assert drop.hi - drop.lo == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(200) / 2, rel=0.25)


def test_a_curve_that_starts_late_is_mixed_with_the_cheapest_arm(make_outcomes) -> None:
    outcomes = make_outcomes([[1.0, 2, 5]] * 4, [[0.2, 0.9, 1]] * 4)
    one_point = Curve(np.array([0.0]), np.full((1, 4), 3.0), np.full((1, 4), 1.0))
    method = compare(outcomes, {"m": one_point}, resamples=5).method("m")
    assert method.drops[3].value == pytest.approx(0.4)  # half way from (1, .2) to (3, 1)
    assert method.drops[0].value == pytest.approx(0)  # between (3, 1) and the reference
    assert method.area.value == pytest.approx((0.6 * 2 + 1 * 2) / 4)


def test_a_dip_on_the_way_ends_the_cost_cut(make_outcomes) -> None:
    outcomes = make_outcomes([[1.0, 10]] * 2, [[1.0, 1]] * 2)
    dip = Curve(np.arange(2.0), np.array([[8.0, 8], [4, 4]]), np.array([[0.9, 0.9], [1, 1]]))
    method = compare(outcomes, {"dips": dip}, resamples=5).method("dips")
    # quality falls on the line from (10, 1) to (8, .9): by 1 % after .2
    assert method.cost_cuts[DROPS.index(0.01)].value == pytest.approx(0.02)


def test_what_cannot_be_had_is_none(make_outcomes) -> None:
    dear = make_outcomes([[4.5, 5.0]] * 4, [[0.5, 1]] * 4)
    best = compare(dear, {}, resamples=10).method(ORACLE)
    assert values(best.drops) == [pytest.approx(0.5), None, None, None]
    wrong = make_outcomes([[1.0, 5.0]] * 4, [[0.0, 0]] * 4)
    best = compare(wrong, {}, resamples=10).method(ORACLE)
    assert values((*best.drops, *best.cost_cuts, best.area)) == [None] * 7
    free = make_outcomes([[0.0, 0.0]] * 4, [[0.5, 1]] * 4)
    assert compare(free, {}, resamples=10).method(RANDOM_MIX).area is None


def test_no_gap_no_share_of_it(make_outcomes) -> None:
    outcomes = make_outcomes([[1.0, 5.0]] * 30, [[0.5, 1]] * 30)  # all queries alike
    found = compare(outcomes, {}, resamples=20).method(RANDOM_MIX)
    assert found.gap_recovered == (None,) * len(COST_CUTS)


def test_the_seed_makes_it_repeatable(easy_or_hard) -> None:
    curves = {"router": sweep(easy_or_hard.match, easy_or_hard.cost, easy_or_hard)}
    one, same, other = (compare(easy_or_hard, curves, resamples=20, seed=s) for s in (1, 1, 2))
    assert one == same != other


def test_the_monte_carlo_error_is_told(easy_or_hard) -> None:
    exact = sweep(easy_or_hard.match, easy_or_hard.cost, easy_or_hard, [0.5])
    drawn = Curve(exact.thresholds, exact.costs, exact.qualities, np.array([0.004]))
    assert compare(easy_or_hard, {"m": drawn}, resamples=5).method("m").error == 0.004


def test_an_interval_needs_resamples(easy_or_hard) -> None:
    with pytest.raises(ConfigError, match="no interval"):
        compare(easy_or_hard, {}, resamples=0)
