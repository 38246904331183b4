"""Budgets: no window ever holds more than its dollars, whoever asks, in whatever order."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bestroute import budget as module
from bestroute.budget import Budget
from bestroute.errors import BudgetError
from bestroute.purse import Purse

CENTS = st.integers(0, 40).map(lambda cents: cents / 100)


class Clock:
    """Time, as a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


# One caller


def test_what_is_set_aside_is_not_there_for_others() -> None:
    budget = Budget(dollars=1)
    assert budget.take(0.6) is True
    assert budget.held == pytest.approx(0.6)
    assert budget.left == 1  # it may cost nothing in the end
    assert budget.take(1.1) is False
    budget.settle(0.6, 0.1)
    assert (budget.held, budget.left) == (0, 0.9)
    assert budget.take(0.9) is True


def test_a_budget_is_spent_to_the_last_cent() -> None:
    budget = Budget(dollars=0.3)
    assert [budget.take(0.1) for _ in range(3)] == [True] * 3  # floats alone would say no
    for _ in range(3):
        budget.settle(0.1, 0.1)
    assert budget.left == 0
    assert budget.take(1e-9) is False
    assert budget.take(0) is True


def test_what_was_paid_counts_for_a_window(clock: Clock) -> None:
    budget = Budget(dollars=1, window=100)
    for _ in range(2):
        budget.take(0.5)
        budget.settle(0.5, 0.5)
        clock.now += 49
    assert budget.left == 0
    assert budget.take(0.5) is False
    assert budget.frees_in(0.5) == pytest.approx(2, abs=0.2)
    assert budget.frees_in(1.0) == pytest.approx(51, abs=0.2)
    assert budget.frees_in(1.1) is None
    clock.now += 2.2
    assert (budget.left, budget.frees_in(0.5)) == (0.5, 0)
    clock.now += 1000
    assert budget.left == 1


