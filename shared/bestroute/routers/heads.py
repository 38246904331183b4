"""Linear heads on an embedding and the surface features: numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ConfigError
from bestroute.routers.base import Floats
from bestroute.routers.encoder import Encoder
from bestroute.routers.features import surface_features

FARTHEST = 4.0
"""Standard deviations at which an input is clipped."""


@dataclass(frozen=True)
class Heads:
    """Linear heads over D inputs: an embedding followed by the surface features.

    Inputs are standardised, then clipped at 4 standard deviations: a query unlike all training
    queries moves a head no further than the farthest of them could.

    Attributes:
        centre, scale: What is subtracted from the inputs, and divides them [D].
        weight, bias: The match heads [D, H] and [H]: one for every arm but the reference's.
        length_weight, length_bias: The output-length heads, one a model [D, M] and [M]; they
            predict the natural logarithm of the completion tokens.
        length_range: Smallest and largest log tokens seen in training [2, M]; no prediction
            leaves it.
        quality_weight, quality_bias: The quality heads, one an arm [D, A] and [A].
        quality_range: Smallest and largest quality seen in training [2, A].
    """

    centre: Floats
    scale: Floats
    weight: Floats
    bias: Floats
    length_weight: Floats | None = None
    length_bias: Floats | None = None
    length_range: Floats | None = None
    quality_weight: Floats | None = None
    quality_bias: Floats | None = None
    quality_range: Floats | None = None

    def standardise(self, inputs: Floats) -> Floats:
        """Raw inputs [B, D] as the heads take them."""
        scaled = (inputs - self.centre) / self.scale
        return np.maximum(np.minimum(scaled, FARTHEST), -FARTHEST)  # faster than clip for few

    def predict(self, inputs: Floats) -> tuple[Floats, Floats | None, Floats | None]:
        """What all heads say of raw inputs [B, D].

        Returns:
            Match probabilities [B, H]; expected completion tokens [B, M] and expected quality
            [B, A], each `None` without such heads.
        """
        weight, bias, low, high = self._all
        said = np.maximum(np.minimum(self.standardise(inputs) @ weight + bias, high), low)
        first = len(self.bias)
        last = first + len(_given(self.length_bias))
        tokens = None if self.length_bias is None else np.exp(said[:, first:last])
        quality = None if self.quality_bias is None else said[:, last:]
        return sigmoid(said[:, :first]), tokens, quality

    @cached_property
    def _all(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Weight [D, H + M + A], bias, smallest and largest output of all heads side by side."""
        unbounded = np.outer((-np.inf, np.inf), np.ones(len(self.bias)))
        limits = (unbounded, self.length_range, self.quality_range)
        weights = (self.weight, self.length_weight, self.quality_weight)
        low, high = np.concatenate([each for each in limits if each is not None], axis=1)
        weight = np.concatenate([each for each in weights if each is not None], axis=1)
        bias = [self.bias, _given(self.length_bias), _given(self.quality_bias)]
        return np.ascontiguousarray(weight), np.concatenate(bias), low, high

    def tensors(self) -> dict[str, Floats]:
        """The arrays that are there, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def check(self, inputs: int, heads: int, models: int, arms: int) -> None:
        """Make sure that they fit D inputs, H match heads, M models and A arms.

        Raises:
            ConfigError: Names the array that is of the wrong type or shape, or not finite.
        """
        shapes = {
            "centre": (inputs,),
            "scale": (inputs,),
            "weight": (inputs, heads),
            "bias": (heads,),
            "length_weight": (inputs, models),
            "length_bias": (models,),
            "length_range": (2, models),
            "quality_weight": (inputs, arms),
            "quality_bias": (arms,),
            "quality_range": (2, arms),
        }
        tensors = self.tensors()
        for name, value in tensors.items():
            _check(name, value, shapes[name])
        if (self.scale <= 0).any():
            raise ConfigError("scale must be positive")
        for kind in ("length", "quality"):
            if 0 < len([name for name in tensors if name.startswith(kind)]) < 3:
                raise ConfigError(f"the {kind} heads are incomplete")


def _check(name: str, value: NDArray[Any], shape: tuple[int, ...]) -> None:
    if value.dtype != np.float64:
        raise ConfigError(f"{name} is {value.dtype}, not float64")
    if value.shape != shape:
        raise ConfigError(f"{name} has the shape {value.shape}, not {shape}")
    if not np.isfinite(value).all():
        raise ConfigError(f"{name} holds NaN or infinity")


def _given(bias: Floats | None) -> Floats:
    return np.zeros(0) if bias is None else bias


def sigmoid(logits: Floats) -> Floats:
    """The logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def raw_inputs(queries: Sequence[str], encoder: Encoder) -> Floats:
    """What the heads read, before standardisation: [embedding ; surface features] [B, D]."""
    return np.concatenate([encoder.encode(queries), surface_features(queries)], axis=1)
