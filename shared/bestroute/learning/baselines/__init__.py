"""The baselines that are learnt, one trainer a name; the others are policies."""

from collections.abc import Mapping

from bestroute.learning.baselines.base import Trainer
from bestroute.learning.baselines.classes import train_n_class, train_n_label
from bestroute.learning.baselines.clusters import train_clusters
from bestroute.learning.baselines.factors import train_factors
from bestroute.learning.baselines.hybrid import (
    train_deterministic,
    train_probabilistic,
    train_transformed,
)
from bestroute.learning.baselines.knn import train_knn
from bestroute.learning.baselines.single_sample import train_single_sample

TRAINERS: Mapping[str, Trainer] = {
    "knn": train_knn,
    "clusters": train_clusters,
    "n-class": train_n_class,
    "n-label": train_n_label,
    "matrix-factorization": train_factors,
    "hybrid-deterministic": train_deterministic,
    "hybrid-probabilistic": train_probabilistic,
    "hybrid-transformed": train_transformed,
    "single-sample": train_single_sample,
}
"""Name -> trainer."""

__all__ = ["TRAINERS", "Trainer"]
