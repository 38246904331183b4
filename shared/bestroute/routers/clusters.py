"""The paper's clustering baseline: k-means on TF-IDF, one mean an arm and cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute._extras import require
from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers.base import Floats, Prediction
from bestroute.routers.state import arms_of, check_config, tensor

KIND = "clusters"
FEATURE, EXTRA = "The clustering router", "train"


class ClusterRouter:
    """What the arms were worth on the training queries of the nearest cluster.

    Args:
        arms: The columns of the predictions.
        reference: Name of the reference model.
        vocabulary: The V words, in the order of the columns of `idf`.
        idf: Inverse document frequencies [V].
        centroids: Centres of the K clusters [K, V], in TF-IDF space.
        match: Mean match probabilities of the clusters [K, arms].
        quality: Mean expected qualities of the clusters [K, arms].

    Raises:
        ConfigError: A shape does not fit.
        MissingExtraError: scikit-learn is not installed.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        reference: str,
        *,
        vocabulary: Sequence[str],
        idf: Floats,
        centroids: Floats,
        match: Floats,
        quality: Floats,
    ) -> None:
        self._arms = tuple(arms)
        self.reference = reference
        self.vocabulary = list(vocabulary)
        self.idf, self.centroids, self.match, self.quality = idf, centroids, match, quality
        labels = (len(centroids), len(self._arms))
        words = len(self.vocabulary)
        if (idf.shape, centroids.shape[1:]) != ((words,), (words,)) or {
            match.shape,
            quality.shape,
        } != {labels}:
            raise ConfigError("idf, centroids, match and quality must be [V], [K, V], [K, arms]")
        text = require("sklearn.feature_extraction.text", feature=FEATURE, extra=EXTRA)
        self._vectorizer = text.TfidfVectorizer(vocabulary=self.vocabulary)
        self._vectorizer.idf_ = idf

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms, in the order of the columns."""
        return self._arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        """Match probabilities and expected qualities [B, arms]."""
        nearest = self.cluster(queries)
        return Prediction(self._arms, self.match[nearest], quality=self.quality[nearest])

    def cluster(self, queries: Sequence[str]) -> NDArray[np.intp]:
        """The nearest cluster of each query [B], by Euclidean distance as k-means has it."""
        if not queries:
            return np.zeros(0, dtype=np.intp)
        inner = self._vectorizer.transform(queries) @ self.centroids.T
        nearest: NDArray[np.intp] = (inner - (self.centroids**2).sum(axis=1) / 2).argmax(axis=1)
        return nearest

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON-able config with the vocabulary, and the tensors."""
        config = {
            "kind": KIND,
            "arms": [str(arm) for arm in self._arms],
            "reference": self.reference,
            "vocabulary": self.vocabulary,
        }
        names = ("idf", "centroids", "match", "quality")
        return config, {name: getattr(self, name) for name in names}

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> ClusterRouter:
        """Build a router from its state.

        Raises:
            ArtifactError: Names what is missing or damaged.
            MissingExtraError: scikit-learn is not installed.
        """
        check_config(config, KIND, arms=list, reference=str, vocabulary=list)
        words, arms = len(config["vocabulary"]), len(config["arms"])
        centroids = tensor(tensors, "centroids", None, words)
        try:
            return cls(
                arms_of(config),
                config["reference"],
                vocabulary=config["vocabulary"],
                idf=tensor(tensors, "idf", words),
                centroids=centroids,
                match=tensor(tensors, "match", len(centroids), arms),
                quality=tensor(tensors, "quality", len(centroids), arms),
            )
        except ConfigError as error:
            raise ArtifactError(f"the saved router does not fit together: {error}") from error
