"""Caps are kept over HTTP, whatever goes wrong: a provider that bills dearly holds the meter."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bestroute import BestRoute, Cascade, ModelPool, Prediction, Price, asking
from bestroute.budget import Budget
from bestroute.errors import BestRouteError, BudgetError, SamplingError
from bestroute.policy import Adaptive, EarlyStop
from bestroute.pool import Arm
from bestroute.response import RoutedResponse
from bestroute.rewards.judge import JudgeReward
from bestroute.sampling import Sampler
from langchain_bestroute import ChatBestRoute
from llamaindex_bestroute import BestRouteLLM
from tests.metered_server import PRICES, Meter
from tests.servers import ChatServer, Reply
from tests.small_belief import small_belief

LONGEST = 40
"""Tokens of an answer."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_DELAY", 0.001)


class Undecided:
    """A router that knows nothing."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        self.arms = tuple(arms)

    def predict(self, queries: Sequence[str]) -> Prediction:
        return Prediction(self.arms, np.full((len(queries), len(self.arms)), 0.5))


def price(name: str) -> dict[str, float]:
    return dict(zip(("input", "output"), PRICES[name], strict=True))


def pool(server: ChatServer, *, native_n: bool = True) -> ModelPool:
    small = {"name": "small", "max_samples": 4, "native_n": native_n}
    return ModelPool.from_dict(
        {
            "models": [
                {**member, "model": f"openai/{member['name']}", "params": server.params}
                | {"price": price(str(member["name"]))}
                for member in (small, {"name": "big", "reference": True})
            ]
        }
    )


def cascade(server: ChatServer, **options: Any) -> BestRoute:
    return BestRoute(pool(server), **options)


def parallel(server: ChatServer, **options: Any) -> BestRoute:
    return BestRoute(pool(server, native_n=False), policy=Cascade(n=4), **options)


def judged(server: ChatServer, **options: Any) -> BestRoute:
    judge = JudgeReward(
        "openai/judge",
        params={**server.params, "max_tokens": 10},
        price=Price(**price("judge")),
    )
    models = pool(server)
    policy = EarlyStop(0.4)
    return BestRoute(models, router=Undecided(models.arms), policy=policy, reward=judge, **options)


def adaptive(server: ChatServer, **options: Any) -> BestRoute:
    """Waves, and the reference ahead of them: a second is worth much."""
    models = pool(server)
    belief = small_belief(["small"], levels=(1, 2, 3, 4), reference_cost=0.003, seed=3)
    policy = Adaptive(0.3, belief, dollars_per_second=1, seconds={"small": 1.0, "big": 1.0})
    return BestRoute(models, router=Undecided(models.arms), policy=policy, **options)


ENGINES = (cascade, parallel, judged, adaptive)


async def asked(
    engine: BestRoute, number: int, streaming: bool = False, **options: Any
) -> RoutedResponse | BestRouteError:
    """An answer, or why there is none."""
    text, options = f"q{number} {'word ' * (number % 7)}", {"max_tokens": LONGEST, **options}
    response = None
    try:
        if not streaming:
            return await engine.acomplete(text, **options)
        async for item in engine.astream(text, **options):
            response = item
    except (BudgetError, SamplingError) as error:
        return error
    assert isinstance(response, RoutedResponse)
    return response


# The window


@pytest.mark.parametrize("make", ENGINES)
@pytest.mark.parametrize("seed", [1, 2])
async def test_64_calls_at_once_exceed_no_window(
    make: Any, seed: int, chat_server: ChatServer
) -> None:
    meter = chat_server.reply = Meter(seed)
    rng = random.Random(seed)
    budget = Budget(dollars=rng.choice((0.02, 0.06)), window=3600)
    engine = make(chat_server, window_budget=budget, sampler=Sampler(retries=1))
    found = await asyncio.gather(
        *(asked(engine, number, streaming=rng.random() < 0.3) for number in range(64))
    )
    assert meter.total <= budget.dollars
    assert budget.held == 0
    assert meter.total <= budget.dollars - budget.left + 1e-9  # nothing is billed behind its back
    answers = [each for each in found if isinstance(each, RoutedResponse)]
    assert answers
    paid = sum(each.cost or 0.0 for each in answers)
    assert paid <= budget.dollars


async def test_a_window_is_used_up_not_only_kept(chat_server: ChatServer) -> None:
    """Real bills are far below what is set aside: calls wait for each other instead of failing."""
    chat_server.reply = "4"
    budget = Budget(dollars=0.02)
    engine = cascade(chat_server, window_budget=budget)
    found = await asyncio.gather(*(asked(engine, number) for number in range(64)))
    assert all(isinstance(each, RoutedResponse) for each in found)
    assert budget.left == pytest.approx(0.02 - sum(each.cost for each in found))  # type: ignore[union-attr,misc]


async def test_engines_share_a_budget(chat_server: ChatServer) -> None:
    meter = chat_server.reply = Meter(5)
    budget = Budget(dollars=0.03)
    engines = [make(chat_server, window_budget=budget) for make in (cascade, parallel)]
    await asyncio.gather(*(asked(engines[number % 2], number) for number in range(40)))
    assert 0.01 < meter.total <= budget.dollars


def test_threads_share_a_budget(chat_server: ChatServer) -> None:
    meter = chat_server.reply = Meter(6)
    budget = Budget(dollars=0.01)
    engine = cascade(chat_server, window_budget=budget)

    async def both_doors() -> None:
        in_threads = (asyncio.to_thread(asyncio.run, asked(engine, number)) for number in range(6))
        synchronous = (
            asyncio.to_thread(engine.complete, f"q{number}", max_tokens=LONGEST)
            for number in range(6, 12)
        )
        await asyncio.gather(*in_threads, *synchronous, return_exceptions=True)

    asyncio.run(both_doors())
    assert 0 < meter.total <= budget.dollars
    assert budget.held == 0


def test_a_window_frees_what_was_spent(chat_server: ChatServer) -> None:
    chat_server.reply = "4"
    budget = Budget(dollars=1e-3, window=0.5)
    engine = cascade(chat_server, window_budget=budget)
    engine.complete("hi", max_tokens=LONGEST)
    budget.take(budget.left)
    budget.settle(budget.left, budget.left)
    with pytest.raises(BudgetError, match=r"the window budget has: .* enough in \d s") as caught:
        engine.complete("hi", max_tokens=LONGEST)
    assert 0 < (caught.value.frees_in or 0) <= 0.51
    asyncio.run(asyncio.sleep(0.52))
    assert engine.complete("hi", max_tokens=LONGEST).text == "4"


# One call


@pytest.mark.parametrize("make", ENGINES)
async def test_no_call_exceeds_its_own_cap(make: Any, chat_server: ChatServer) -> None:
    meter = chat_server.reply = Meter(11, faults=0.12)
    engine = make(chat_server, sampler=Sampler(retries=2))
    rng = random.Random(11)
    caps = [rng.choice((0.0005, 0.001, 0.006, 0.009)) for _ in range(48)]
    found = await asyncio.gather(
        *(
            asked(engine, number, streaming=number % 3 == 0, max_cost=cap)
            for number, cap in enumerate(caps)
        )
    )
    for number, cap in enumerate(caps):
        assert meter.billed[str(number)] <= cap, number
    answers = [each for each in found if isinstance(each, RoutedResponse)]
    assert len(answers) > 24
    if make in (cascade, parallel):
        assert any("do not pay for big:1" in " ".join(each.degraded) for each in answers)


def test_an_escalation_that_cannot_be_paid_leaves_the_best_in_hand(
    chat_server: ChatServer,
) -> None:
    chat_server.reply = lambda body: Reply(["1", "2", "2"]) if body["model"] == "small" else "4"
    engine = cascade(chat_server)
    rich = engine.complete("hi", max_tokens=LONGEST, max_cost=0.1)
    assert (rich.text, rich.degraded) == ("4", ())
    poor = engine.complete("hi", max_tokens=LONGEST, max_cost=0.004)
    assert (poor.text, poor.model) == ("2", "small")
    (why,) = poor.degraded
    assert "left do not pay for big:1, which may cost $0.0" in why


def test_what_cannot_be_paid_from_the_start_is_one_clear_error(chat_server: ChatServer) -> None:
    engine = cascade(chat_server)
    for door in (engine.route, engine.complete):
        with pytest.raises(
            BudgetError, match=r"small:1 may cost \$.*, more than max_cost"
        ) as caught:
            door("hi", max_tokens=LONGEST, max_cost=1e-6)
        assert (caught.value.left, caught.value.frees_in) == (1e-6, None)
    assert chat_server.requests == []


async def test_a_stream_that_cannot_be_paid_is_refused(chat_server: ChatServer) -> None:
    engine = cascade(chat_server)
    refused = await asked(engine, 1, streaming=True, max_cost=1e-6)
    assert isinstance(refused, BudgetError)


async def test_who_comes_too_late_is_told_so(chat_server: ChatServer) -> None:
    """Both may be planned; only one can be paid."""
    chat_server.reply = lambda body: Reply("4", usage=_dear(body), delay=0.05)
    budget = Budget(dollars=0.008, window=60)
    engine = BestRoute(pool(chat_server), window_budget=budget)
    two = (asked(engine, number, model="big") for number in range(2))
    found = await asyncio.gather(*two)
    refused = [each for each in found if isinstance(each, BudgetError)]
    assert len(refused) == 1
    assert "1 of big may cost" in str(refused[0])
    assert "enough in 60 s" in str(refused[0])
    assert len(chat_server.requests) == 1


def _dear(body: Any) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": body["max_tokens"], "total_tokens": 60}


# What is paid for


async def test_a_call_without_a_report_counts_as_the_dearest(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("4", usage={})
    budget = Budget(dollars=1)
    engine = BestRoute(pool(chat_server), window_budget=budget)
    await engine.acomplete("hi", max_tokens=LONGEST, model="big")
    spent = 1 - budget.left
    assert spent > LONGEST * 60 / 1e6


async def test_who_leaves_pays(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("4", delay=0.5)
    budget = Budget(dollars=1)
    engine = BestRoute(pool(chat_server), window_budget=budget)
    task = asyncio.ensure_future(engine.acomplete("hi", max_tokens=LONGEST, model="small:3"))
    while not chat_server.requests:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budget.held == 0
    assert 1 - budget.left > 3 * LONGEST * 2 / 1e6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 503, 529])
async def test_a_refusal_costs_nothing(status: int, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("no", status=status)
    budget = Budget(dollars=1)
    engine = BestRoute(pool(chat_server), window_budget=budget, sampler=Sampler(retries=0))
    with pytest.raises(BestRouteError):
        await engine.acomplete("hi", max_tokens=LONGEST, model="big")
    assert (budget.left, budget.held) == (1, 0)


async def test_what_never_left_costs_nothing_either(chat_server: ChatServer) -> None:
    models = pool(chat_server).model_dump()
    for member in models["models"]:
        member["params"] = {"api_base": "http://127.0.0.1:9/v1", "api_key": "test"}
    budget = Budget(dollars=1)
    engine = BestRoute(models, window_budget=budget, sampler=Sampler(retries=0))
    with pytest.raises(SamplingError):
        await engine.acomplete("hi", max_tokens=LONGEST, model="big")
    assert budget.left == 1


async def test_a_time_out_is_paid_for(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("4", delay=0.5)
    budget = Budget(dollars=1)
    engine = BestRoute(pool(chat_server), window_budget=budget, sampler=Sampler(retries=0))
    with pytest.raises(SamplingError):
        await engine.acomplete("hi", max_tokens=LONGEST, model="big", timeout=0.1)
    assert 1 - budget.left > LONGEST * 60 / 1e6


# In the frameworks


def test_in_langchain_and_llamaindex(chat_server: ChatServer) -> None:
    chat_server.reply = "4"
    budget = Budget(dollars=0.01, window=3600)
    plain = pool(chat_server)
    llm = ChatBestRoute(pool=plain, window_budget=budget, max_tokens=LONGEST)
    index = BestRouteLLM(plain, window_budget=budget, max_tokens=LONGEST)
    llm.invoke("hi")
    after = budget.left
    index.complete("hi")
    assert 0.01 > after > budget.left
    budget.take(budget.left)
    budget.settle(budget.left, budget.left)
    with pytest.raises(BudgetError, match="window budget"):
        llm.invoke("hi")
    with pytest.raises(BudgetError, match="window budget"):
        index.complete("hi")
