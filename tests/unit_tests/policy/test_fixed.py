"""Policies that do not read the query: what they draw, what stands in, how often the coin falls."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bestroute import Arm, BestRoute, ModelPool, Sample
from bestroute.errors import ConfigError
from bestroute.policy import Accept, FixedArm, Policy, RandomMix, State
from bestroute.policy.registry import load_policy, policy_state

SMALL, MIDDLE, BIG = Arm("small", 3), Arm("middle", 1), Arm("big", 1)
COSTS = {SMALL: 3.0, MIDDLE: 2.0, BIG: 9.0}


def state(query="", arms=(SMALL, MIDDLE, BIG), failed=()):
    return State(arms=arms, reference=BIG, costs=COSTS, query=query, failed=set(failed))


def drawn(move):
    assert not isinstance(move, Accept), move.reason
    (draw,) = move
    return Arm(draw.model, draw.n)


def test_a_fixed_arm_is_drawn_whatever_it_costs_and_then_accepted():
    policy, view = FixedArm("small:3"), state()
    assert drawn(policy.next(view)) == SMALL
    view.samples["small"] = [Sample(model="small", message={"content": "yes"})]
    move = policy.next(view)
    assert isinstance(move, Accept) and move.model == "small"


def test_the_reference_stands_in_and_then_the_cheapest_that_is_left():
    policy = FixedArm(SMALL)
    assert drawn(policy.next(state(failed=["small"]))) == BIG
    assert drawn(policy.next(state(arms=(MIDDLE, BIG)))) == BIG
    assert drawn(policy.next(state(failed=["small", "big"]))) == MIDDLE
    move = policy.next(state(failed=["small"]))
    assert not isinstance(move, Accept) and "small:3, which cannot answer: big:1" in move[0].reason
    end = policy.next(state(failed=["small", "middle", "big"]))
    assert isinstance(end, Accept) and end.model is None


def test_it_needs_no_prices():
    view = state(arms=(MIDDLE,))
    view.costs = dict.fromkeys(COSTS, math.nan)
    assert drawn(FixedArm(SMALL).next(view)) == MIDDLE


@pytest.mark.parametrize("policy", [FixedArm("smal:3"), RandomMix("small:9", BIG, share=1)])
def test_an_arm_that_the_pool_has_not_is_named(policy: Policy):
    with pytest.raises(ConfigError, match=r"no arm sma.*small:3, middle:1, big:1"):
        policy.next(state())


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_is_a_share(share):
    with pytest.raises(ConfigError, match="share"):
        RandomMix(SMALL, BIG, share=share)


def test_an_arm_is_written_as_name_and_n():
    with pytest.raises(ConfigError, match="name:n"):
        FixedArm("small")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 1.0])
def test_the_coin_falls_as_often_as_it_should(share):
    policy = RandomMix(SMALL, BIG, share=share, seed=3)
    falls = [drawn(policy.next(state(f"query {i}"))) == SMALL for i in range(4000)]
    error = math.sqrt(share * (1 - share) / 4000)
    assert np.mean(falls) == pytest.approx(share, abs=4 * error)


def test_the_same_query_meets_the_same_arm_and_another_seed_another_coin():
    queries = [f"query {i} \ud800" for i in range(200)]

    def choices(seed):
        policy = RandomMix(SMALL, BIG, share=0.5, seed=seed)
        return [drawn(policy.next(state(query))) for query in queries]

    assert choices(1) == choices(1) != choices(2)


def test_the_coin_s_arm_falls_back_like_a_fixed_one():
    assert drawn(RandomMix(SMALL, MIDDLE, share=1).next(state(failed=["small"]))) == BIG


@pytest.mark.parametrize("policy", [FixedArm(SMALL), RandomMix(SMALL, BIG, share=0.25, seed=7)])
def test_they_come_back_from_json(policy: Policy):
    config = json.loads(json.dumps(policy_state(policy)[0]))
    again = load_policy(config)
    assert type(again) is type(policy)
    assert vars(again) == vars(policy)
    assert isinstance(policy, Policy)


def test_the_engine_gives_the_coin_the_query():
    pool = ModelPool.from_dict(
        {
            "models": [
                {"model": "openai/small", "name": "small", "max_samples": 3},
                {"model": "openai/big", "name": "big", "reference": True},
            ]
        }
    )
    engine = BestRoute(pool, policy=RandomMix(SMALL, BIG, share=0.5))
    decisions = [engine.route(f"question {i}") for i in range(40)]
    assert {decision.arm for decision in decisions} == {SMALL, BIG}
    assert decisions == [engine.route(f"question {i}") for i in range(40)]
    assert decisions[0].policy == "random-mix" and not decisions[0].calibrated
