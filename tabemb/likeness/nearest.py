"""Find the known labels most similar to other labels, by cosine, and compute their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

CELLS = 2**24
"""Number of similarities that are computed at a time."""
N_NEIGHBOURS = 10
"""Number of known labels that another label is compared with."""
MOST_TRIED = 2000
"""Number of random known labels that are predicted from the others, to see how well likeness works."""
LEAST_WEIGHT = 0.02
"""Smaller weights become zero, because each neighbour of a new category costs a prediction."""
TEMPERATURE = 0.1
"""Difference of cosines by which a weight falls by the factor e."""


class Likeness:
    """Known labels as rows of length one, and the conversion of new labels to such rows.

    Attributes
    ----------
    known : ndarray of bool, shape (n_labels,)
        Whether each known label can be compared.
    """

    known: np.ndarray
    _rows: Any

    def has(self, labels: Sequence[Any]) -> np.ndarray:
        """Return whether each label can be compared, (n,)."""
        raise NotImplementedError

    def rows_of(self, labels: Sequence[Any]) -> Any:
        """Return labels as rows, (n, d)."""
        raise NotImplementedError

    def same(self, labels: Sequence[Any]) -> np.ndarray:
        """Return the position of the known label that each label is a variant of, (n,), or -1."""
        return np.full(len(labels), -1)

    def products(self, positions: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return the cosines between known labels and other known labels, (n, n_others)."""
        return _dense(self._rows[positions] @ self._rows[others].T)

    def new_products(self, labels: Sequence[Any], others: np.ndarray) -> np.ndarray:
        """Return the cosines between any labels and known labels, (n, n_others)."""
        return _dense(self.rows_of(labels) @ self._rows[others].T)

    def nearest(self, labels: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of the known labels most similar to each, (n, k), and their weights.

        Weights sum to one, or are zero if no known label is similar.
        """
        near, products = nearest_rows(self.rows_of(labels), self._rows, N_NEIGHBOURS)
        return near, weights_of(products)

    def nearest_others(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Do the same for known labels, each compared with the other known labels."""
        near, products = nearest_rows(self._rows[positions], self._rows, N_NEIGHBOURS, positions)
        return near, weights_of(products)


def nearest_rows(
    vectors: Any, rows: Any, k: int, but: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k rows of largest product with each vector, in descending order, and the products.

    Parameters
    ----------
    vectors : ndarray or sparse matrix of shape (n, d)
    rows : ndarray or sparse matrix of shape (n_rows, d)
    k : int
        Number of rows per vector; all rows if there are fewer.
    but : ndarray of shape (n,), optional
        A row that each vector is not compared with, such as itself.

    Returns
    -------
    positions : ndarray of shape (n, k)
    products : ndarray of shape (n, k)
        Negative products are replaced by zero.
    """
    n_rows = rows.shape[0]
    k, size = min(k, n_rows), max(1, CELLS // n_rows)
    parts = [(np.zeros((0, k), np.int64), np.zeros((0, k)))]
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
    """Return weights of neighbours (n, k) that sum to one, or zeros if none is similar."""
    with np.errstate(under="ignore"):
        weights = np.exp((products - products[:, :1]) / TEMPERATURE) * (products > 0)
    weights[weights < LEAST_WEIGHT * weights.sum(axis=1, keepdims=True)] = 0
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12))


def _dense(matrix: Any) -> np.ndarray:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)


def _at(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, positions, axis=1)
