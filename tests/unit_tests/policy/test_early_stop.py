"""Early stopping: the answer of all n samples, from fewer."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from bestroute.policy import Accept, Draw, EarlyStop, State
from bestroute.policy.evidence import Evidence
from bestroute.pool import Arm
from bestroute.samples import Sample

REFERENCE = Arm("big", 1)
ANSWERS = st.lists(st.sampled_from(["4", "5", "6", None]), min_size=3, max_size=12)


def view(cap: int) -> State:
    """One-shot would draw so many samples of the small model."""
    arms = (*(Arm("small", n) for n in range(1, cap + 1)), REFERENCE)
    match = {arm: 0.9 if arm == Arm("small", cap) else 0.1 for arm in arms}
    costs = {arm: float(arm.n) if arm != REFERENCE else 100.0 for arm in arms}
    return State(arms=arms, reference=REFERENCE, costs=costs, match=match)


def walk(answers: list[str | None]) -> tuple[list[int], int]:
    """Sizes of the waves, and how many samples were seen in the end."""
    state, policy = view(len(answers)), EarlyStop(0.5)
    seen: list[str | None] = []
    waves = []
    while not isinstance(move := policy.next(state), Accept):
        (draw,) = move
        assert isinstance(draw, Draw)
        assert draw.model == "small"
        waves.append(draw.n)
        seen = answers[: len(seen) + draw.n]
        samples = [Sample(model="small", message={"content": each or ""}) for each in seen]
        state.samples["small"] = samples
        state.evidence["small"] = Evidence.of(seen, [1.0] * len(seen))
    assert move.model == "small"
    return waves, len(seen)


def winner(answers: list[str | None]) -> int:
    """Self-consistency's pick: the first drawn of the most frequent answer."""
    counts = Counter(each for each in answers if each)
    shares = [counts.get(each, 0) if each else 0 for each in answers]
    return shares.index(max(shares))


@given(ANSWERS)
@example(["4", "4", "4", "5", "5"])
@example([None, None, None])
@example(["4", "5", "5", "4", "4"])
def test_fewer_samples_pick_the_same(answers: list[str | None]) -> None:
    waves, drawn = walk(answers)
    assert drawn == sum(waves) <= len(answers)
    assert winner(answers[:drawn]) == winner(answers)


@given(st.integers(3, 12))
def test_samples_that_agree_end_it_at_the_majority(n: int) -> None:
    waves, drawn = walk(["4"] * n)
    assert waves == [n // 2 + 1]
    assert drawn == n // 2 + 1


def test_two_samples_or_the_reference_are_drawn_as_they_are() -> None:
    policy = EarlyStop(0.5)
    (draw,) = policy.next(view(2))  # type: ignore[misc]
    assert (draw.model, draw.n, draw.final) == ("small", 2, True)
    state = view(3)
    state.match = dict.fromkeys(state.arms, 0.1)
    (draw,) = policy.next(state)  # type: ignore[misc]
    assert (draw.model, draw.n) == ("big", 1)


def test_what_came_is_accepted_when_the_model_fails_midway() -> None:
    state, policy = view(5), EarlyStop(0.5)
    state.samples["small"] = [Sample(model="small", message={"content": "4"})]
    state.evidence["small"] = Evidence.of(["4"], [1.0])
    state.failed.add("small")
    move = policy.next(state)
    assert isinstance(move, Accept)
    assert move.model == "small"
