"""Which known labels a new one resembles: by its spelling, or by vectors that describe both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

N_GRAMS = (2, 4)
"""Lengths of the parts of words that are compared, in characters."""
CELLS = 2**24
"""Similarities that are computed at a time."""
N_NEIGHBOURS = 10
"""Known labels that a new one is compared with."""
MOST_TRIED = 2000
"""Known labels, at random, that are predicted from the others, to see what likeness says."""
TEMPERATURE = 0.1
"""Difference of cosines by which a weight falls by the factor e."""


class Spellings:
    """Labels by the parts of their words: TF-IDF of character n-grams, compared by cosine.

    Parameters
    ----------
    labels : sequence of str

    Examples
    --------
    >>> spellings = Spellings(["Senior Engineer", "Junior Engineer", "Nurse"])
    >>> spellings.nearest(["Sr. Engineer", "nurses"], k=1)[0].tolist()
    [[0], [2]]
    """

    def __init__(self, labels: Sequence[str]) -> None:
        # slow to import, and spaces need it for new categories alone
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(
            analyzer="char_wb", ngram_range=N_GRAMS, sublinear_tf=True, dtype=np.float32
        )
        self._rows = self._vectorizer.fit_transform(labels)

    def has(self, labels: Sequence[Any]) -> np.ndarray:
        """Return whether each label can be compared with the known ones: texts always can."""
        return np.array([isinstance(label, str) for label in labels], dtype=bool)

    def nearest(
        self, labels: Sequence[Any], k: int, but: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the known labels most like each label, as `nearest_rows` does."""
        return nearest_rows(self._vectorizer.transform(labels), self._rows, k, but)


class Descriptions:
    """Labels by vectors that describe them, compared by cosine.

    Parameters
    ----------
    labels : sequence of hashable
        The known ones; those without a vector are like no other.
    given : DataFrame of numbers, indexed by label
        Each column is scaled to a deviation of one.
    """

    def __init__(self, labels: Sequence[Any], given: pd.DataFrame) -> None:
        values = given.to_numpy(np.float64)
        deviation = values.std(axis=0)
        scaled = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        self._vectors = (scaled / np.where(length > 0, length, 1)).astype(np.float32)
        self._index = given.index
        self._rows = self._rows_of(labels)

    def _rows_of(self, labels: Sequence[Any]) -> np.ndarray:
        places = self._index.get_indexer(pd.Index(labels, dtype=object))
        return np.asarray(self._vectors[places] * (places >= 0)[:, None])

    def has(self, labels: Sequence[Any]) -> np.ndarray:
        """Return whether each label has a vector."""
        return np.asarray(self._index.get_indexer(pd.Index(labels, dtype=object)) >= 0)

    def nearest(
        self, labels: Sequence[Any], k: int, but: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the known labels most like each label, as `nearest_rows` does."""
        return nearest_rows(self._rows_of(labels), self._rows, k, but)


def nearest_rows(
    vectors: Any, rows: Any, k: int, but: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k rows of largest product with each vector, the largest first, with their products.

    Parameters
    ----------
    vectors : ndarray or sparse matrix of shape (n, d)
    rows : ndarray or sparse matrix of shape (n_rows, d)
    k : int
        All rows where there are fewer.
    but : ndarray of shape (n,), optional
        A row that each vector is not compared with, such as itself.

    Returns
    -------
    positions : ndarray of shape (n, k)
    products : ndarray of shape (n, k)
        Zero instead of negative ones.
    """
    n_rows = rows.shape[0]
    k, size = min(k, n_rows), max(1, CELLS // n_rows)
    parts = []
    for start in range(0, vectors.shape[0], size):
        products = _dense(vectors[start : start + size] @ rows.T)
        if but is not None:
            left_out = but[start : start + size]
            products[np.arange(len(left_out)), left_out] = -np.inf
        largest = np.argpartition(-products, k - 1, axis=1)[:, :k]
        order = np.argsort(-_at(products, largest), axis=1, kind="stable")
        largest = _at(largest, order)
        parts.append((largest, np.maximum(_at(products, largest), 0)))
    positions, products = (np.concatenate(part) for part in zip(*parts))
    return positions, products


def weights_of(products: np.ndarray) -> np.ndarray:
    """Return the weights of neighbours (n, k), of sum one; zeros where nothing is alike."""
    with np.errstate(under="ignore"):
        weights = np.exp((products - products[:, :1]) / TEMPERATURE) * (products > 0)
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12))


def _dense(matrix: Any) -> np.ndarray:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)


def _at(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, positions, axis=1)
