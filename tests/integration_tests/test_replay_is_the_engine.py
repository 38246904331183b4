"""What is measured is what runs: a replay equals the engine over the recorded provider."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bestroute import BestRoute, Cascade, ModelPool, Prediction, Price
from bestroute.catalog import CACHED_FROM
from bestroute.learning.beliefs.train import learn
from bestroute.learning.evaluation.replay import Replay
from bestroute.learning.fit import train
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import read_samples
from bestroute.learning.training.train import train_router
from bestroute.policy import Accept, Adaptive, Draw, EarlyStop, OneShot, State
from bestroute.policy.belief import Belief
from bestroute.recorded import Recording, recording_key
from bestroute.rewards.answers import extract_answer
from bestroute.routers.static import StaticEncoder
from tests.small_belief import small_belief

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


# What the shipped samples do not have: open answers, log-probabilities, prompts worth caching


WORDS = (
    "bread rises when the yeast in it gives off gas that stretches and lifts all of dough".split()
)
CACHING = ModelPool.from_dict(
    {
        "models": [
            {"model": "recorded/small", "name": "small", "max_samples": 5, "native_n": True}
            | {"price": {"input": 0.01, "output": 0.02, "cached_input": 0.001}},
            {"model": "recorded/big", "name": "big", "reference": True}
            | {"price": {"input": 1, "output": 4, "cached_input": 0.1}},
        ]
    }
)


def open_rows() -> list[dict[str, Any]]:
    """Texts of a dozen words to long and short prompts, some with log-probabilities."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(24):
        query = f"Question {i}: " + "why does bread rise? " * (300 if i % 2 else 3)
        shared = {"query_id": f"q{i}", "query": query, "split": "test", "sampling": "{}"}
        shared["messages"] = json.dumps([{"role": "user", "content": query}])
        shared |= {"prompt_tokens": len(query) // 4, "finish_reason": "stop"}
        for model, count in (("small", 5), ("big", 1)):
            rows += [
                {
                    **shared,
                    "model": model,
                    "sample": k,
                    "response": " ".join(rng.choice(WORDS, 12)) if k else " ".join(WORDS),
                    "completion_tokens": int(rng.integers(10, 30)),
                    "logprob": float(rng.normal(-1, 0.5)) if k % 3 else None,
                    "oracle_score": float(rng.random() < 0.5),
                }
                for k in range(count)
            ]
    return rows


class Undecided:
    """A router that knows nothing."""

    arms = CACHING.arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        return Prediction(self.arms, np.full((len(queries), len(self.arms)), 0.5))


class Watching(Adaptive):
    """Keeps what it was shown."""

    shown: list[str]

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        evidence = {model: repr(seen) for model, seen in state.evidence.items()}
        prices = [f"{state.cost(arm):.9g}" for arm in CACHING.arms]
        self.shown.append(f"{state.waves} {prices} {evidence}")
        return super().next(state)


def watching() -> Watching:
    policy = Watching(0.9, small_belief(levels=(1, 2, 3, 5), reference_cost=0.0005, seed=3))
    policy.shown = []
    return policy


@pytest.fixture
def open_recording() -> Iterator[Recording]:
    recording = Recording(open_rows(), seed=7)
    recording.install()
    yield recording
    recording.uninstall()


def test_so_it_does_with_open_answers_log_probabilities_and_cached_prompts(
    open_recording: Recording,
) -> None:
    """Every number that the policy is shown, and what is paid, to the last digit."""
    rows = open_rows()
    table = pa.Table.from_pylist(rows)
    outcomes = Outcomes.from_samples(table, CACHING, **SELECTION)
    router, live, played = Undecided(), watching(), watching()
    engine = BestRoute(CACHING, router=router, policy=live)
    first, again = (
        outcomes.estimated_costs(engine.cost_model, again=again) for again in (False, True)
    )
    orders = []
    for row in rows[::6]:
        key = recording_key("small", json.loads(row["messages"]), {})
        taken = [each["sample"] for each in open_recording.take(key, 5)]
        orders.append([{"small": np.array(taken), "big": np.array([0])}])
    replayed = Replay(table, CACHING, outcomes, **SELECTION).play(
        played,
        first,
        again=again,
        match=router.predict(outcomes.queries).match,
        orders=orders,
    )
    responses = [engine.complete(query) for query in outcomes.queries]
    assert live.shown == played.shown
    assert any("similarity=0." in each and "logprob=-" in each for each in live.shown)
    oracle = {(r["query_id"], r["model"], r["response"]): r["oracle_score"] for r in rows}
    for row, (query_id, response) in enumerate(zip(outcomes.query_ids, responses, strict=True)):
        assert response.cost == pytest.approx(replayed.cost[row]), query_id
        assert oracle[query_id, response.model, response.text] == replayed.quality[row]
        assert response.usage.completion_tokens == replayed.tokens[row]
        assert len(response.calls) == replayed.waves[row]
        small = [call for call in response.calls if call.model == "small"]
        prompt = len(outcomes.queries[row]) // 4
        read = prompt * (len(small) - 1) if prompt >= CACHED_FROM and small else 0
        assert response.usage.cached_tokens == read
    assert any(response.usage.cached_tokens for response in responses)
