"""A light reward model: linear on static embeddings and surface features, numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from bestroute.errors import ArtifactError, ConfigError
from bestroute.rewards.base import Scores, checked
from bestroute.rewards.features import PAIR_FEATURES_VERSION, RESPONSE_FEATURES, pair_features
from bestroute.rewards.folder import CONFIG_FILE, read_description, write_description
from bestroute.rewards.pairs import PairReward
from bestroute.routers.base import Floats
from bestroute.routers.encoder import Encoder, load_encoder

KIND = "static"

_WEIGHTS = "reward.safetensors"
_FARTHEST = 4.0
_TENSORS = ("centre", "scale", "weight")


class StaticReward(PairReward):
    """Scores a response by a weighted sum of `features.pair_features`; no torch.

    Features are standardised, then clipped at 4 standard deviations, so that an odd response
    scores no further off than the oddest of the training. Trained by
    `bestroute.learning.reward_training.train_reward.train_static_reward`.

    Args:
        encoder: What it was trained with.
        centre: Subtracted from the features [D].
        scale: Divides them [D], positive.
        weight: Their weights [D].
        folder: Where it is saved; without one an artifact cannot hold it.

    Raises:
        ConfigError: The arrays do not fit the encoder, or are not finite.
    """

    def __init__(
        self,
        encoder: Encoder,
        centre: Floats,
        scale: Floats,
        weight: Floats,
        *,
        folder: str | Path | None = None,
    ) -> None:
        width = 2 * encoder.dimension + len(RESPONSE_FEATURES)
        for name, value in zip(_TENSORS, (centre, scale, weight), strict=True):
            if value.shape != (width,) or not np.isfinite(value).all():
                raise ConfigError(f"{name} must be {width} finite numbers, not {value.shape}")
        if (scale <= 0).any():
            raise ConfigError("scale must be positive")
        self._encoder = encoder
        self._centre, self._scale, self._weight = centre, scale, weight
        self._folder = None if folder is None else Path(folder)

    def score_many(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        """One score a (query, response) pair [n].

        Raises:
            ScoreError: The encoder gave NaN.
        """
        inputs = standardise(pair_features(pairs, self._encoder), self._centre, self._scale)
        return checked(inputs @ self._weight, len(pairs), type(self).__name__)

    def config(self) -> dict[str, Any] | None:
        """Kind and folder; `None` before it is saved."""
        if self._folder is None:
            return None
        return {"kind": KIND, "name_or_path": str(self._folder)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> StaticReward:
        """Build what `config` described.

        Raises:
            ArtifactError: The description, or what lies in the folder, is damaged.
        """
        folder = config.get("name_or_path")
        if not isinstance(folder, str):
            raise ArtifactError("the static reward model's folder is not named")
        return cls.from_pretrained(folder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write safetensors and JSON; from now on an artifact can hold it."""
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        tensors = {"centre": self._centre, "scale": self._scale, "weight": self._weight}
        save_file(tensors, self._folder / _WEIGHTS)
        description = {
            "kind": KIND,
            "features_version": PAIR_FEATURES_VERSION,
            "encoder": self._encoder.config(),
        }
        write_description(self._folder, description)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> StaticReward:
        """Read what `save_pretrained` wrote.

        Raises:
            ArtifactError: Something is absent, damaged, or of another version or encoder.
            MissingExtraError: The encoder's packages are not installed.
        """
        folder = Path(folder)
        description = _description(folder)
        encoder = load_encoder(description["encoder"])
        try:
            tensors = load_file(folder / _WEIGHTS)
            return cls(encoder, *(tensors[name] for name in _TENSORS), folder=folder)
        except (OSError, KeyError, SafetensorError, ConfigError) as error:
            raise ArtifactError(f"{folder / _WEIGHTS} is absent or damaged: {error}") from error


def standardise(features: Floats, centre: Floats, scale: Floats) -> Floats:
    """Features [n, D] as the weights take them."""
    return np.clip((features - centre) / scale, -_FARTHEST, _FARTHEST)


def _description(folder: Path) -> dict[str, Any]:
    data, path = read_description(folder), folder / CONFIG_FILE
    if not isinstance(data.get("encoder"), dict):
        raise ArtifactError(f"{path} is damaged: it names no encoder")
    if data.get("features_version") != PAIR_FEATURES_VERSION:
        raise ArtifactError(
            f"{path} reads features of version {data.get('features_version')!r}, this bestroute "
            f"makes version {PAIR_FEATURES_VERSION}: train the reward model again"
        )
    return data
