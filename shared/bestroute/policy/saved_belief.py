"""What a policy believes, as named tensors and a few plain facts, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from bestroute.cost import CostModel
from bestroute.errors import ArtifactError, MissingPriceError
from bestroute.policy.belief import FEATURES, Belief, Floats, ModelBelief

_FIELDS = tuple(field.name for field in fields(ModelBelief))
_MOST = 1e6

_OLDEST = 8
_NEUTRAL = {"centre": 0.0, "scale": 1.0, "weight": 0.0}
"""Features that came later weigh nothing in a belief that was learnt before."""


def belief_state(belief: Belief) -> tuple[dict[str, Any], dict[str, Floats]]:
    """JSON-able facts, and float64 tensors by `model.field`."""
    facts = {"reference_cost": belief.reference_cost, "features": list(FEATURES)}
    return facts, {
        f"{name}.{field}": np.asarray(getattr(model, field), dtype=np.float64)
        for name, model in belief.models.items()
        for field in _FIELDS
    }


def load_belief(facts: Any, tensors: Mapping[str, Floats]) -> Belief:
    """Build the belief that `belief_state` described.

    Raises:
        ArtifactError: Names what is missing, of another version, or damaged.
    """
    if not isinstance(facts, Mapping):
        raise ArtifactError("the saved policy lacks its belief")
    width = _width(facts.get("features"))
    cost = facts.get("reference_cost")
    if not isinstance(cost, int | float) or not (math.isfinite(cost) and cost >= 0):
        raise ArtifactError(f"the saved policy's reference_cost is {cost!r}; expected $")
    models: dict[str, dict[str, Floats]] = {}
    for name, tensor in tensors.items():
        model, _, field = name.rpartition(".")
        if field not in _FIELDS or not model:
            raise ArtifactError(f"the saved policy has an unknown tensor: {name}")
        if tensor.dtype != np.float64 or not np.isfinite(tensor).all():
            raise ArtifactError(f"the saved policy's {name} must be finite numbers (float64)")
        models.setdefault(model, {})[field] = tensor
    learnt = {name: _model(name, held, width) for name, held in models.items()}
    return Belief(learnt, float(cost))


def repriced(belief: Belief, before: CostModel, now: CostModel) -> Belief:
    """The same belief where the reference has another price.

    Args:
        belief: What was learnt.
        before: Prices that it was learnt at, and what the reference's answers are long.
        now: Prices from now on.
    """
    reference = before.pool.reference_arm
    output = before.output_tokens(reference.model)
    try:
        (per_prompt, per_output), rates = before.rates(reference), now.rates(reference)
    except MissingPriceError:  # it can price nothing, whatever the reference costs
        return belief
    rest = max(belief.reference_cost - per_output * output, 0.0)
    prompt = rest / per_prompt if per_prompt else 0.0
    return replace(belief, reference_cost=rates[0] * prompt + rates[1] * output)


def _width(features: Any) -> int:
    """How many of the features a belief was learnt with: new ones are added at the end."""
    if isinstance(features, list) and len(features) >= _OLDEST:
        if features == list(FEATURES[: len(features)]):
            return len(features)
    raise ArtifactError(
        "the saved policy's belief reads other features of the samples than this bestroute: "
        "train it again, or install the bestroute it was trained with"
    )


def _model(name: str, held: Mapping[str, Floats], width: int) -> ModelBelief:
    """One model's belief, once its tensors are known to fit together."""
    if missing := [field for field in _FIELDS if field not in held]:
        raise ArtifactError(f"the saved policy lacks the tensor {name}.{missing[0]}")
    levels = held["levels"]
    counts = levels.ndim == 1 and len(levels) > 0 and bool((levels == np.rint(levels)).all())
    if not counts or not 1 <= levels[0] <= levels[-1] <= _MOST or (np.diff(levels) <= 0).any():
        raise ArtifactError(f"the saved policy's {name}.levels must be ascending counts from 1")
    count, bins, likely = len(levels), *_bins(name, held["moves"])
    shapes = {
        **dict.fromkeys(("centre", "scale", "weight"), (count, width)),
        "bias": (count,),
        "edges": (count + 1, bins - 1),
        "moves": (count + 1, count + 1, bins, likely),
    }
    for field, shape in shapes.items():
        if held[field].shape != shape:
            raise ArtifactError(
                f"the saved policy's {name}.{field} is of the shape {held[field].shape}; "
                f"expected {shape}"
            )
    for field, sound in (
        ("scale", (held["scale"] > 0).all()),
        ("edges", (np.diff(held["edges"], axis=1) >= 0).all()),
        ("moves", ((held["moves"] >= 0) & (held["moves"] <= 1)).all()),
    ):
        if not sound:
            raise ArtifactError(f"the saved policy's {name}.{field} is out of range")
    later = ((0, 0), (0, len(FEATURES) - width))
    wide = {f: np.pad(held[f], later, constant_values=fill) for f, fill in _NEUTRAL.items()}
    rest = {field: wide.get(field, held[field]) for field in _FIELDS if field != "levels"}
    return ModelBelief(levels=tuple(int(level) for level in levels), **rest)


def _bins(name: str, moves: Floats) -> tuple[int, int]:
    """Bins B and equally likely moves S."""
    if moves.ndim != 4 or not moves.size:
        raise ArtifactError(f"the saved policy's {name}.moves must have four dimensions")
    return int(moves.shape[2]), int(moves.shape[3])
