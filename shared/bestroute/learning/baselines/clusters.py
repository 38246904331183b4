"""Training of the paper's clustering baseline: k-means, TF-IDF, K = 50."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bestroute._extras import require
from bestroute.errors import DataError
from bestroute.learning.outcomes import Outcomes
from bestroute.routers.base import Floats
from bestroute.routers.clusters import EXTRA, FEATURE, ClusterRouter
from bestroute.routers.encoder import Encoder
from bestroute.routers.knn import smoothed

if TYPE_CHECKING:
    import pyarrow as pa

CLUSTERS = 50
"""K, as in arXiv 2506.22716; fewer where there are fewer distinct queries."""

_STARTS = 4


def train_clusters(
    outcomes: Outcomes, *, encoder: Encoder, samples: pa.Table | None = None, seed: int = 0
) -> ClusterRouter:
    """Cluster the training queries; remember each arm's mean label in each cluster.

    The source names k-means, TF-IDF and K = 50. Chosen here: words of a single query are left
    out, for they bring no two queries together and a saved router should not hold them; the
    mean over all queries counts as one more member of every cluster. The encoder is not used.
    Arguments and errors are those of `Trainer`.
    """
    text = require("sklearn.feature_extraction.text", feature=FEATURE, extra=EXTRA)
    cluster = require("sklearn.cluster", feature=FEATURE, extra=EXTRA)
    vectorizer = text.TfidfVectorizer(min_df=2)
    try:
        documents = vectorizer.fit_transform(outcomes.queries)
    except ValueError as error:
        raise DataError("clustering by words: no word is in two training queries") from error
    distinct = {(row.indices.tobytes(), row.data.tobytes()) for row in documents}
    count = min(CLUSTERS, len(distinct))
    found = cluster.KMeans(count, n_init=_STARTS, random_state=seed).fit(documents)
    member = np.eye(count)[found.labels_]

    def means(values: Floats) -> Floats:
        return smoothed(member.T @ values, member.sum(axis=0)[:, None], values)

    return ClusterRouter(
        outcomes.arms,
        outcomes.reference.model,
        vocabulary=vectorizer.get_feature_names_out().tolist(),
        idf=vectorizer.idf_,
        centroids=found.cluster_centers_,
        match=np.clip(means(outcomes.match), 0, 1),
        quality=means(outcomes.quality),
    )
