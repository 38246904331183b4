"""The paper's router: one encoder, one head per arm (inference only)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers.base import Floats, Prediction
from bestroute.routers.encoder import Encoder, load_encoder
from bestroute.routers.features import FEATURE_NAMES, FEATURES_VERSION, surface_features

KIND = "multi_head"
_FARTHEST = 4.0


@dataclass(frozen=True)
class Heads:
    """Linear heads over D inputs: an embedding followed by the F surface features.

    Inputs are standardised, then clipped at 4 standard deviations: a query unlike all training
    queries moves a head no further than the farthest of them could.

    Attributes:
        centre, scale: What is subtracted from the inputs, and divides them [D].
        weight, bias: The match heads [D, H] and [H]: one for every arm but the reference's.
        length_weight, length_bias: The output-length heads, one a model [D, M] and [M]; they
            predict the natural logarithm of the completion tokens.
        length_range: Smallest and largest log tokens seen in training [2, M]; no prediction
            leaves it.
    """

    centre: Floats
    scale: Floats
    weight: Floats
    bias: Floats
    length_weight: Floats | None = None
    length_bias: Floats | None = None
    length_range: Floats | None = None

    def standardise(self, inputs: Floats) -> Floats:
        """Inputs [B, D] as the heads take them."""
        return np.clip((inputs - self.centre) / self.scale, -_FARTHEST, _FARTHEST)

    def match(self, inputs: Floats) -> Floats:
        """Match probabilities [B, H] of raw inputs [B, D]."""
        return sigmoid(self.standardise(inputs) @ self.weight + self.bias)

    def output_tokens(self, inputs: Floats) -> Floats | None:
        """Expected completion tokens [B, M] of raw inputs [B, D]."""
        if self.length_weight is None or self.length_bias is None or self.length_range is None:
            return None
        logs = self.standardise(inputs) @ self.length_weight + self.length_bias
        return np.exp(np.clip(logs, self.length_range[0], self.length_range[1]))


def sigmoid(logits: Floats) -> Floats:
    """The logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def raw_inputs(queries: Sequence[str], encoder: Encoder) -> Floats:
    """What the heads read, before standardisation: [embedding ; surface features] [B, D]."""
    embedded = encoder.encode(queries).astype(np.float64)
    return np.concatenate([embedded, surface_features(queries)], axis=1)


