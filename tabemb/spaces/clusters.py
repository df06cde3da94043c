"""Groups of categories with vectors of similar direction."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import pandas as pd

from tabemb.forks import one_thread_after_fork
from tabemb.spaces.vectors import CategoryVectors, to_unit_length


@one_thread_after_fork()
def k_means(space: CategoryVectors, n_clusters: int, random_state: int | None) -> pd.DataFrame:
    """Group the categories by k-means, as `EmbeddingSpace.clusters` describes."""
    from sklearn.cluster import KMeans  # takes long to import

    vectors = space.directions
    n_directions = len(np.unique(vectors, axis=0))
    if not isinstance(n_clusters, Integral) or not 1 <= n_clusters <= n_directions:
        raise ValueError(
            "n_clusters must be an integer from 1 to the number of different directions, "
            f"{n_directions}; got {n_clusters!r}."
        )
    model = KMeans(n_clusters, random_state=random_state).fit(vectors)
    centers = to_unit_length(model.cluster_centers_)[model.labels_]  # (n_levels, d)
    similarity = np.clip(np.einsum("ij,ij->i", vectors, centers), -1, 1)
    cluster = _largest_first(model.labels_, n_clusters)
    table = pd.DataFrame({"cluster": cluster, "similarity": similarity}, index=space.named_categories)
    if space.reliability is not None:
        table["reliability"] = space.reliability
    return table.iloc[np.lexsort([-similarity, cluster])]


def _largest_first(labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """Renumber clusters so that 0 is the largest."""
    by_size = np.argsort(-np.bincount(labels, minlength=n_clusters), kind="stable")
    renumbered: np.ndarray = np.argsort(by_size)[labels]
    return renumbered
