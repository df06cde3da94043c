"""Means of levels, shrunken to the mean of all rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STRENGTHS = 2.0 ** np.arange(-1, 11)
"""Strengths of shrinkage that are tried: in rows that say nothing but the mean of all."""


@dataclass
class LevelSums:
    """Counts, sums and squares of the answers of each level of one term; a row of weight two counts as two rows."""

    counts: np.ndarray  # (n_levels,)
    sums: np.ndarray  # (n_levels, n_responses)
    squares: np.ndarray  # (n_levels,)

    @classmethod
    def of(cls, ids: np.ndarray, responses: np.ndarray, weights: np.ndarray) -> LevelSums:
        n_levels = int(ids.max()) + 1
        sums = np.zeros((n_levels, responses.shape[1]))
        for r, column in enumerate(responses.T):
            sums[:, r] = np.bincount(ids, weights * column, n_levels)
        squares = np.bincount(ids, weights * np.square(responses).sum(1), n_levels)
        return cls(np.bincount(ids, weights, n_levels), sums, squares)

    def strength(self) -> tuple[float, float]:
        """The strength with the smallest leave-one-out error, and the share of the squares that it explains."""
        products = np.square(self.sums).sum(1)
        others = np.maximum(self.counts - 1, 0)
        errors = []
        for (
            strength
        ) in STRENGTHS:  # error of y - (sum - y) / (others + strength), summed over the rows of a level
            inverse = 1 / (others + strength)
            own = 1 + inverse
            error = (
                own**2 * self.squares
                - 2 * own * inverse * products
                + inverse**2 * self.counts * products
            )
            errors.append(error.sum())
        best, total = int(np.argmin(errors)), self.squares.sum()
        return float(STRENGTHS[best]), 1 - errors[best] / total if total else 0.0

    def without_own(self, ids: np.ndarray, responses: np.ndarray, strength: float) -> np.ndarray:
        """The effect that the other rows of its level give to each row, (n_rows, n_responses)."""
        others = np.maximum(self.counts - 1, 0)[ids] + strength
        return (self.sums[ids] - responses) / others[:, None]


def shrunken_means(
    codes: np.ndarray, responses: np.ndarray, weights: np.ndarray, n_codes: int
) -> np.ndarray:
    """Mean answer of each code, pulled to the mean of all by the strength that predicts other rows best.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), whole numbers below ``n_codes``
    responses : ndarray of shape (n_rows, n_responses)
    weights : ndarray of shape (n_rows,)
    n_codes : int

    Returns
    -------
    ndarray of shape (n_codes, n_responses)
        The mean of all for a code without rows.

    Examples
    --------
    >>> shrunken_means(np.array([0, 0, 1, 1]), np.array([[0.0], [0.0], [9.0], [9.0]]), np.ones(4), 3).round(1).ravel()
    array([0.9, 8.1, 4.5])
    """
    mean = np.average(responses, axis=0, weights=weights)
    sums = LevelSums.of(codes, responses - mean, weights)
    strength, _ = sums.strength()
    means = np.tile(mean, (n_codes, 1))
    means[: len(sums.counts)] += sums.sums / (sums.counts + strength)[:, None]
    return means
