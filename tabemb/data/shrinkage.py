"""Shrunken means: the mean target of each level of an input, shrunken to the mean of all rows.

A level is a category, a bin of a number, or a pair of categories. The mean of a level with few rows is
mostly chance, so shrinkage adds rows at the overall mean to every level. In mixed models, this is the
prediction of a random effect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STRENGTHS = 2.0 ** np.arange(-1, 11)
"""Candidate strengths: numbers of rows at the overall mean that are added to every level."""


@dataclass
class LevelSums:
    """Counts and sums of centred responses by level; a row with weight two counts as two rows.

    Parameters
    ----------
    counts : ndarray of shape (n_levels,)
    sums : ndarray of shape (n_levels, n_responses)
    squares : ndarray of shape (n_levels,)
        Sum of the squared responses, over rows and responses.
    """

    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    @classmethod
    def from_rows(cls, levels: np.ndarray, responses: np.ndarray, weights: np.ndarray) -> LevelSums:
        """Sum over rows.

        Parameters
        ----------
        levels : ndarray of shape (n_rows,), whole numbers from 0
        responses : ndarray of shape (n_rows, n_responses), centred
        weights : ndarray of shape (n_rows,)
        """
        n_levels = int(levels.max()) + 1
        sums = np.zeros((n_levels, responses.shape[1]))
        for r, column in enumerate(responses.T):
            sums[:, r] = np.bincount(levels, weights * column, n_levels)
        squares = np.bincount(levels, weights * np.square(responses).sum(1), n_levels)
        return cls(np.bincount(levels, weights, n_levels), sums, squares)

    def minus(self, means: np.ndarray) -> LevelSums:
        """Return the sums of the responses minus a mean for each level, (n_levels, n_responses)."""
        moved = self.counts[:, None] * means
        squares = self.squares + ((moved - 2 * self.sums) * means).sum(1)
        return LevelSums(self.counts, self.sums - moved, squares)

    def best_strength(self) -> tuple[float, float]:
        """Return the strength of smallest leave-one-out error, and the share of variance it explains.

        The share is negative if every strength predicts worse than the overall mean.
        """
        products = np.square(self.sums).sum(1)
        n_rest = np.maximum(self.counts - 1, 0)
        errors = []
        for strength in STRENGTHS:
            # Without row y, its level predicts (sum - y) / (n_rest + strength), so the error is
            # (1 + inverse) * y - inverse * sum; its square is summed over the rows of the level.
            inverse = 1 / (n_rest + strength)
            factor = 1 + inverse
            error = (
                factor**2 * self.squares
                - 2 * factor * inverse * products
                + inverse**2 * self.counts * products
            )
            errors.append(error.sum())
        best, total = int(np.argmin(errors)), self.squares.sum()
        return float(STRENGTHS[best]), 1 - errors[best] / total if total else 0.0

    def leave_one_out(self, levels: np.ndarray, responses: np.ndarray, strength: float) -> np.ndarray:
        """Return the shrunken mean of each row's level without that row, (n_rows, n_responses)."""
        n_rest = np.maximum(self.counts - 1, 0)[levels] + strength
        means: np.ndarray = (self.sums[levels] - responses) / n_rest[:, None]
        return means


def merged_sums(
    keys: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    new_keys: np.ndarray,
    responses: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add rows to counts and sums by level; new levels are added.

    Parameters
    ----------
    keys : ndarray of shape (n_levels,), whole numbers
        The levels, sorted.
    counts : ndarray of shape (n_levels,)
    sums : ndarray of shape (n_levels, n_responses)
    new_keys : ndarray of shape (n_rows,)
        The level of each row.
    responses : ndarray of shape (n_rows, n_responses), centred
    weights : ndarray of shape (n_rows,)

    Returns
    -------
    keys, counts, sums : ndarray
        For all levels, sorted by key.
    """
    merged, places = np.unique(np.concatenate([keys, new_keys]), return_inverse=True)
    old, new = places[: len(keys)], places[len(keys) :]
    all_counts, all_sums = np.zeros(len(merged)), np.zeros((len(merged), sums.shape[1]))
    all_counts[old], all_sums[old] = counts, sums
    all_counts += np.bincount(new, weights, len(merged))
    for r, column in enumerate(responses.T):
        all_sums[:, r] += np.bincount(new, weights * column, len(merged))
    return merged, all_counts, all_sums


def shrunken_means(
    codes: np.ndarray, responses: np.ndarray, weights: np.ndarray, n_codes: int
) -> np.ndarray:
    """Return the mean response of each code, with the shrinkage that predicts left-out rows best.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), whole numbers below ``n_codes``
    responses : ndarray of shape (n_rows, n_responses)
    weights : ndarray of shape (n_rows,)
    n_codes : int

    Returns
    -------
    ndarray of shape (n_codes, n_responses)
        The overall mean for a code without rows.

    Examples
    --------
    >>> responses = np.array([[0.0], [0.0], [9.0], [9.0]])
    >>> shrunken_means(np.array([0, 0, 1, 1]), responses, np.ones(4), n_codes=3).round(1).ravel()
    array([0.9, 8.1, 4.5])
    """
    mean = np.average(responses, axis=0, weights=weights)
    sums = LevelSums.from_rows(codes, responses - mean, weights)
    strength, _ = sums.best_strength()
    means = np.tile(mean, (n_codes, 1))
    means[: len(sums.counts)] += sums.sums / (sums.counts + strength)[:, None]
    return means
