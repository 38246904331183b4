"""The cap on how often the reference is asked holds for every policy, prompt and thread."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bestroute import BestRoute, Cascade, ModelPool, OneShot
from bestroute.errors import ConfigError
from bestroute.policy import Policy, ReferenceShare
from bestroute.policy.base import Accept, State
from bestroute.policy.fixed import FixedArm
from bestroute.policy.share import capped
from bestroute.pool import Arm
from bestroute.sampling import Sampler
from tests.servers import Body, ChatServer, Reply
from tests.small_router import EASY, HARD, routed

SMALL, BIG = Arm("small", 1), Arm("big", 1)


def pool(server: ChatServer | None = None) -> dict[str, Any]:
    params = {} if server is None else server.params
    small = {"name": "small", "max_samples": 3, "price": {"input": 1, "output": 2}}
    big = {"name": "big", "reference": True, "price": {"input": 9, "output": 9}}
    members = [
        {"model": f"openai/{each['name']}", "params": params, **each} for each in (small, big)
    ]
    return {"models": members}


def engine(server: ChatServer | None, share: Any, **options: Any) -> BestRoute:
    models = ModelPool.from_dict(pool(server))
    sampler = Sampler(retries=0)
    return BestRoute(models, sampler=sampler, max_reference_share=share, **options)


def state(*arms: Arm) -> State:
    return State(arms=arms or (SMALL, BIG), reference=BIG, costs={SMALL: 1.0, BIG: 9.0})


def asks(policy: Policy, seen: State) -> bool:
    move = policy.next(seen)
    assert not isinstance(move, Accept)
    return move[0].model == "big"


@given(
    most=st.floats(0, 1),
    window=st.integers(1, 30),
    wants=st.lists(st.sampled_from(["big", "small"]), max_size=120),
)
def test_no_run_of_calls_exceeds_it(most: float, window: int, wants: list[str]) -> None:
    share, asked = ReferenceShare(most, window=window), list[bool]()
    for want in wants:
        policy = capped(FixedArm(Arm(want, 1)), share)
        asked.append(asks(policy, state()))
        last = asked[-window:]
        assert sum(last) <= most * len(last) + 1
        assert share.now == sum(last) / len(last)
        if want == "small":
            assert not asked[-1]


@given(most=st.floats(0.01, 1), calls=st.integers(1, 200))
def test_what_it_leaves_is_used(most: float, calls: int) -> None:
    share = ReferenceShare(most, window=1000)
    asked = sum(asks(capped(FixedArm(BIG), share), state()) for _ in range(calls))
    assert asked >= most * calls - 1e-9


@settings(max_examples=20, deadline=None)
@given(most=st.floats(0, 1), late=st.lists(st.integers(0, 9), max_size=40))
def test_calls_that_escalate_later_are_held_to_it(most: float, late: list[int]) -> None:
    """Ten calls are under way; each asks for the reference at some point, in any order."""
    share = ReferenceShare(most, window=10)
    calls = [(capped(Escalates(), share), state()) for _ in range(10)]
    for policy, seen in calls:
        assert not asks(policy, seen)
        seen.samples["small"] = ["one"]  # type: ignore[list-item]
    asked = set()
    for number in late:
        policy, seen = calls[number]
        if not isinstance(policy.next(seen), Accept):
            asked.add(number)
        assert len(asked) <= most * 10 + 1


class Escalates:
    """The small model first, then the reference if it may be asked."""

    name, needs_router, calibrated, looks = "escalates", False, False, True

    def next(self, state: State) -> Any:
        if not state.samples:
            return FixedArm(SMALL).next(state)
        return FixedArm(BIG).next(state_of(state)) if BIG in state.arms else Accept()


def state_of(old: State) -> State:
    return state(*old.arms)


def test_threads_share_the_count() -> None:
    share = ReferenceShare(0.25, window=400)
    with ThreadPoolExecutor(8) as threads:
        asked = list(threads.map(lambda _: asks(capped(FixedArm(BIG), share), state()), range(400)))
    assert sum(asked) == 100 and share.now == 0.25


def test_the_decision_says_why_and_a_decision_alone_is_not_counted(
    chat_server: ChatServer,
) -> None:
    chat_server.reply = lambda body: Reply(["ok"] * (body.get("n") or 1))
    router = routed(pool(chat_server))
    router.reference_share = ReferenceShare(0.5, window=4)
    decisions = []
    for question in (*HARD, *HARD):
        told = [router.route(question) for _ in range(3)]
        decisions.append(router.complete(question).decision)
        assert {each.arm for each in told} == {decisions[-1].arm}  # what the next call does
    assert [decision.arm.model for decision in decisions] == ["big", "small"] * 3
    assert "big:1" not in decisions[0].excluded
    assert decisions[1].excluded["big:1"] == "the reference has its share (50%) of the last calls"
    assert "big:1" not in decisions[1].match_probabilities
    assert router.route(EASY[0]).arm.model == "small"


def test_where_nothing_else_can_serve_the_reference_does(chat_server: ChatServer) -> None:
    alone = engine(chat_server, 0.0)
    assert alone.complete("hi", models=["big"]).winner.model == "big"
    assert alone.complete("hi", model="big").winner.model == "big"  # not routed, not counted
    assert alone.reference_share is not None and alone.reference_share.now == 1.0


def test_after_failures_it_answers_and_is_counted(chat_server: ChatServer) -> None:
    def reply(body: Body) -> Reply | str:
        return Reply("down", status=500) if body["model"] == "small" else "It is 51"

    chat_server.reply = reply
    for policy in (FixedArm(SMALL), Cascade()):
        broken = engine(chat_server, 0.0, policy=policy)
        assert broken.complete("hi").winner.model == "big"
        assert broken.reference_share is not None and broken.reference_share.now == 1.0


def test_a_cascade_does_not_escalate_beyond_it(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply(["one", "two", "three"][: body.get("n") or 1])
    cascade = engine(chat_server, 0.25, policy=Cascade())
    winners = [cascade.complete(f"question {i}").winner.model for i in range(8)]
    assert winners.count("big") == 2


def test_a_router_that_fails_does_not_open_it(chat_server: ChatServer) -> None:
    class Broken:
        arms = ModelPool.from_dict(pool()).arms

        def predict(self, queries: Any) -> Any:
            raise RuntimeError("tricked")

    tricked = engine(chat_server, 0.2, router=Broken(), policy=OneShot(0.5))
    winners = [tricked.complete("hi").winner.model for _ in range(10)]
    assert winners.count("big") == 2


@pytest.mark.parametrize("most", [-0.1, 1.1, float("nan")])
def test_what_is_no_share(most: float) -> None:
    with pytest.raises(ConfigError, match="max_reference_share"):
        engine(None, most)
    with pytest.raises(ConfigError, match="window"):
        ReferenceShare(0.5, window=0)


def test_copies_count_for_themselves() -> None:
    share = ReferenceShare(0.5, window=7)
    asks(capped(FixedArm(BIG), share), state())
    for other in (copy.deepcopy(share), pickle.loads(pickle.dumps(share))):
        assert (other.most, other.now, share.now) == (0.5, 0.0, 1.0)
