"""Linear heads on an embedding and the surface features: numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
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
        return np.clip((inputs - self.centre) / self.scale, -FARTHEST, FARTHEST)

    def match(self, inputs: Floats) -> Floats:
        """Match probabilities [B, H] of raw inputs [B, D]."""
        return sigmoid(self.standardise(inputs) @ self.weight + self.bias)

    def output_tokens(self, inputs: Floats) -> Floats | None:
        """Expected completion tokens [B, M] of raw inputs [B, D], if there are such heads."""
        logs = self._bounded(inputs, self.length_weight, self.length_bias, self.length_range)
        return None if logs is None else np.exp(logs)

    def quality(self, inputs: Floats) -> Floats | None:
        """Expected quality [B, A] of raw inputs [B, D], if there are such heads."""
        return self._bounded(inputs, self.quality_weight, self.quality_bias, self.quality_range)

    def _bounded(
        self, inputs: Floats, weight: Floats | None, bias: Floats | None, limits: Floats | None
    ) -> Floats | None:
        if weight is None or bias is None or limits is None:
            return None
        return np.clip(self.standardise(inputs) @ weight + bias, limits[0], limits[1])

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


def sigmoid(logits: Floats) -> Floats:
    """The logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def raw_inputs(queries: Sequence[str], encoder: Encoder) -> Floats:
    """What the heads read, before standardisation: [embedding ; surface features] [B, D]."""
    embedded = encoder.encode(queries).astype(np.float64)
    return np.concatenate([embedded, surface_features(queries)], axis=1)