@pytest.mark.parametrize("fields", [{"dollars": -1}, {"dollars": float("inf")}, {"window": 0}])
def test_impossible_budgets(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        Budget(**{"dollars": 1, **fields})


def test_copies_share_the_money_and_pickles_do_not() -> None:
    budget = Budget(dollars=1, window=60)
    budget.take(1)
    budget.settle(1, 1)
    for same in (copy.copy(budget), copy.deepcopy(budget), copy.deepcopy([budget])[0]):
        assert same is budget
    again = pickle.loads(pickle.dumps(budget))
    assert (again.dollars, again.window, again.left) == (1, 60, 1)
    assert Budget.model_validate(budget.model_dump()).left == 1


# Any sequence

STEPS = st.lists(st.tuples(CENTS, st.floats(0, 1), st.floats(0, 30)), max_size=60)


@given(STEPS, st.sampled_from([None, 20.0, 100.0]))
@settings(max_examples=200)
def test_no_window_ever_holds_more(
    steps: list[tuple[float, float, float]], window: float | None
) -> None:
    """Calls begin and end in a queue; a paid amount is billed when its call ends."""
    clock, budget, dollars = Clock(), Budget(dollars=1, window=window), 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        billed: list[tuple[float, float]] = []
        open_calls: list[tuple[float, float]] = []
        for most, share, wait in steps:
            if _fits(budget, most):
                open_calls.append((most, most * share))
            clock.now += wait
            if len(open_calls) > 2:
                held, paid = open_calls.pop(0)
                budget.settle(held, paid)
                billed.append((clock.now, paid))
        for held, paid in open_calls:
            budget.settle(held, paid)
            billed.append((clock.now, paid))
        assert budget.held == 0
    for end, _ in billed:
        begin = -1.0 if window is None else end - window
        assert sum(paid for at, paid in billed if begin < at <= end) <= dollars + 1e-9


def _fits(budget: Budget, most: float) -> bool:
    """Take without waiting for a turn, which needs an event loop."""
    return budget.held + most <= budget.left - 1e-12 and budget.take(most) is True


def test_a_budget_remembers_no_more_than_a_thousand_amounts(clock: Clock) -> None:
    budget = Budget(dollars=1e9, window=60)
    for _ in range(5000):
        budget.take(1)
        budget.settle(1, 1)
        clock.now += 0.02
    assert len(budget._amounts) <= 1002
    assert budget.dollars - budget.left == pytest.approx(3000, abs=5)


# Many callers


def purse(*budgets: Budget) -> Purse:
    made = Purse()
    made.caps = {f"budget {index}": each for index, each in enumerate(budgets)}
    return made


async def spend(purse: Purse, most: float, paid: float, seconds: float = 0.0) -> None:
    await purse._set_aside(most, "a call", math.inf)
    await asyncio.sleep(seconds)
    for cap in purse.caps.values():
        cap.settle(most, paid)


async def test_a_call_waits_for_others_that_may_turn_out_cheaper() -> None:
    budget = Budget(dollars=1)
    calls = [spend(purse(budget), 0.5, 0.01, 0.002) for _ in range(40)]
    await asyncio.gather(*calls)  # two at a time
    assert budget.left == pytest.approx(0.6)
    with pytest.raises(BudgetError, match=r"may cost \$0.7.*\$0.6 of \$1 left"):
        await spend(purse(budget), 0.7, 0.7)


async def test_a_call_is_refused_once_the_others_left_too_little() -> None:
    budget = Budget(dollars=1)
    results = await asyncio.gather(
        *(spend(purse(budget), 0.5, 0.5, 0.002) for _ in range(5)), return_exceptions=True
    )
    refused = [each for each in results if each is not None]
    assert len(refused) == 3
    assert all(isinstance(each, BudgetError) for each in refused)
    assert budget.left == 0


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that nobody reads on must not hold up all others for ever."""
    monkeypatch.setattr("bestroute.purse._PATIENCE", 0.05)
    budget = Budget(dollars=1)
    budget.take(1)
    with pytest.raises(BudgetError, match="calls under way hold what is left"):
        await spend(purse(budget), 0.5, 0.5)
    budget.settle(1, 0)
    await spend(purse(budget), 0.5, 0.5)


async def test_a_caller_who_leaves_holds_nothing() -> None:
    budget = Budget(dollars=1)
    budget.take(1)
    waiting = asyncio.ensure_future(spend(purse(budget), 0.5, 0.5))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.sleep(0)
    budget.settle(1, 0.25)
    assert (budget.held, budget.left) == (0, 0.75)


@given(st.lists(st.tuples(CENTS, st.floats(0, 1)), max_size=40), st.floats(0.1, 2))
@settings(max_examples=30, deadline=None)
def test_threads_and_loops_share_a_budget_and_exceed_none(
    calls: list[tuple[float, float]], own: float
) -> None:
    shared, purses = Budget(dollars=1), [purse(Budget(dollars=own)) for _ in range(4)]
    paid: list[float] = []
    for index, each in enumerate(purses):
        each.caps = {**each.caps, "shared": shared}
        if index % 2:  # no order of the caps may lock up
            each.caps = dict(reversed(each.caps.items()))

    async def one(mine: Purse, most: float, share: float) -> None:
        try:
            await spend(mine, most, most * share)
            paid.append(most * share)
        except BudgetError:
            return

    async def many(mine: Purse) -> None:
        await asyncio.gather(*(one(mine, *call) for call in calls))

    threads = [threading.Thread(target=asyncio.run, args=(many(each),)) for each in purses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert shared.held == 0
    assert sum(paid) <= 1 + 1e-9
    assert shared.left == pytest.approx(1 - sum(paid), abs=1e-9)


# The error


def test_a_budget_error_says_what_is_left_and_when_more_is(clock: Clock) -> None:
    budget = Budget(dollars=1, window=3600)
    budget.take(0.9)
    budget.settle(0.9, 0.9)
    clock.now += 600
    refusal = Purse(window_budget=budget).refusal(0.5, "big:1")
    assert refusal is not None
    assert refusal.left == pytest.approx(0.1)
    assert refusal.frees_in == pytest.approx(3000, abs=4)
    assert "big:1 may cost $0.5, more than the window budget has: $0.1 of $1 left" in str(refusal)
    assert "enough in 300" in str(refusal)
    again = pickle.loads(pickle.dumps(refusal))
    assert (str(again), again.left, again.frees_in) == (
        str(refusal),
        refusal.left,
        refusal.frees_in,
    )


def test_a_call_outside_of_a_request_is_paid_by_nobody() -> None:
    assert Purse().refusal(1e9, "anything") is None
    assert Purse().left == float("inf")
