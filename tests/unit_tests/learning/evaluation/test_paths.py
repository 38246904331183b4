"""The ways that requests take through a policy that looks at its samples."""

from __future__ import annotations

import pytest

from bestroute import Cascade, ModelPool
from bestroute.cost import CostModel
from bestroute.learning.evaluation.paths import Watched
from bestroute.learning.evaluation.replay import Replay
from bestroute.learning.outcomes import Outcomes
from bestroute.policy import EarlyStop
from tests.unit_tests.learning.evaluation.test_replay import POOL, random_table, table


def watch(samples, policy, *, match=None, permutations=20):
    outcomes = Outcomes.from_samples(samples, POOL, agreement=str)
    watched = Watched(policy)
    played = Replay(samples, POOL, outcomes, agreement=str).play(
        watched,
        outcomes.estimated_costs(CostModel(POOL)),
        match=match if match is None else match(outcomes),
        permutations=permutations,
    )
    return watched, played, outcomes


AGREE, SCATTER = [("right", 1.0)] * 4, [("a", 0.0), ("b", 0.0), ("c", 0.0), ("d", 0.0)]


def test_a_cascade_accepts_or_escalates() -> None:
    watched, _, _ = watch(table([AGREE, SCATTER, AGREE, AGREE]), Cascade(n=2))
    found = watched.paths(examples=5)
    assert (found.policy, found.requests) == ("cascade", 80)
    first, second = found.forks
    assert first.reached == 1 and first.ways["other"] == 1
    assert second.reached == 1
    assert (second.ways["accept"], second.ways["reference"]) == pytest.approx((0.75, 0.25))
    accepted, escalated = found.examples
    assert accepted.share == pytest.approx(0.75) and escalated.share == pytest.approx(0.25)
    assert [step.move for step in accepted.trace] == ["draw", "accept"]
    assert [step.model for step in escalated.trace] == ["s", "b", "b"]
    assert escalated.query == "query 1"
    assert escalated.trace[0].seen["agreement"] == 0.5
    assert accepted.trace[0].seen["agreement"] == 1
    # the costs of the draws are the cost of the request
    assert sum(step.cost for step in escalated.trace) == pytest.approx(escalated.cost)
    assert escalated.trace[1].cost in (pytest.approx(200e-6), pytest.approx(250e-6))  # 3, 4 tokens


def test_shares_add_up_wave_by_wave() -> None:
    samples = random_table(30)
    policy = EarlyStop(0.5)
    watched, played, _ = watch(samples, policy, match=lambda outcomes: outcomes.match)
    found = watched.paths()
    assert found.examples == ()
    for fork, then in zip(found.forks, (*found.forks[1:], None), strict=True):
        assert sum(fork.ways.values()) == pytest.approx(fork.reached)
        going_on = fork.ways["more"] + fork.ways["other"]
        assert going_on == pytest.approx(0 if then is None else then.reached)
    drawn = sum(fork.reached - fork.ways["accept"] for fork in found.forks)
    assert drawn == pytest.approx(played.waves.mean())  # every draw is a wave


def test_watching_changes_nothing() -> None:
    samples = random_table(10)
    watched, played, outcomes = watch(samples, Cascade(n=3, agreement=0.6))
    alone = Replay(samples, POOL, outcomes, agreement=str).play(
        Cascade(n=3, agreement=0.6), outcomes.estimated_costs(CostModel(POOL)), permutations=20
    )
    assert (played.cost == alone.cost).all() and (played.quality == alone.quality).all()
    assert isinstance(POOL, ModelPool) and watched.n == 3  # what else the policy says of itself
