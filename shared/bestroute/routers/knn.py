"""Nearest neighbours: what the arms were worth on the most similar training queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers.base import Floats, Prediction
from bestroute.routers.encoder import Encoder, load_encoder, unit
from bestroute.routers.state import arms_of, check_config, tensor

KIND = "knn"


class KNNRouter:
    """The mean over the k training queries of the largest cosine similarity.

    The mean over all training queries counts as one more neighbour: k queries that all failed
    are no proof that an arm never matches.

    Args:
        arms: The columns of the predictions.
        reference: Name of the reference model.
        encoder: What reads the queries.
        vectors: Unit vectors of the N training queries [N, D].
        match: Their match probabilities [N, arms].
        quality: Their expected qualities [N, arms].
        k: Neighbours, from 1 to N.

    Raises:
        ConfigError: k is out of range, or a shape does not fit.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        reference: str,
        encoder: Encoder,
        *,
        vectors: NDArray[np.float32],
        match: Floats,
        quality: Floats,
        k: int,
    ) -> None:
        self._arms = tuple(arms)
        shape = (len(vectors), len(self._arms))
        if vectors.shape[1:] != (encoder.dimension,) or {match.shape, quality.shape} != {shape}:
            raise ConfigError(
                f"vectors {vectors.shape}, match {match.shape} and quality "
                f"{quality.shape} must be [N, {encoder.dimension}] and [N, arms]"
            )
        if not 1 <= k <= len(vectors):
            raise ConfigError(f"k is {k}; there are {len(vectors)} training queries")
        self.reference = reference
        self.encoder = encoder
        self.vectors, self.match, self.quality = vectors, match, quality
        self.k = k

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms, in the order of the columns."""
        return self._arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        """Match probabilities and expected qualities [B, arms]."""
        similar = unit(self.encoder.encode(queries)) @ self.vectors.T
        nearest = np.argpartition(-similar, self.k - 1, axis=1)[:, : self.k]
        match = smoothed(self.match[nearest].sum(axis=1), self.k, self.match)
        quality = smoothed(self.quality[nearest].sum(axis=1), self.k, self.quality)
        return Prediction(self._arms, np.clip(match, 0, 1), quality=quality)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON-able config, and the training queries' vectors and labels; no text of them."""
        config = {
            "kind": KIND,
            "arms": [str(arm) for arm in self._arms],
            "reference": self.reference,
            "encoder": self.encoder.config(),
            "k": self.k,
        }
        return config, {"vectors": self.vectors, "match": self.match, "quality": self.quality}

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> KNNRouter:
        """Build a router from its state.

        Raises:
            ArtifactError: Names what is missing or damaged.
            MissingExtraError: The encoder's packages are not installed.
        """
        check_config(config, KIND, arms=list, reference=str, encoder=Mapping, k=int)
        encoder = load_encoder(config["encoder"])
        vectors = tensor(tensors, "vectors", None, encoder.dimension).astype(np.float32)
        labels = (len(vectors), len(config["arms"]))
        try:
            return cls(
                arms_of(config),
                config["reference"],
                encoder,
                vectors=vectors,
                match=tensor(tensors, "match", *labels),
                quality=tensor(tensors, "quality", *labels),
                k=config["k"],
            )
        except ConfigError as error:
            raise ArtifactError(f"the saved router does not fit together: {error}") from error


def smoothed(sums: Floats, counts: int | Floats, all_labels: Floats) -> Floats:
    """Means of labels in groups, the mean over all [N, A] counted as one more member.

    Args:
        sums: Sums of a group's labels [G, A].
        counts: Members of a group: one number, or [G, 1].
        all_labels: The labels of all training queries [N, A].
    """
    means: Floats = (sums + all_labels.mean(axis=0)) / (np.asarray(counts) + 1)
    return means
