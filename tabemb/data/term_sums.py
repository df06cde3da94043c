"""Sum responses by level over rows that come in parts; the sums do not depend on the order of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tabemb.data.shrinkage import LevelSums

MANTISSA = 53
"""Bits of the mantissa of a float64: whole numbers of up to this many bits are exact."""
HEADROOM = 6
"""Bits by which a response may exceed the largest response of a sample."""
MOST_DENSE = 2**26
"""Number of levels up to which sums are in arrays by level; with more, they are sorted by key."""


@dataclass(frozen=True)
class Grid:
    """A step that responses are rounded to, coarse enough to make all their sums exact.

    Sums of floats usually depend on the order of the summands. These do not, so rows may come in any
    order and in any parts.

    Parameters
    ----------
    step, square_step : float
        The steps of responses and of the sum of their squares, which are powers of two.
    """

    step: float
    square_step: float

    @classmethod
    def of(cls, centered: np.ndarray, n_rows: float) -> Grid:
        """Return the finest grid for ``n_rows`` rows, given the responses of some rows.

        Examples
        --------
        >>> Grid.of(np.array([[-1.0], [0.5]]), 1000).step == 2.0**-37
        True
        """
        largest = float(np.abs(centered).max(initial=0.0)) or 1.0
        width = math.ceil(math.log2(largest)) + HEADROOM
        n_bits = math.ceil(math.log2(max(n_rows, 2)))
        squares = 2 * width + math.ceil(math.log2(max(centered.shape[1], 1)))
        return cls(2.0 ** (width + n_bits - MANTISSA), 2.0 ** (squares + n_bits - MANTISSA))

    def round(self, responses: np.ndarray) -> np.ndarray:
        """Return responses as multiples of the step."""
        return np.asarray(np.rint(responses / self.step) * self.step)

    def squares(self, responses: np.ndarray) -> np.ndarray:
        """Return each row's sum of squared responses, (n_rows,), as multiples of ``square_step``."""
        squares = np.square(responses).sum(1)
        return np.asarray(np.rint(squares / self.square_step) * self.square_step)


class TermSums:
    """The sums of one term by level, over parts of the rows.

    Parameters
    ----------
    n_responses : int

    Examples
    --------
    >>> sums = TermSums(n_responses=1)
    >>> for keys in ([3, 5], [5, 9]):
    ...     sums.add(np.array(keys), np.ones((2, 1)), np.ones(2), np.ones(2))
    >>> keys, of_levels = sums.result()
    >>> keys, of_levels.counts
    (array([3, 5, 9]), array([1., 2., 1.]))
    """

    def __init__(self, n_responses: int) -> None:
        self.n_columns = n_responses + 3  # count, sum of squares, number of rows
        self.dense = np.zeros((self.n_columns, 0))
        self.keys, self.sparse = np.zeros(0, np.int64), np.zeros((self.n_columns, 0))
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(
        self, keys: np.ndarray, centered: np.ndarray, weights: np.ndarray, squares: np.ndarray
    ) -> None:
        """Add rows.

        Parameters
        ----------
        keys : ndarray of shape (n_rows,), whole numbers
            Level of each row.
        centered : ndarray of shape (n_rows, n_responses)
        weights, squares : ndarray of shape (n_rows,)
        """
        if not len(keys):
            return
        columns = [weights, weights * squares, np.ones(len(keys))]
        columns += [weights * response for response in centered.T]
        if keys.min() >= 0 and keys.max() < MOST_DENSE and not len(self.keys) and not self.waiting:
            self._add_dense(keys, columns)
            return
        known, levels = np.unique(keys, return_inverse=True)
        self.waiting.append((known, _by_level(levels, columns, len(known))))
        if sum(len(known) for known, _ in self.waiting) > len(self.keys):
            self._merge()

    def _add_dense(self, keys: np.ndarray, columns: list[np.ndarray]) -> None:
        n_levels = max(int(keys.max()) + 1, self.dense.shape[1])
        sums = _by_level(keys, columns, n_levels)
        sums[:, : self.dense.shape[1]] += self.dense
        self.dense = sums

    def _merge(self) -> None:
        """Merge the added parts into the sorted levels."""
        levels = np.flatnonzero(self.dense[2])
        parts = [(self.keys, self.sparse), (levels, self.dense[:, levels]), *self.waiting]
        keys = np.concatenate([known for known, _ in parts])
        sums = np.concatenate([of_part for _, of_part in parts], axis=1)
        self.keys, places = np.unique(keys, return_inverse=True)
        self.sparse = _by_level(places, list(sums), len(self.keys))
        self.waiting, self.dense = [], np.zeros((self.n_columns, 0))

    def result(self) -> tuple[np.ndarray, LevelSums]:
        """Return the sorted keys of the levels that occur, and their sums."""
        if self.waiting:
            self._merge()
        if len(self.keys):
            keys, sums = self.keys, self.sparse
        else:
            keys = np.flatnonzero(self.dense[2])
            sums = self.dense[:, keys]
        return keys, LevelSums(sums[0], np.ascontiguousarray(sums[3:].T), sums[1])


def _by_level(levels: np.ndarray, columns: list[np.ndarray], n_levels: int) -> np.ndarray:
    """Return the sum of each column by level, (n_columns, n_levels)."""
    return np.stack([np.bincount(levels, column, n_levels) for column in columns])
