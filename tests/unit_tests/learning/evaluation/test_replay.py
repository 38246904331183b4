"""Replay plays the policies that run, and agrees with the exact sums where there are some."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from bestroute import Cascade, ModelPool, OneShot
from bestroute.cost import CostModel
from bestroute.errors import DataError
from bestroute.learning.evaluation.recording import SECONDS_PER_TOKEN
from bestroute.learning.evaluation.replay import Replay, Replayed
from bestroute.learning.outcomes import Outcomes
from bestroute.policy import Accept, Draw, State
from bestroute.policy.evidence import Evidence
from bestroute.pool import Arm

POOL = ModelPool.from_dict(
    {
        "models": [
            {
                "model": "openai/s",
                "name": "s",
                "max_samples": 4,
                "price": {"input": 1, "output": 2},
                "native_n": False,
            },
            {
                "model": "openai/b",
                "name": "b",
                "reference": True,
                "price": {"input": 5, "output": 50},
            },
        ]
    }
)


def table(small: list[list[tuple[str, float]]], big: float = 1.0) -> pa.Table:
    """One row a sample: (answer, oracle score) of the small model, query by query."""
    rows = []
    for query, samples in enumerate(small):
        answers = [("s", i, answer, score) for i, (answer, score) in enumerate(samples)]
        answers += [("b", i, "right", big) for i in range(2)]
        rows += [
            {
                "query_id": f"q{query}",
                "query": f"query {query}",
                "model": model,
                "sample": i,
                "response": answer,
                "oracle_score": score,
                "proxy_score": score,
                "prompt_tokens": 10,
                "completion_tokens": 3 + i,
            }
            for model, i, answer, score in answers
        ]
    return pa.Table.from_pylist(rows)


def random_table(queries: int) -> pa.Table:
    rng = np.random.default_rng(0)
    texts = np.array(["right", "left", "up"])
    answers = texts[rng.choice(3, p=[0.5, 0.3, 0.2], size=(queries, 6))]
    return table([[(a, float(a == "right")) for a in row] for row in answers.tolist()])


@pytest.mark.parametrize("selection", [{"agreement": str}, {"proxy": "proxy_score"}])
@pytest.mark.parametrize("n", [1, 3, 4])
def test_one_shot_agrees_with_the_exact_sums(selection, n: int) -> None:
    samples = random_table(60)
    outcomes = Outcomes.from_samples(samples, POOL, **selection)
    match = np.zeros_like(outcomes.match)
    match[:, outcomes.arms.index(Arm("s", n))] = 1
    estimated = outcomes.estimated_costs(CostModel(POOL))
    found = Replay(samples, POOL, outcomes, **selection).play(
        OneShot(0.5), estimated, match=match, permutations=200
    )
    column = outcomes.arms.index(Arm("s", n))
    assert abs(found.quality.mean() - outcomes.quality[:, column].mean()) < 3 * found.error + 1e-12
    assert found.cost.mean() == pytest.approx(outcomes.cost[:, column].mean(), rel=0.01)
    assert found.error < 0.01


def test_a_cascade_pays_for_what_it_drew_and_escalates_on_disagreement() -> None:
    agree, differ = [("left", 0.0)] * 3, [("left", 0.0), ("up", 0.0), ("down", 0.0)]
    pool = ModelPool.from_dict(
        {"models": [{**m.model_dump(), "max_samples": min(m.max_samples, 3)} for m in POOL.models]}
    )
    samples = table([agree, differ])
    outcomes = Outcomes.from_samples(samples, pool, agreement=str)
    estimated = outcomes.estimated_costs(CostModel(pool))
    found = Replay(samples, pool, outcomes, agreement=str).play(Cascade(n=3), estimated)
    assert found.quality.tolist() == [0, 1]
    small = (3 * 10 * 1 + (3 + 4 + 5) * 2) / 1e6  # three prompts, for n is not native
    reference = (10 * 5 + 3.5 * 50) / 1e6  # 3 or 4 tokens, equally often
    assert found.cost[0] == pytest.approx(small)
    assert found.cost[1] == pytest.approx(small + reference, rel=0.03)


@dataclass
class Plan:
    """Draws these moves one after the other, then accepts the model of the last."""

    moves: list[tuple[Draw, ...]]
    name = "plan"
    needs_router = False
    calibrated = False

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        if state.waves < len(self.moves):
            return self.moves[state.waves]
        return Accept(model=self.moves[-1][0].model)


def play(moves: list[tuple[Draw, ...]], samples: pa.Table, **options) -> Replayed:
    outcomes = Outcomes.from_samples(samples, POOL, agreement=str)
    estimated = outcomes.estimated_costs(CostModel(POOL))
    return Replay(samples, POOL, outcomes, agreement=str, **options).play(Plan(moves), estimated)


ONE, THREE, REFERENCE = Draw(model="s", n=1), Draw(model="s", n=3), Draw(model="b", n=1)


def test_waves_tokens_and_seconds() -> None:
    samples = random_table(20)
    found = play([(ONE,), (THREE,), (REFERENCE,)], samples)
    assert found.waves.tolist() == [3] * 20
    assert found.tokens.mean() == pytest.approx(4 * 5.5 + 3.5, rel=0.02)  # of 3 to 8, of 3 or 4
    # the longest of three of 3 to 8 has 7.25 tokens on average
    assert found.seconds.mean() == pytest.approx((5.5 + 7.25 + 3.5) * SECONDS_PER_TOKEN, rel=0.02)
    assert not found.recorded
    side_by_side = play([(THREE, REFERENCE)], samples)
    assert side_by_side.waves.tolist() == [1] * 20
    assert side_by_side.seconds.mean() < found.seconds.mean()
    timed = samples.append_column("latency", pa.array([2.0] * len(samples)))
    assert play([(ONE,), (REFERENCE,)], timed).seconds.mean() == 4
    assert play([(ONE,), (REFERENCE,)], timed).recorded
    answered = {POOL.arms[column] for column in np.unique(found.answered)}
    assert answered == {Arm("b", 1)}


def test_what_is_begun_ahead_saves_time_and_costs_money() -> None:
    samples = random_table(10)
    samples = samples.append_column("latency", pa.array([2.0] * len(samples)))
    ahead = Draw(model="b", n=1, ahead=True)
    in_turn, saved = (
        play([(ONE,), (REFERENCE,)], samples),
        play([(ONE, ahead), (REFERENCE,)], samples),
    )
    assert saved.seconds.mean() == in_turn.seconds.mean() / 2
    assert saved.cost.mean() == pytest.approx(in_turn.cost.mean())
    slow = np.where(np.array(samples["model"]) == "b", 9.0, 2.0)
    samples = samples.set_column(samples.num_columns - 1, "latency", pa.array(slow))
    vain, alone = play([(ONE, ahead)], samples), play([(ONE,)], samples)
    assert vain.seconds.mean() == alone.seconds.mean() == 2
    assert vain.cost - alone.cost == pytest.approx(10 * 5 / 1e6)  # the prompt of the cancelled call


def test_the_reward_model_is_paid_for_what_it_scores() -> None:
    samples = random_table(10)
    free, paid = (play([(THREE,)], samples, reward_price=each) for each in (0.0, 1e-6))
    assert (paid.cost - free.cost).mean() == pytest.approx((3 * 10 + 3 * 5.5) * 1e-6, rel=0.05)
    assert play([(ONE,)], samples, reward_price=1.0).cost.max() < 1e-3


@dataclass
class Spy:
    """Draws one, and one more; notes what it saw."""

    seen: list[Evidence]
    name = "spy"
    needs_router = False
    calibrated = False

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        self.seen += [state.evidence["s"]] if "s" in state.evidence else []
        return (ONE,) if state.waves < 2 else Accept(model="s")


def test_equal_seeds_give_every_policy_the_same_orders() -> None:
    samples = random_table(5)
    outcomes = Outcomes.from_samples(samples, POOL, agreement=str)
    estimated = outcomes.estimated_costs(CostModel(POOL))
    replay = Replay(samples, POOL, outcomes, agreement=str)
    all_at_once, in_turn = (
        replay.play(Plan(moves), estimated, permutations=20, seed=3)
        for moves in ([(Draw(model="s", n=4),)], [(ONE,), (THREE,)])
    )
    assert all_at_once.quality == pytest.approx(in_turn.quality)
    assert all_at_once.tokens == pytest.approx(in_turn.tokens)
    other = replay.play(Plan([(Draw(model="s", n=4),)]), estimated, permutations=20, seed=4)
    assert other.tokens.tolist() != in_turn.tokens.tolist()


def test_where_scores_select_answers_are_evidence_too() -> None:
    samples = random_table(3)
    outcomes = Outcomes.from_samples(samples, POOL)
    spy = Spy([])
    Replay(samples, POOL, outcomes).play(spy, outcomes.estimated_costs(CostModel(POOL)))
    assert {(each.n, each.top) for each in spy.seen} == {(1, 1), (2, 1), (2, 2)}
    assert {each.best for each in spy.seen} == {0.0, 1.0}  # the proxy score


def test_equal_seeds_replay_equally() -> None:
    samples = random_table(5)
    outcomes = Outcomes.from_samples(samples, POOL, agreement=str)
    estimated = outcomes.estimated_costs(CostModel(POOL))
    replay = Replay(samples, POOL, outcomes, agreement=str)
    one, same, other = (
        replay.play(Cascade(n=2), estimated, permutations=5, seed=seed) for seed in (0, 0, 1)
    )
    assert one.quality.tolist() == same.quality.tolist() != other.quality.tolist()


def test_a_query_without_samples_is_named() -> None:
    outcomes = Outcomes.from_samples(random_table(3), POOL, agreement=str)
    with pytest.raises(DataError, match="q2"):
        Replay(random_table(2), POOL, outcomes, agreement=str)


@pytest.mark.parametrize("selection", [{"agreement": str}, {"proxy": "proxy_score"}])
def test_the_clairvoyant_sees_what_a_draw_of_every_size_would_select(selection) -> None:
    samples = random_table(30)
    outcomes = Outcomes.from_samples(samples, POOL, **selection)
    estimated = outcomes.estimated_costs(CostModel(POOL))
    replay = Replay(samples, POOL, outcomes, reward_price=1e-6, **selection)
    costs, qualities = replay.arms(permutations=10, seed=1)
    for column, arm in enumerate(outcomes.arms):
        plan = Plan([(Draw(model=arm.model, n=arm.n),)])
        found = replay.play(plan, estimated, permutations=10, seed=1)
        assert found.quality == pytest.approx(qualities[:, :, column].mean(axis=1))
        assert found.cost == pytest.approx(costs[:, :, column].mean(axis=1))