class MultiHeadRouter:
    """One frozen encoder, one linear head per arm (paper, section 3.2).

    Head (k, n) predicts the match probability Pr[quality(best-of-n of model k) >=
    quality(reference)]; the reference with n = 1 is 1 by definition and has no head.

    Args:
        arms: The columns of the predictions, the reference with n = 1 among them.
        reference: Name of the reference model.
        encoder: The encoder that the heads were trained on.
        heads: The trained heads, in the order of `arms`.
        training: What is worth knowing of the training (l2, rows ...); JSON-able.

    Raises:
        ConfigError: The heads do not fit the arms or the encoder, or hold NaN.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        reference: str,
        encoder: Encoder,
        heads: Heads,
        *,
        training: Mapping[str, Any] | None = None,
    ) -> None:
        self._arms = tuple(arms)
        self.reference = reference
        self.encoder = encoder
        self.heads = heads
        self.training = dict(training or {})
        self._headed, self._model_column = columns(self._arms, reference)
        self._check()

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms it has a word on, in the order of the columns."""
        return self._arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        """Match probabilities [B, arms], and output lengths if they were trained."""
        inputs = raw_inputs(queries, self.encoder)
        match = np.ones((len(queries), len(self._arms)))
        match[:, self._headed] = self.heads.match(inputs)
        tokens = self.heads.output_tokens(inputs)
        if tokens is not None:
            tokens = tokens[:, self._model_column]
        return Prediction(self._arms, match, tokens)

    def state(self) -> tuple[dict[str, Any], dict[str, Floats]]:
        """A JSON-able config, and the tensors: what `from_state` reads."""
        config = {
            "kind": KIND,
            "arms": [str(arm) for arm in self._arms],
            "reference": self.reference,
            "encoder": self.encoder.config(),
            "features_version": FEATURES_VERSION,
            "training": self.training,
        }
        values = {field.name: getattr(self.heads, field.name) for field in fields(Heads)}
        return config, {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_state(
        cls,
        config: Mapping[str, Any],
        tensors: Mapping[str, NDArray[Any]],
        encoder: Encoder | None = None,
    ) -> MultiHeadRouter:
        """Build a router from its state.

        Args:
            config: The config.
            tensors: The tensors.
            encoder: The encoder, where it is at hand or not of a kind that `load_encoder`
                knows; it must have the digest of the one trained with.

        Raises:
            ArtifactError: Names what is missing, of another version, or damaged.
        """
        try:
            _check_config(config)
            encoder = (
                _same(encoder, config["encoder"]) if encoder else load_encoder(config["encoder"])
            )
            arms = [Arm.parse(text) for text in config["arms"]]
            heads = Heads(**_tensors(tensors))
            training = config.get("training")
            return cls(arms, config["reference"], encoder, heads, training=training)
        except ConfigError as error:
            raise ArtifactError(f"the saved router does not fit together: {error}") from error

    def _check(self) -> None:
        inputs = self.encoder.dimension + len(FEATURE_NAMES)
        heads, models = len(self._headed), int(self._model_column.max()) + 1
        shapes = {
            "centre": (inputs,),
            "scale": (inputs,),
            "weight": (inputs, heads),
            "bias": (heads,),
            "length_weight": (inputs, models),
            "length_bias": (models,),
            "length_range": (2, models),
        }
        values = {name: getattr(self.heads, name) for name in shapes}
        lengths = [value is None for name, value in values.items() if name.startswith("length")]
        if any(lengths) and not all(lengths):
            raise ConfigError("the output-length heads are incomplete")
        for name, value in values.items():
            if value is not None:
                _check_tensor(name, value, shapes[name])
        if (self.heads.scale <= 0).any():
            raise ConfigError("scale must be positive")


def columns(arms: Sequence[Arm], reference: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The columns that have a head [H], and which model [arms] each arm is of.

    Raises:
        ConfigError: An arm is there twice, or the reference with n = 1 is not.
    """
    if len(set(arms)) != len(arms):
        raise ConfigError("an arm is there twice")
    if (anchor := Arm(reference, 1)) not in arms:
        raise ConfigError(f"the arms lack the reference {anchor}")
    models = list(dict.fromkeys(arm.model for arm in arms))
    headed = [i for i, arm in enumerate(arms) if arm != anchor]
    return np.array(headed, dtype=np.intp), np.array([models.index(arm.model) for arm in arms])


def _check_tensor(name: str, value: NDArray[Any], shape: tuple[int, ...]) -> None:
    if value.dtype != np.float64:
        raise ConfigError(f"{name} is {value.dtype}, not float64")
    if value.shape != shape:
        raise ConfigError(f"{name} has the shape {value.shape}, not {shape}")
    if not np.isfinite(value).all():
        raise ConfigError(f"{name} holds NaN or infinity")


def _check_config(config: Mapping[str, Any]) -> None:
    for name, kind in (("arms", list), ("reference", str), ("encoder", dict)):
        if not isinstance(config.get(name), kind):
            raise ArtifactError(f"the saved router's config lacks {name!r}, or it is no {kind}")
    if config.get("kind") != KIND:
        raise ArtifactError(f"a router of kind {config.get('kind')!r}, not {KIND!r}")
    if config.get("features_version") != FEATURES_VERSION:
        raise ArtifactError(
            f"the saved router reads surface features of version "
            f"{config.get('features_version')!r}, this bestroute makes version "
            f"{FEATURES_VERSION}: train it again, or install the bestroute it was trained with"
        )


def _tensors(tensors: Mapping[str, NDArray[Any]]) -> dict[str, Floats]:
    known = {field.name for field in fields(Heads)}
    required = {"centre", "scale", "weight", "bias"}
    if missing := sorted(required - set(tensors)):
        raise ArtifactError(f"the saved router lacks the tensors {missing}")
    if unknown := sorted(set(tensors) - known):
        raise ArtifactError(f"the saved router has unknown tensors {unknown}")
    return {name: np.asarray(value) for name, value in tensors.items()}


def _same(encoder: Encoder, saved: Mapping[str, Any]) -> Encoder:
    """The encoder, if its digest is the saved one's."""
    given = encoder.config().get("digest")
    if given != saved.get("digest"):
        raise ArtifactError(
            f"the encoder given (digest {given!r}) is not the one that the router was trained "
            f"with ({saved.get('digest')!r})"
        )
    return encoder
