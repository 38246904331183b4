"""The deciders, asked directly: the paper's rule against a plain loop, fallbacks, the cascade."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bestroute import Arm, Cascade, OneShot, Sample
from bestroute.errors import ConfigError
from bestroute.policy import Accept, Draw, State
from bestroute.policy.evidence import Evidence
from bestroute.policy.threshold import choose

# Few distinct values, so that ties happen.
PROBABILITIES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
COSTS = st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan])


def by_hand(
    match: list[float], cost: list[float], reference: int | None, threshold: float
) -> int | None:
    """Section 3 of the paper, one arm after the other; `None` where nothing has a price."""
    best: tuple[float, float, int] | None = None
    for arm, (probability, dollars) in enumerate(zip(match, cost, strict=True)):
        qualifies = probability >= threshold or arm == reference
        if reference is None and probability == max(match):
            qualifies = True
        if not qualifies or math.isnan(dollars):
            continue
        priority = math.inf if arm == reference else probability
        if best is None or (dollars, -priority) < (best[0], best[1]):
            best = (dollars, -priority, arm)
    return None if best is None else best[2]


@settings(max_examples=500)
@given(
    data=st.data(),
    arms=st.integers(1, 6),
    threshold=st.sampled_from([0.0, 0.2, 0.5, 0.75, 1.0, 1.1, math.inf]),
)
def test_the_paper_s_rule_against_a_plain_loop(
    data: st.DataObject, arms: int, threshold: float
) -> None:
    queries = data.draw(st.integers(1, 4))
    rows = st.lists(
        st.tuples(
            st.lists(PROBABILITIES, min_size=arms, max_size=arms),
            st.lists(COSTS, min_size=arms, max_size=arms),
        ),
        min_size=queries,
        max_size=queries,
    )
    drawn = data.draw(rows)
    reference = data.draw(st.none() | st.integers(0, arms - 1))
    match = np.array([row[0] for row in drawn])
    cost = np.array([row[1] for row in drawn])
    chosen = choose(match, cost, reference, threshold)
    for query, (probabilities, dollars) in enumerate(drawn):
        expected = by_hand(probabilities, dollars, reference, threshold)
        if expected is not None:
            assert chosen[query] == expected
        elif reference is not None:
            assert chosen[query] == reference
    assert np.array_equal(match, np.array([row[0] for row in drawn]))  # untouched


@given(
    st.lists(st.tuples(PROBABILITIES, st.floats(0, 9)), min_size=2, max_size=6),
    st.floats(0, 1.2),
)
def test_an_arm_dearer_than_the_reference_is_never_chosen(
    arms: list[tuple[float, float]], threshold: float
) -> None:
    match, cost = (np.array([column]) for column in zip(*arms, strict=True))
    assert cost[0, choose(match, cost, 0, threshold)[0]] <= cost[0, 0]


SMALL, MIDDLE, BIG = "small", "middle", "big"
ARMS = (
    Arm(SMALL, 1),
    Arm(SMALL, 2),
    Arm(SMALL, 3),
    Arm(MIDDLE, 1),
    Arm(MIDDLE, 2),
    Arm(BIG, 1),
)
COST = dict(zip(ARMS, [1.0, 2.0, 3.0, 4.0, 8.0, 10.0], strict=True))
MATCH = dict(zip(ARMS, [0.2, 0.5, 0.6, 0.7, 0.9, 1.0], strict=True))


def state(
    arms: tuple[Arm, ...] = ARMS,
    costs: Mapping[Arm, float] = COST,
    match: Mapping[Arm, float] = MATCH,
) -> State:
    return State(arms=arms, reference=Arm(BIG, 1), costs=costs, match=match)


def drawn(move: tuple[Draw, ...] | Accept) -> tuple[str, int]:
    assert not isinstance(move, Accept), move.reason
    (draw,) = move
    return draw.model, draw.n


def accepted(move: tuple[Draw, ...] | Accept) -> str | None:
    assert isinstance(move, Accept)
    return move.model


def came(view: State, model: str, n: int, agreement: float | None = None) -> None:
    view.samples[model] = [Sample(model=model, message={"content": str(i)}) for i in range(n)]
    if agreement is not None:
        same = round(agreement * n)
        answers = ["same"] * same + [f"other {i}" for i in range(n - same)]
        view.evidence[model] = Evidence.of(answers, [1] * n)


@pytest.mark.parametrize(
    ("threshold", "arm"),
    [
        (0.0, (SMALL, 1)),
        (0.5, (SMALL, 2)),
        (0.55, (SMALL, 3)),
        (0.65, (MIDDLE, 1)),
        (0.95, (BIG, 1)),
        (1.1, (BIG, 1)),
        (math.inf, (BIG, 1)),
    ],
)
def test_one_shot_takes_the_cheapest_that_qualifies(threshold: float, arm: tuple[str, int]) -> None:
    assert drawn(OneShot(threshold).next(state())) == arm


def test_one_shot_accepts_whatever_came() -> None:
    view = state()
    came(view, SMALL, 1)
    assert accepted(OneShot(0.5).next(view)) == SMALL


def test_one_shot_falls_back_to_the_next_qualifying_arm_and_finally_to_the_reference() -> None:
    view, policy = state(), OneShot(0.5)
    order = []
    for _ in range(3):
        move = policy.next(view)
        order.append(drawn(move))
        view.failed.add(order[-1][0])
    assert order == [(SMALL, 2), (MIDDLE, 1), (BIG, 1)]
    assert accepted(policy.next(view)) is None


def test_one_shot_skips_arms_that_do_not_qualify_while_the_reference_can_answer() -> None:
    view = state()
    view.failed.add(SMALL)
    move = OneShot(0.95).next(view)
    assert drawn(move) == (BIG, 1)


@pytest.mark.parametrize("absent", ["failed", "excluded"])
def test_without_the_reference_the_most_promising_arm_serves_and_is_not_said_to_qualify(
    absent: str,
) -> None:
    view = state(ARMS[:-1] if absent == "excluded" else ARMS)
    if absent == "failed":
        view.failed.add(BIG)
    move = OneShot(0.95).next(view)
    assert drawn(move) == (MIDDLE, 2)
    assert not isinstance(move, Accept)
    assert "the reference is left out" in move[0].reason and "0.90" in move[0].reason


def test_the_reason_names_what_failed() -> None:
    view = state()
    view.failed.add(SMALL)
    move = OneShot(0.5).next(view)
    assert not isinstance(move, Accept)
    assert move[0].reason.startswith("small failed; ")


@pytest.mark.parametrize("threshold", [-0.1, math.nan])
def test_a_threshold_is_a_number_from_0_on(threshold: float) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        OneShot(threshold)


@pytest.mark.parametrize("options", [{"n": 1}, {"agreement": 0.0}, {"agreement": 1.1}])
def test_cascade_s_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Cascade(**options)  # type: ignore[arg-type]


def test_cascade_asks_the_cheapest_model_first() -> None:
    assert drawn(Cascade(n=3).next(state())) == (SMALL, 3)
    assert drawn(Cascade(n=2).next(state())) == (SMALL, 2)
    assert drawn(Cascade(n=5).next(state())) == (SMALL, 3)


@pytest.mark.parametrize(("agreement", "escalates"), [(1.0, False), (2 / 3, True), (None, True)])
def test_cascade_accepts_on_agreement_else_asks_the_reference(
    agreement: float | None, escalates: bool
) -> None:
    view = state()
    came(view, SMALL, 3, agreement)
    move = Cascade().next(view)
    if escalates:
        assert drawn(move) == (BIG, 1)
        came(view, BIG, 1)
        assert accepted(Cascade().next(view)) == BIG
    else:
        assert accepted(move) == SMALL
        assert isinstance(move, Accept) and "100% of 3 samples" in move.reason


def test_cascade_with_a_lower_bar_accepts_two_of_three() -> None:
    view = state()
    came(view, SMALL, 3, 2 / 3)
    assert accepted(Cascade(agreement=2 / 3).next(view)) == SMALL


def test_cascade_goes_to_the_next_model_when_the_cheap_one_fails() -> None:
    view = state()
    view.failed.add(SMALL)
    assert drawn(Cascade().next(view)) == (MIDDLE, 2)
    view.failed.add(MIDDLE)
    assert drawn(Cascade().next(view)) == (BIG, 1)
    view.failed.add(BIG)
    assert accepted(Cascade().next(view)) is None


def test_cascade_gives_what_it_has_when_the_reference_fails() -> None:
    view = state()
    came(view, SMALL, 3, 1 / 3)
    view.failed.add(BIG)
    assert accepted(Cascade().next(view)) == SMALL


def test_cascade_buys_no_samples_that_cost_more_than_the_reference() -> None:
    dear = {**COST, Arm(SMALL, 3): 11.0, Arm(MIDDLE, 2): 11.0}
    assert drawn(Cascade().next(state(costs=dear))) == (SMALL, 2)
    dear[Arm(SMALL, 2)] = 11.0
    assert drawn(Cascade().next(state(costs=dear))) == (BIG, 1)


def test_cascade_needs_no_prices() -> None:
    unknown = dict.fromkeys(ARMS, math.nan)
    assert drawn(Cascade().next(state(costs=unknown))) == (SMALL, 3)


def test_cascade_uses_a_single_sample_when_nothing_else_can_serve() -> None:
    view = state((Arm(SMALL, 1), Arm(MIDDLE, 1)))
    assert drawn(Cascade().next(view)) == (SMALL, 1)
    came(view, SMALL, 1)
    assert accepted(Cascade().next(view)) == SMALL


def test_policies_say_what_they_are() -> None:
    assert (Cascade().needs_router, Cascade().calibrated) == (False, False)
    assert (OneShot(0.5).needs_router, OneShot(0.5).calibrated) == (True, False)
    assert OneShot(0.5, calibrated=True).calibrated
