"""What effects are fitted on, and what they know of the levels of one term."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tabemb.data.sampling import MOST_ROWS, slices
from tabemb.data.storage import Storage
from tabemb.progress import progress


class EffectRows(NamedTuple):
    """Some training rows, as in `Effects.fit`."""

    codes: np.ndarray
    numbers: np.ndarray
    responses: np.ndarray
    weights: np.ndarray

    def parts(self, storage: Storage, show: bool | None) -> Iterator[EffectRows]:
        """Yield the rows in parts, and let the storage that they lie in release each.

        ``show`` is that of `progress`.
        """
        with progress(len(self.codes), "rows", show) as bar:
            for start, stop in slices(len(self.codes), MOST_ROWS):
                yield EffectRows(*(array[start:stop] for array in self))
                storage.release()
                bar.update(stop - start)


@dataclass(frozen=True)
class TermLevels:
    """The levels of one term in the training rows, in the unit of the responses of `Effects.center`.

    Parameters
    ----------
    levels : ndarray of int64, shape (n_levels, n_inputs of the term)
        Code or bin of each input.
    counts : ndarray of shape (n_levels,)
        Sum of the weights of their rows.
    means : ndarray of shape (n_levels, n_responses)
        Mean minus the mean of all rows.
    effects : ndarray of shape (n_levels, n_responses)
        That difference, shrunken.
    errors : ndarray of shape (n_levels, n_responses)
        Standard errors of ``effects``.
    strength : float
        Rows at the mean of all rows that the shrinkage adds to each level.
    """

    levels: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    effects: np.ndarray
    errors: np.ndarray
    strength: float
