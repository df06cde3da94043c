"""Groups of categories with similar vectors."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.cluster import KMeans

from tabemb.spaces.search import unit


def k_means(
    vectors: np.ndarray, n_clusters: int, random_state: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Divide unit vectors, (n, d), into groups; 0 is the largest.

    Returns
    -------
    cluster, similarity : ndarray of shape (n,)
        The group of each vector, and its cosine with the middle of the group.
    """
    n_directions = len(np.unique(vectors, axis=0))
    if not isinstance(n_clusters, Integral) or not 1 <= n_clusters <= n_directions:
        rule = f"an integer from 1 to the number of different directions, {n_directions}"
        raise ValueError(f"n_clusters must be {rule}; got {n_clusters!r}")
    model = KMeans(n_clusters, random_state=random_state).fit(vectors)
    by_size = np.argsort(-np.bincount(model.labels_, minlength=n_clusters), kind="stable")
    centres = unit(model.cluster_centers_)[model.labels_]
    similarity = np.clip(np.einsum("ij,ij->i", vectors, centres), -1, 1)
    return np.argsort(by_size)[model.labels_], similarity
