"""The adaptive policy: what waves are worth, and what follows from prices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bestroute.errors import ConfigError
from bestroute.policy import Accept, Adaptive, Draw, State
from bestroute.policy.belief import (
    FEATURES,
    Belief,
    ModelBelief,
    best_wave,
    features,
    worths,
)
from bestroute.policy.evidence import Evidence
from bestroute.pool import Arm
from bestroute.samples import Sample

LEVELS = (1, 2, 3, 5)
BINS, MOVES = 4, 6
REFERENCE = Arm("big", 1)
SMALL = tuple(Arm("small", n) for n in range(1, 6))
MIDDLE = tuple(Arm("middle", n) for n in range(1, 6))
ARMS = (*SMALL, *MIDDLE, REFERENCE)


def model_belief(seed: int, levels: tuple[int, ...] = LEVELS) -> ModelBelief:
    """Anything that could have been learnt."""
    rng = np.random.default_rng(seed)
    size, width = len(levels), len(FEATURES)
    moves = np.sort(rng.random((size + 1, size + 1, BINS, MOVES)), axis=-1)
    return ModelBelief(
        levels=levels,
        centre=rng.normal(size=(size, width)),
        scale=rng.random((size, width)) + 0.5,
        weight=rng.normal(size=(size, width)),
        bias=rng.normal(size=size),
        edges=np.sort(rng.random((size + 1, BINS - 1)), axis=-1),
        moves=moves,
    )


def belief(seed: int, reference_cost: float = 1.0) -> Belief:
    models = {"small": model_belief(seed), "middle": model_belief(seed + 1)}
    return Belief(models, reference_cost)


def view(costs: Mapping[str, float], *, arms: tuple[Arm, ...] = ARMS) -> State:
    """A request before its first draw; costs are those of one sample."""
    return State(
        arms=arms,
        reference=REFERENCE,
        costs={arm: arm.n * costs[arm.model] for arm in ARMS},
        match={arm: 0.5 for arm in ARMS},
    )


def walk(policy: Adaptive, state: State, seed: int) -> list[Draw | Accept]:
    """All moves, the samples giving random answers."""
    rng = np.random.default_rng(seed)
    moves: list[Draw | Accept] = []
    answers: dict[str, list[str]] = {}
    while True:
        move = policy.next(state)
        if isinstance(move, Accept):
            return [*moves, move]
        (draw,) = move
        assert Arm(draw.model, draw.n) in state.arms
        moves.append(draw)
        said = answers.setdefault(draw.model, [])
        said += [f"a{rng.integers(2)}" for _ in range(draw.n)]
        samples = [Sample(model=draw.model, message={"content": each}) for each in said]
        state.samples[draw.model] = samples
        state.evidence[draw.model] = Evidence.of(said, [10.0] * len(said))
        state.waves += 1


SEEDS = st.integers(0, 10_000)
THRESHOLDS = st.floats(0.0, 0.999)


# What prices do


@given(SEEDS, THRESHOLDS)
@settings(max_examples=60, deadline=None)
def test_free_samples_are_all_taken(seed: int, threshold: float) -> None:
    state = view({"small": 0.0, "middle": 0.0, "big": 1.0})
    moves = walk(Adaptive(threshold, belief(seed)), state, seed)
    for model in ("small", "middle"):
        assert sum(each.n for each in moves if isinstance(each, Draw) and each.model == model) == 5


@given(SEEDS, THRESHOLDS, st.sampled_from([1e9, math.inf]))
@settings(max_examples=60, deadline=None)
def test_infinitely_dear_samples_are_never_taken_twice(
    seed: int, threshold: float, price: float
) -> None:
    dear = {"small": price, "middle": price, "big": 1.0}
    (first, end) = walk(Adaptive(threshold, belief(seed)), view(dear), seed)
    assert isinstance(first, Draw)
    assert isinstance(end, Accept)
    assert first.model == end.model == "big"
    alone = walk(Adaptive(threshold, belief(seed)), view(dear, arms=(*SMALL, *MIDDLE)), seed)
    assert [type(each) for each in alone] == [Draw, Accept]


def test_beside_a_free_reference_nothing_else_is_worth_its_price() -> None:
    free = {"small": 0.1, "middle": 0.2, "big": 0.0}
    first, end = walk(Adaptive(0.5, belief(0, reference_cost=0.0)), view(free), 0)
    assert (first.model, end.model) == ("big", "big")


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_above_one_it_is_always_the_reference(seed: int) -> None:
    for threshold in (1.0, 1.01):
        state = view({"small": 0.01, "middle": 0.01, "big": 1.0})
        first, end = walk(Adaptive(threshold, belief(seed)), state, seed)
        assert (first.model, end.model) == ("big", "big")


@given(SEEDS, THRESHOLDS, st.floats(0.001, 2.0), st.floats(0.001, 2.0))
@settings(max_examples=100, deadline=None)
def test_every_walk_ends_with_an_answer(
    seed: int, threshold: float, small: float, middle: float
) -> None:
    state = view({"small": small, "middle": middle, "big": 1.0})
    *draws, end = walk(Adaptive(threshold, belief(seed)), state, seed)
    assert isinstance(end, Accept)
    assert end.model in {draw.model for draw in draws}
    for model in ("small", "middle"):
        assert sum(draw.n for draw in draws if draw.model == model) <= 5


@given(SEEDS, THRESHOLDS, st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_no_more_waves_than_allowed(seed: int, threshold: float, most: int) -> None:
    state = view({"small": 0.0, "middle": 0.001, "big": 1.0})
    moves = walk(Adaptive(threshold, belief(seed), max_waves=most), state, seed)
    waves = [each for each in moves if isinstance(each, Draw) and each.model != "big"]
    assert len(waves) <= most


@given(SEEDS, st.floats(0.0, 0.99), st.floats(0.001, 0.01))
@settings(max_examples=60, deadline=None)
def test_an_answer_is_accepted_from_the_threshold_on(
    seed: int, threshold: float, price: float
) -> None:
    """At a typical cost, and once nothing more is to be drawn."""
    state = view({"small": price, "middle": price, "big": 1.0}, arms=(Arm("small", 1), REFERENCE))
    policy = Adaptive(threshold, belief(seed), max_waves=1)
    state.samples["small"] = [Sample(model="small", message={"content": "4"})]
    state.evidence["small"] = Evidence.of(["4"], [10.0])
    state.waves = 1
    sure = policy.belief.models["small"].after(0.5, state.evidence["small"])
    move = policy.next(state)
    assert isinstance(move, Accept) == (sure >= threshold)


def test_a_further_wave_may_pay_where_its_prompt_is_cached() -> None:
    """At the full price one sample is accepted; read from the cache, a second is drawn."""
    rising = replace(model_belief(0), moves=model_belief(0).moves * 0 + 0.6, bias=np.full(4, -0.4))
    model = replace(rising, weight=rising.weight * 0)  # .4 now, .6 after any wave
    policy = Adaptive(0.0, Belief({"small": model}, 1.0))
    state = view({"small": 0.3, "middle": 1.0, "big": 1.0}, arms=SMALL)
    state.samples["small"] = [Sample(model="small", message={"content": "4"})]
    state.evidence["small"] = Evidence.of(["4"], [10.0])
    assert isinstance(policy.next(state), Accept)
    state.costs_again = {arm: cost / 10 for arm, cost in state.costs.items()}
    (draw,) = policy.next(state)  # type: ignore[misc]
    assert (draw.model, draw.n) == ("small", 1)


def test_what_later_waves_cost_counts_for_the_first() -> None:
    """One sample at its price is not worth it; with a cheap second behind it, it is."""
    base = model_belief(0, (1, 2))
    moves = base.moves * 0 + 0.1
    moves[1, 2] = 0.9  # only the second sample tells
    policy = Adaptive(0.0, Belief({"small": replace(base, moves=moves)}, 1.0))
    state = view({"small": 0.5, "middle": 1.0, "big": 0.7}, arms=(Arm("small", 1), REFERENCE))
    assert policy.next(state)[0].model == "big"  # type: ignore[index]
    state.costs_again = {**state.costs, Arm("small", 1): 0.0}
    assert policy.next(state)[0].model == "small"  # type: ignore[index]


@given(SEEDS, THRESHOLDS, st.floats(0.01, 4.0), st.floats(0.001, 0.5), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_no_walk_spends_more_than_its_budget(
    seed: int, threshold: float, budget: float, small: float, share: float
) -> None:
    """Each draw fits into what is left, whatever later waves cost."""
    state = view({"small": small, "middle": 2 * small, "big": 1.0})
    state.costs_again = {arm: cost * share for arm, cost in state.costs.items()}
    state.most = state.costs
    state.pay(0.0, budget)
    if not state.arms:
        return
    policy, owed = Adaptive(threshold, belief(seed)), 0.0

    class Paying:
        def next(self, state: State) -> tuple[Draw, ...] | Accept:
            nonlocal owed
            state.pay(state.spent + owed, budget - state.spent - owed)
            move = policy.next(state)
            if not isinstance(move, Accept):
                owed = state.most[Arm(move[0].model, move[0].n)]
            return move

    walk(Paying(), state, seed)  # type: ignore[arg-type]
    assert state.spent <= budget + 1e-9


def test_open_answers_are_told_by_how_alike_they_are() -> None:
    state = view({"small": 0.1, "middle": 0.1, "big": 1.0})
    state.samples["small"] = [Sample(model="small", message={"content": "4"})] * 2
    for similarity, told in ((0.834, "(texts 0.83 alike)"), (math.nan, "(50% agree)")):
        state.evidence["small"] = Evidence.of(["a", "b"], [1.0, 2.0], similarity=similarity)
        move = Adaptive(0.5, belief(0)).next(state)
        assert told in (move.reason if isinstance(move, Accept) else move[0].reason)


def test_what_has_no_price_is_not_drawn() -> None:
    state = view({"small": math.nan, "middle": math.nan, "big": 1.0})
    (draw,) = Adaptive(0.1, belief(0)).next(state)  # type: ignore[misc]
    assert draw.model == "big"


def test_failures_lead_on() -> None:
    policy = Adaptive(0.0, belief(3))
    state = view({"small": 0.0, "middle": 0.5, "big": 1.0})
    state.failed = {"small", "big"}
    (draw,) = policy.next(state)  # type: ignore[misc]
    assert draw.model == "middle"
    state.failed.add("middle")
    end = policy.next(state)
    assert isinstance(end, Accept)
    assert end.model is None


@pytest.mark.parametrize(
    "options", [{"threshold": -0.1}, {"threshold": math.nan}, {"max_waves": 0}, {"look_ahead": 0}]
)
def test_impossible_options(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Adaptive(**{"threshold": 0.5, "belief": belief(0), **options})  # type: ignore[arg-type]


# What waves are worth


def naive(
    model: ModelBelief,
    prices: Mapping[int, float],
    outside: float,
    waves: int,
    level: int,
    place: int,
) -> float:
    """Value of drawing on, by the definition."""
    if waves == 0:
        return -math.inf
    counts = (0, *model.levels)
    values = [-math.inf]
    for end in range(level + 1, len(counts)):
        price = prices.get(counts[end] - counts[level])
        if price is None:
            continue
        after = [
            max(
                moved,
                outside,
                naive(model, prices, outside, waves - 1, end, int(model.bins(end, moved))),
            )
            for moved in model.moves[level, end, place]
        ]
        values.append(sum(after) / len(after) - price)
    return max(values)


def continuations(
    model: ModelBelief, prices: tuple[tuple[int, float], ...], outside: float, waves: int
) -> list[np.ndarray]:
    """Value of drawing on at every level but the last, from every bin."""
    counts, costs = (0, *model.levels), dict(prices)
    found = worths(model, prices, outside, waves)
    taken = [
        [costs.get(end - counts[start], math.inf) for end in counts[start + 1 :]]
        for start in range(len(model.levels))
    ]
    return [(w - np.array(p)[:, None]).max(axis=0) for w, p in zip(found, taken, strict=True)]


@given(SEEDS, st.floats(0, 1), st.lists(st.floats(0, 0.3), min_size=5, max_size=5))
@settings(max_examples=25, deadline=None)
def test_continuations_are_those_of_the_definition(
    seed: int, outside: float, costs: list[float]
) -> None:
    model = model_belief(seed, (1, 2, 3))
    prices = dict(zip((1, 2, 3), costs, strict=False))
    for waves in (1, 2, 3, 9):
        found = continuations(model, tuple(prices.items()), outside, waves)
        for level, place in product(range(3), range(BINS)):
            expected = naive(model, prices, outside, min(waves, 3), level, place)
            assert found[level][place] == pytest.approx(expected)


@given(SEEDS, st.floats(0, 1), st.floats(0, 0.2), st.floats(0, 0.2))
@settings(max_examples=60, deadline=None)
def test_more_waves_and_lower_prices_are_never_worse(
    seed: int, outside: float, price: float, rise: float
) -> None:
    model = model_belief(seed)
    cheap = tuple((n, n * price) for n in range(1, 6))
    dear = tuple((n, n * (price + rise)) for n in range(1, 6))
    values = [continuations(model, cheap, outside, waves) for waves in (1, 2, 3, 4)]
    for fewer, more in zip(values, values[1:], strict=False):
        assert all((b >= a - 1e-12).all() for a, b in zip(fewer, more, strict=True))
    dearer = continuations(model, dear, outside, 4)
    assert all((a >= b - 1e-12).all() for a, b in zip(values[-1], dearer, strict=True))


@given(
    SEEDS, st.floats(0, 1), st.floats(0, 1), st.sampled_from([0, *LEVELS]), st.floats(0.005, 0.05)
)
@settings(max_examples=60, deadline=None)
def test_the_best_wave_is_the_best_of_its_level(
    seed: int, outside: float, now: float, n: int, price: float
) -> None:
    """What it costs now, and later waves at their own prices."""
    model = model_belief(seed)
    prices = tuple((size, price * size) for size in range(1, 6))
    later = tuple((size, 0.005 * size) for size in range(1, 6))
    value, size = best_wave(model, prices, later, outside, 4, n, now)
    assert (size > 0) == (n < 5)
    if size:
        level = model.level(n)
        place = int(model.bins(level, now))
        worth = worths(model, later, outside, 4)[level][:, place]
        costs = [price * (end - n) for end in LEVELS[level:]]
        assert value == pytest.approx((worth - costs).max())
        assert n + size in LEVELS
        same, _ = best_wave(model, later, later, outside, 4, n, now)
        assert same == pytest.approx(continuations(model, later, outside, 4)[level][place])
        assert value <= same + 1e-12


def test_the_belief_reads_what_there_is() -> None:
    seen = Evidence.of(["4", "4", "5", None], [10, 20, 30, 40], [1.0, 2.0, None, 3.0])
    read = dict(zip(FEATURES, features(0.5, seen), strict=True))
    assert read["prior"] == pytest.approx(0)
    assert (read["agreement"], read["runner_up"], read["distinct"]) == (0.5, 0.25, 0.5)
    assert (read["best"], read["margin"]) == (3.0, 1.0)
    assert read["length"] == pytest.approx(math.log(26))
    without = dict(zip(FEATURES, features(1.0, Evidence.of(["4"], [10])), strict=True))
    assert math.isnan(without["best"])
    assert math.isfinite(without["prior"])
    assert 0 < model_belief(1).after(0.3, Evidence.of(["4"], [10])) < 1


# What time is worth


def timely(seed: int, **options: Any) -> Adaptive:
    seconds = {"small": 1.0, "middle": 2.0, "big": 5.0}
    return Adaptive(0.9, belief(seed), seconds=seconds, **options)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_nothing_is_begun_that_would_last_beyond_the_deadline(seed: int) -> None:
    state = view({"small": 0.0, "middle": 0.0, "big": 1.0})
    policy = timely(seed, deadline=3.0)
    (first,) = policy.next(state)  # type: ignore[misc]
    state.samples[first.model] = [Sample(model=first.model, message={"content": "4"})]
    state.evidence[first.model] = Evidence.of(["4"], [1.0])
    for elapsed, asked in ((2.5, set()), (1.5, {"small"}), (0.5, {"small", "middle"})):
        state.elapsed = elapsed
        move = policy.next(state)
        if isinstance(move, Accept):
            assert not asked - {first.model}
        else:
            assert move[0].model in asked


def test_time_has_its_price() -> None:
    """The quickest is asked where seconds are dear, though another is as good and cheaper."""
    models = {
        name: replace(each, moves=each.moves * 0 + 0.95) for name, each in belief(5).models.items()
    }
    costs = {"small": 0.02, "middle": 0.001, "big": 1.0}
    seconds = {"small": 1.0, "middle": 2.0, "big": 5.0}
    asked = []
    for price in (0.0, 10.0):
        policy = Adaptive(0.9, Belief(models, 1.0), seconds=seconds, dollars_per_second=price)
        move = policy.next(view(costs))
        assert not isinstance(move, Accept)
        asked.append(move[0].model)
    assert asked == ["middle", "small"]


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_reference_is_begun_ahead_where_that_saves(seed: int) -> None:
    """With what comes surely below the reference's worth: if the wave's time is worth its cost."""
    models = belief(seed).models
    low = {name: replace(each, moves=each.moves * 0.5) for name, each in models.items()}
    for price, ahead in ((0.0, False), (0.002, True)):
        policy = Adaptive(
            0.9,
            Belief(low, 1.0),
            seconds={"small": 1.0, "middle": 1.0, "big": 1.0},
            dollars_per_second=price,
        )
        state = view({"small": 0.0, "middle": 0.0, "big": 0.001})
        move = policy.next(state)
        assert not isinstance(move, Accept)
        if move[0].model != "big":
            assert [draw.ahead for draw in move[1:]] == [True] * ahead


@pytest.mark.parametrize(("left", "ahead"), [(math.inf, 1), (0.06, 1), (0.05, 0)])
def test_nothing_is_begun_ahead_beyond_the_budget(left: float, ahead: int) -> None:
    """The wave and the reference beside it can cost 0.06 together."""
    moves = {name: replace(b, moves=b.moves * 0 + 0.1) for name, b in belief(0).models.items()}
    for each in moves.values():
        each.moves[:, :, :, -1] = 1.0  # one in six: the wave is drawn, and mostly in vain
    policy = Adaptive(
        0.5,
        Belief(moves, 1.0),
        seconds={"small": 0.002, "big": 1.0},
        dollars_per_second=1.0,
    )
    state = view({"small": 0.001, "middle": 1.0, "big": 0.005})
    state.arms = (Arm("small", 1), REFERENCE)
    state.most = {Arm("small", 1): 0.01, REFERENCE: 0.05}
    state.left = left
    wave, *others = policy.next(state)
    assert isinstance(wave, Draw)
    assert (wave.model, len(others)) == ("small", ahead)


def test_another_threshold_keeps_the_rest() -> None:
    policy = timely(1, max_waves=2, deadline=9.0, dollars_per_second=0.1)
    other = policy.at(0.7, calibrated=True, max_drop=0.02, confidence=0.95)
    assert (other.threshold, other.max_drop, other.calibrated) == (0.7, 0.02, True)
    kept = ("belief", "max_waves", "deadline", "dollars_per_second", "seconds")
    assert all(getattr(other, name) == getattr(policy, name) for name in kept)
    again = other.at(0.8)
    assert (again.calibrated, again.max_drop, again.confidence) == (False, None, None)
