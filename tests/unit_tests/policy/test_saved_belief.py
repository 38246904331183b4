"""A saved belief: it comes back as it was, and is refused when it does not fit together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from bestroute import ModelPool
from bestroute.cost import CostModel, TokenStats
from bestroute.errors import ArtifactError
from bestroute.policy.belief import FEATURES, ModelBelief
from bestroute.policy.evidence import Evidence
from bestroute.policy.saved_belief import belief_state, load_belief, repriced
from tests.small_belief import small_belief

MODELS = ("small", "org/qwen2.5-coder.v1")

Tensors = dict[str, Any]


def test_it_comes_back_number_by_number() -> None:
    before = small_belief(MODELS, reference_cost=0.25)
    facts, tensors = belief_state(before)
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float64)}
    after = load_belief(facts, tensors)
    assert after.reference_cost == 0.25
    assert tuple(after.models) == MODELS
    for name in MODELS:
        one, two = before.models[name], after.models[name]
        assert two.levels == one.levels and {type(level) for level in two.levels} == {int}
        for field in fields(ModelBelief):
            assert np.array_equal(getattr(one, field.name), getattr(two, field.name))


@pytest.mark.parametrize("width", [8, 9, len(FEATURES)])
def test_what_was_learnt_before_a_feature_was_there_reads_as_it_did(width: int) -> None:
    belief = small_belief(MODELS)
    facts, tensors = belief_state(belief)
    facts = {**facts, "features": facts["features"][:width]}
    cut = {
        name: tensor[:, :width] if name.endswith(("centre", "scale", "weight")) else tensor
        for name, tensor in tensors.items()
    }
    after = load_belief(facts, cut)
    seen = Evidence.of(["4", "4"], [9, 11], [0.2, 0.7], logprobs=[-3.0, -2.0], similarity=0.9)
    for name in MODELS:
        was = belief.models[name]
        was = replace(was, weight=np.where(np.arange(len(FEATURES)) < width, was.weight, 0))
        assert after.models[name].after(0.3, seen) == pytest.approx(was.after(0.3, seen))
    other = 8 if width > 8 else 9
    with pytest.raises(ArtifactError, match="is of the shape"):
        load_belief({**facts, "features": list(FEATURES[:other])}, cut)


def prices(big: dict[str, float] | None) -> CostModel:
    models: list[dict[str, Any]] = [
        {"model": "openai/small", "name": "small", "price": {"input": 1, "output": 2}},
        {"model": "openai/unheard-of", "name": "big", "price": big, "reference": True},
    ]
    stats = {"big": TokenStats(output_tokens=50)}
    return CostModel(ModelPool.from_dict({"models": models}), stats)


@pytest.mark.parametrize(
    ("before", "now", "cost"),
    [
        ({"input": 5, "output": 20}, {"input": 10, "output": 40}, 0.004),
        ({"input": 5, "output": 20}, {"input": 5, "output": 0}, 0.001),
        ({"input": 5, "output": 20}, {"input": 0, "output": 20}, 0.001),
        ({"input": 0, "output": 20}, {"input": 9, "output": 20}, 0.001),
        ({"input": 5, "output": 20}, None, 0.002),
        ({"input": 5, "output": 20}, {"input": 0, "output": 0}, 0),
    ],
)
def test_the_reference_at_another_price(
    before: dict[str, float], now: dict[str, float] | None, cost: float
) -> None:
    """It was typically asked with 200 tokens, and gave 50."""
    belief = small_belief(reference_cost=200e-6 * before["input"] + 50e-6 * before["output"])
    found = repriced(belief, prices(before), prices(now))
    assert found.reference_cost == pytest.approx(cost)
    assert found.models is belief.models


def put(name: str, value: Any) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({f"small.{name}": np.asarray(value)})


def spoil(name: str, value: float) -> Callable[[Tensors], None]:
    return lambda tensors: tensors[f"small.{name}"].flat.__setitem__(-1, value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tensors: tensors.pop("small.bias"), "lacks the tensor small.bias"),
        (lambda tensors: tensors.pop("small.levels"), "lacks the tensor small.levels"),
        (put("surprise", [1.0]), "unknown tensor: small.surprise"),
        (lambda tensors: tensors.update({"levels": np.ones(1)}), "unknown tensor: levels"),
        (put("bias", np.zeros(3, dtype=np.float32)), "small.bias"),
        (put("bias", np.zeros(2)), r"small.bias is of the shape \(2,\); expected \(3,\)"),
        (put("weight", np.zeros((3, 2))), "small.weight is of the shape"),
        (put("edges", np.zeros((4, 5))), "small.edges is of the shape"),
        (put("moves", np.zeros((3, 3, 4, 6))), "small.moves is of the shape"),
        (put("moves", np.zeros(4)), "small.moves must have four dimensions"),
        (put("moves", np.zeros((4, 4, 0, 6))), "small.moves must have four dimensions"),
        (put("levels", np.zeros(0)), "small.levels must be ascending"),
        (put("levels", [0.0, 1.0, 2.0]), "small.levels must be ascending"),
        (put("levels", [1.0, 3.0, 2.0]), "small.levels must be ascending"),
        (put("levels", [1.0, 2.0, 2.0]), "small.levels must be ascending"),
        (put("levels", [1.0, 2.0, 2.5]), "small.levels must be ascending"),
        (put("levels", [1.0, 2.0, 1e300]), "small.levels must be ascending"),
        (put("levels", [[1.0, 2.0, 3.0]]), "small.levels must be ascending"),
        (spoil("weight", math.nan), "small.weight must be finite"),
        (spoil("centre", math.inf), "small.centre must be finite"),
        (spoil("scale", 0.0), "small.scale is out of range"),
        (spoil("edges", -1.0), "small.edges is out of range"),
        (spoil("moves", 1.5), "small.moves is out of range"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: Callable[[Tensors], None], named: str) -> None:
    facts, tensors = belief_state(small_belief())
    change(tensors)
    with pytest.raises(ArtifactError, match=named):
        load_belief(facts, tensors)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"reference_cost": -1}, "reference_cost is -1"),
        ({"reference_cost": math.nan}, "reference_cost is nan"),
        ({"reference_cost": "1"}, "reference_cost is '1'"),
        ({"features": ["prior"]}, "train it again"),
        ({"features": [*FEATURES, "mood"]}, "train it again"),
        ({"features": list(FEATURES[::-1])}, "train it again"),
        ({"features": None}, "train it again"),
    ],
)
def test_facts_that_do_not_fit_are_named(change: dict[str, Any], named: str) -> None:
    facts, tensors = belief_state(small_belief())
    with pytest.raises(ArtifactError, match=named):
        load_belief({**facts, **change}, tensors)
    with pytest.raises(ArtifactError, match="lacks its belief"):
        load_belief(None, tensors)
