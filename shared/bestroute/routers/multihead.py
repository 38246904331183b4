"""The paper's router: one encoder, one head per arm (inference only)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers.base import Floats, Prediction
from bestroute.routers.encoder import Encoder, load_encoder
from bestroute.routers.features import FEATURE_NAMES, FEATURES_VERSION
from bestroute.routers.heads import Heads, raw_inputs
from bestroute.routers.order import rising_in_n

KIND = "multi_head"

_REQUIRED = {"centre", "scale", "weight", "bias"}
_OPTIONAL = {
    f"{kind}_{part}" for kind in ("length", "quality") for part in ("weight", "bias", "range")
}


class MultiHeadRouter:
    """One frozen encoder, one linear head per arm (the paper fine-tunes the encoder too).

    Head (k, n) predicts the match probability Pr[quality(best-of-n of model k) >=
    quality(reference)]; the reference with n = 1 is 1 by definition and has no head.
    Trained by `bestroute.learning.training.train.train_router`.

    Args:
        arms: The columns of the predictions, the reference with n = 1 among them.
        reference: Name of the reference model.
        encoder: The encoder that the heads were trained on.
        heads: The trained heads, in the order of `arms`.
        monotone: Whether predictions are made not to fall in n (`order.rising_in_n`).
        training: What is worth knowing of the training (l2, queries, seed); JSON-able.

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
        monotone: bool = False,
        training: Mapping[str, Any] | None = None,
    ) -> None:
        self._arms = tuple(arms)
        self.reference = reference
        self.encoder = encoder
        self.heads = heads
        self.monotone = monotone
        self.training = dict(training or {})
        self._headed, self._models = columns(self._arms, reference)
        inputs = encoder.dimension + len(FEATURE_NAMES)
        heads.check(inputs, len(self._headed), int(self._models.max()) + 1, len(self._arms))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms it has a word on, in the order of the columns."""
        return self._arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        """Match probabilities [B, arms]; output lengths and quality if they were trained."""
        headed, tokens, quality = self.heads.predict(raw_inputs(queries, self.encoder))
        match = np.ones((len(queries), len(self._arms)))
        if self.monotone:
            headed = rising_in_n(headed, [self._arms[column] for column in self._headed])
        match[:, self._headed] = headed
        if tokens is not None:
            tokens = tokens[:, self._models]
        return Prediction(self._arms, match, tokens, quality)

    def state(self) -> tuple[dict[str, Any], dict[str, Floats]]:
        """A JSON-able config, and the tensors: what `from_state` reads."""
        config = {
            "kind": KIND,
            "arms": [str(arm) for arm in self._arms],
            "reference": self.reference,
            "encoder": self.encoder.config(),
            "features_version": FEATURES_VERSION,
            "monotone": self.monotone,
            "training": self.training,
        }
        return config, self.heads.tensors()

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
            MissingExtraError: The encoder's packages are not installed.
        """
        _check_config(config)
        _check_names(set(tensors))
        if encoder is None:
            encoder = load_encoder(config["encoder"])
        else:
            _check_digest(encoder, config["encoder"])
        try:
            arms = [Arm.parse(text) for text in config["arms"]]
            heads = Heads(**{name: np.asarray(value) for name, value in tensors.items()})
            training = config.get("training")
            return cls(
                arms,
                config["reference"],
                encoder,
                heads,
                monotone=config.get("monotone") is True,
                training=training,
            )
        except ConfigError as error:
            raise ArtifactError(f"the saved router does not fit together: {error}") from error


def columns(arms: Sequence[Arm], reference: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The columns that have a head [H], and which model [arms] each arm is of.

    Raises:
        ConfigError: An arm is there twice, or the reference with n = 1 is not.
    """
    if len(set(arms)) != len(arms):
        raise ConfigError("an arm is there twice")
    anchor = Arm(reference, 1)
    if anchor not in arms:
        raise ConfigError(f"the arms lack the reference, {anchor}")
    models = list(dict.fromkeys(arm.model for arm in arms))
    headed = [i for i, arm in enumerate(arms) if arm != anchor]
    return np.array(headed, dtype=np.intp), np.array([models.index(arm.model) for arm in arms])


def _check_config(config: Mapping[str, Any]) -> None:
    if config.get("kind") != KIND:
        raise ArtifactError(f"a saved router of kind {config.get('kind')!r}, not {KIND!r}")
    for name, kind in (("arms", list), ("reference", str), ("encoder", Mapping)):
        if not isinstance(config.get(name), kind):
            raise ArtifactError(f"the saved router's config has no {name!r}, or a damaged one")
    if config.get("features_version") != FEATURES_VERSION:
        raise ArtifactError(
            "the saved router reads surface features of version "
            f"{config.get('features_version')!r}, this bestroute makes version "
            f"{FEATURES_VERSION}: train it again, or install the bestroute it was trained with"
        )


def _check_names(names: set[str]) -> None:
    if missing := sorted(_REQUIRED - names):
        raise ArtifactError(f"the saved router lacks the tensors {', '.join(missing)}")
    if unknown := sorted(names - _REQUIRED - _OPTIONAL):
        raise ArtifactError(f"the saved router has unknown tensors: {', '.join(unknown)}")


def _check_digest(encoder: Encoder, saved: Mapping[str, Any]) -> None:
    given = encoder.config().get("digest")
    if given != saved.get("digest"):
        raise ArtifactError(
            f"the encoder given (digest {given!r}) is not the one that the router was trained "
            f"with ({saved.get('digest')!r})"
        )
