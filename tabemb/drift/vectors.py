"""Summarise columns of vectors by a few numbers, whose distributions are compared like other numbers.

The numbers are the coordinates on the axes along which training vectors vary most, and the distance from
the subspace of these axes, which shows differences in any other direction. Half of the training rows
determine the axes, and the other half is the profile, because the rows that determine the axes vary more
along them than later rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tabemb.drift.profiles import Profile
from tabemb.drift.shifts import Shift, shift_of

MOST_AXES = 5
MOST_ROWS = 5000
"""Largest number of rows that determine the axes."""
MIN_ROWS = 20
"""Fewest vectors in each half; with fewer, vectors are not compared."""


@dataclass
class VectorProfile:
    """How the vectors of one column were distributed over the training rows.

    Parameters
    ----------
    center : ndarray of shape (width,)
        Mean that is subtracted from vectors.
    axes : ndarray of shape (n_axes, width)
        Unit vectors in the directions of largest variance.
    profiles : list of Profile
        One for each axis, then one for the distance from their subspace, unless it is always zero.
    """

    center: np.ndarray
    axes: np.ndarray
    profiles: list[Profile]

    @classmethod
    def of(
        cls, vectors: np.ndarray, weights: np.ndarray, groups: np.ndarray | None = None
    ) -> VectorProfile | None:
        """Measure training vectors; return None if there are too few.

        Parameters
        ----------
        vectors : ndarray of shape (n_rows, width)
            NaN in rows without a vector.
        weights : ndarray of shape (n_rows,)
        groups : ndarray of shape (n_rows,), optional
            Rows of one group are in the same half.
        """
        rng = np.random.default_rng(0)
        group = np.arange(len(vectors)) if groups is None else groups
        is_first = (rng.permutation(int(group.max(initial=0)) + 1) % 2 == 0)[group]
        has_vector = ~np.isnan(vectors).any(axis=1) & (vectors.shape[1] > 0)
        usable = (weights > 0) & has_vector
        first = rng.permutation(np.flatnonzero(usable & is_first))[:MOST_ROWS]
        if min(len(first), int(np.count_nonzero(usable & ~is_first))) < MIN_ROWS:
            return None
        sample = vectors[first].astype(np.float64)
        center = sample.mean(axis=0)
        axes = _leading_axes(sample - center)
        profile = cls(center, axes, [])
        numbers = profile.numbers(vectors[~is_first])
        profile.profiles = [Profile.of_numbers(column, weights[~is_first]) for column in numbers.T]
        return profile

    def numbers(self, vectors: np.ndarray) -> np.ndarray:
        """Return the numbers of vectors, (n_rows, n_numbers), NaN in rows without a vector."""
        centred = vectors.astype(np.float64) - self.center
        coordinates = np.asarray(centred @ self.axes.T)
        if len(self.axes) == len(self.center):
            return coordinates
        squares = np.square(centred).sum(axis=1) - np.square(coordinates).sum(axis=1)
        return np.column_stack([coordinates, np.sqrt(np.maximum(squares, 0))])

    def shifts(self, name: str, vectors: np.ndarray, weights: np.ndarray) -> dict[str, Shift]:
        """Return the shifts of the numbers of later vectors, by name."""
        numbers = self.numbers(vectors).T
        names = [f"{name} axis {i}" for i in range(len(self.axes))]
        names += [f"{name} off axes"] * (len(numbers) - len(names))
        return {
            key: shift_of(profile, column, weights)
            for key, profile, column in zip(names, self.profiles, numbers)
        }


def _leading_axes(centred: np.ndarray) -> np.ndarray:
    """Return the directions of largest variance of rows (n_rows, width), in descending order."""
    n_rows, width = centred.shape
    if width <= n_rows:
        _, axes = np.linalg.eigh(centred.T @ centred)
        return np.asarray(axes.T[::-1][:MOST_AXES])
    variances, scores = np.linalg.eigh(centred @ centred.T)
    kept = variances[::-1][:MOST_AXES] > 1e-12 * max(variances[-1], 1e-300)
    axes = scores.T[::-1][:MOST_AXES][kept] @ centred
    return np.asarray(axes / np.linalg.norm(axes, axis=1, keepdims=True))
