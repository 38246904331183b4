"""What every baseline must do: find the arms of each topic, be repeatable, be saved and route."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import bestroute
from bestroute import BestRoute, ModelPool, OneShot
from bestroute.cost import CostModel
from bestroute.errors import ConfigError
from bestroute.learning.baselines import TRAINERS
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import read_samples
from bestroute.pool import Arm
from bestroute.rewards.answers import extract_answer

DATA = Path(bestroute.__file__).parent / "data"
ONE_SAMPLE = {"n-class", "n-label", "single-sample"}
HYBRID = {"hybrid-deterministic", "hybrid-probabilistic", "hybrid-transformed"}


def samples_of(outcomes: Outcomes) -> pa.Table:
    """Ten samples of each model that match a reference of score 1/2 as often as they should."""
    rows = []
    for query, match in zip(outcomes.query_ids, outcomes.match, strict=True):
        for arm, share in zip(outcomes.arms, match, strict=True):
            right = round(10 * share) if arm != outcomes.reference else 0
            scores = (
                [0.5] * 10 if arm == outcomes.reference else [1.0] * right + [0.0] * (10 - right)
            )
            if arm.n == 1:
                rows += [(query, arm.model, score) for score in scores]
    names = ("query_id", "model", "oracle_score")
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


@pytest.fixture(scope="module", params=sorted(TRAINERS))
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def trained(name, topics, encoder):
    train = topics(160)
    return TRAINERS[name](train, encoder=encoder, samples=samples_of(train))


def test_it_tells_the_topics_apart_on_queries_it_has_not_seen(name, trained, topics):
    unseen = topics(40, seed=1)
    prediction = trained.predict(unseen.queries)
    match = prediction.match
    assert prediction.arms == trained.arms == unseen.arms
    assert match.shape == unseen.match.shape
    assert ((match >= 0) & (match <= 1)).all()
    assert (match[:, 4] == 1).all()
    # n-label and the deterministic labels saw one sample a query: they are noisier.
    cook, count = match[0::2], match[1::2]
    assert cook[:, 0].min() > count[:, 0].max() + 0.2
    if name not in HYBRID:
        assert count[:, 2].min() > cook[:, 2].max() + 0.2
        assert (cook[:, 0] > cook[:, 2]).all() and (count[:, 2] > count[:, 0]).all()


def test_arms_without_a_word_on_them_match_with_0(name, trained, topics):
    match = trained.predict(topics(10, seed=2).queries).match
    silent = [1, 3] if name in ONE_SAMPLE else [1, 2, 3] if name in HYBRID else []
    assert [column for column in range(5) if (match[:, column] == 0).all()] == silent


def test_equal_seeds_give_equal_routers(name, topics, encoder):
    train = topics(40)
    table = samples_of(train)
    (one, first), (two, second) = (
        TRAINERS[name](train, encoder=encoder, samples=table, seed=5).state() for _ in range(2)
    )
    assert one == two
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_match_probabilities_keep_the_mean_of_the_training_split(name, trained, topics):
    if name == "n-class":
        pytest.skip("its scores are relative to the reference's class")
    train = topics(160)
    predicted = trained.predict(train.queries).match
    spoken = ~(predicted == 0).all(axis=0)
    assert predicted[:, spoken].mean(axis=0) == pytest.approx(
        train.match[:, spoken].mean(axis=0), abs=0.1
    )


def test_a_pool_of_the_reference_alone_cannot_be_routed(name, topics, encoder):
    if name in {"knn", "clusters"}:
        pytest.skip("it has nothing to fit")
    whole = topics(10)
    alone = Outcomes(
        **{
            **vars(whole),
            "arms": whole.arms[4:],
            **{
                grid: getattr(whole, grid)[:, 4:]
                for grid in ("match", "quality", "cost", "prompt_tokens", "output_tokens")
            },
        }
    )
    with pytest.raises(ConfigError, match="but the reference"):
        TRAINERS[name](alone, encoder=encoder, samples=samples_of(whole))


@pytest.fixture(scope="module")
def demo():
    table = read_samples(DATA / "demo_samples.parquet", scored=True)
    pool = ModelPool.from_yaml(DATA / "demo_pool.yaml")
    return table, pool, Outcomes.from_samples(table, pool, agreement=extract_answer)


def test_an_artifact_of_it_routes_the_shipped_queries(name, demo, encoder, tmp_path):
    table, pool, outcomes = demo
    train, test = outcomes.select("train"), outcomes.select("test")
    router = TRAINERS[name](train, encoder=encoder, samples=table)
    before = router.predict(test.queries)
    threshold = float(np.median(before.match[:, test.arms.index(Arm("qwen2.5-coder-0.5b", 1))]))
    engine = BestRoute(
        pool,
        router=router,
        policy=OneShot(threshold),
        cost_model=CostModel(pool, outcomes.token_stats("train")),
    )
    after = BestRoute.from_pretrained(engine.save_pretrained(tmp_path / name))
    assert after.router is not None
    again = after.router.predict(test.queries)
    assert np.array_equal(before.match, again.match)
    if before.quality is not None:
        assert np.array_equal(before.quality, again.quality)
    routed = [after.route(query) for query in test.queries[:40]]
    assert routed == [engine.route(query) for query in test.queries[:40]]
    assert len({decision.arm for decision in routed}) > 1
