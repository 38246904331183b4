"""What is measured is what runs: a replay equals the engine over the recorded provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bestroute import BestRoute, Cascade, ModelPool, Price
from bestroute.learning.beliefs.train import learn
from bestroute.learning.evaluation.replay import Replay
from bestroute.learning.fit import train
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import read_samples
from bestroute.learning.training.train import train_router
from bestroute.policy import Adaptive, EarlyStop, OneShot
from bestroute.policy.belief import Belief
from bestroute.recorded import Recording, recording_key
from bestroute.rewards.answers import extract_answer
from bestroute.routers.static import StaticEncoder

DATA = Path(str(resources.files("bestroute") / "data"))
SELECTION = {"agreement": extract_answer}
QUERIES = 15


class Played:
    """The demo's samples, a router and a belief learnt from its train split."""

    def __init__(self) -> None:
        self.pool = _cheaper(ModelPool.from_yaml(DATA / "demo_pool.yaml"))
        self.table = read_samples(DATA / "demo_samples.parquet", scored=True)
        self.engine, outcomes = train(self.table, self.pool)
        seen = outcomes.select("train")
        self.belief: Belief = learn(
            self.table,
            self.pool,
            seen.take(range(60)),
            _router,
            selection=SELECTION,
            permutations=3,
        )
        self.test = outcomes.select("test").take(range(QUERIES))
        self.rows = self.table.to_pylist()
        self.recording = Recording(self.rows, seed=7)

    def order(self, query_id: str, model: str) -> np.ndarray:
        """Places of the samples in the order in which the recorded provider gives them."""
        rows = [r for r in self.rows if (r["query_id"], r["model"]) == (query_id, model)]
        places = {number: place for place, number in enumerate(sorted(r["sample"] for r in rows))}
        key = recording_key(model, json.loads(rows[0]["messages"]), json.loads(rows[0]["sampling"]))
        return np.array([places[row["sample"]] for row in self.recording.take(key, len(rows))])


def _cheaper(pool: ModelPool) -> ModelPool:
    """So cheap that a further wave often pays."""
    members = [
        member
        if member.reference
        else member.model_copy(update={"price": Price(input=0.01, output=0.02)})
        for member in pool.models
    ]
    return pool.model_copy(update={"models": tuple(members)})


def _router(seen: Outcomes) -> Any:
    return train_router(
        seen.queries, seen.match, seen.arms, seen.reference.model, encoder=StaticEncoder()
    )


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    played = Played()
    played.recording.install()
    yield played
    played.recording.uninstall()


@pytest.mark.parametrize("name", ["one-shot", "early-stop", "cascade", "adaptive", "two waves"])
def test_a_replay_equals_the_engine(name: str, played: Played) -> None:
    policy: Any = {
        "one-shot": OneShot(0.4),
        "early-stop": EarlyStop(0.4),
        "cascade": Cascade(agreement=0.6),
        "adaptive": Adaptive(0.75, played.belief),
        "two waves": Adaptive(0.6, played.belief, max_waves=2),
    }[name]
    engine = BestRoute(
        played.pool,
        router=played.engine.router,
        policy=policy,
        cost_model=played.engine.cost_model,
    )
    assert engine.router is not None
    prediction = engine.router.predict(played.test.queries)
    replay = Replay(played.table, played.pool, played.test, **SELECTION)
    models = [member.name for member in played.pool.models]
    replayed = replay.play(
        policy,
        played.test.estimated_costs(engine.cost_model, prediction),
        match=prediction.match,
        orders=[
            [{model: played.order(query_id, model) for model in models}]
            for query_id in played.test.query_ids
        ],
    )
    oracle = {(r["query_id"], r["model"], r["response"]): r["oracle_score"] for r in played.rows}
    calls = 0
    for row, query_id in enumerate(played.test.query_ids):
        asked = next(r for r in played.rows if r["query_id"] == query_id)
        limits = json.loads(asked["sampling"])
        response = engine.complete(
            json.loads(asked["messages"]),
            query_text=asked["query"],
            max_tokens=limits["max_tokens"],
        )
        assert response.cost == pytest.approx(replayed.cost[row]), query_id
        assert oracle[query_id, response.model, response.text] == replayed.quality[row]
        assert response.usage.completion_tokens == replayed.tokens[row]
        assert len(response.calls) == replayed.waves[row]
        calls += len(response.calls)
    assert calls >= QUERIES
    if name in ("cascade", "adaptive"):
        assert calls > QUERIES  # some went on
