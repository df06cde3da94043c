"""The rows that effects are fitted on, and the statistics of the levels of one term."""

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
        """Yield the rows in parts, and let their storage release memory after each part.

        ``show`` is as in `progress`.
        """
        with progress(len(self.codes), "rows", show) as bar:
            for start, stop in slices(len(self.codes), MOST_ROWS):
                yield EffectRows(*(array[start:stop] for array in self))
                storage.release()
                bar.update(stop - start)


@dataclass(frozen=True)
class TermLevels:
    """The levels of one term in the training rows, in the unit of `Effects.center`.

    Parameters
    ----------
    levels : ndarray of int64, shape (n_levels, n_inputs of the term)
        Code or bin of each input of the term.
    counts : ndarray of shape (n_levels,)
        Sum of the weights of each level's rows.
    means : ndarray of shape (n_levels, n_responses)
        Mean minus the mean of all rows.
    effects : ndarray of shape (n_levels, n_responses)
        Shrunken ``means``.
    errors : ndarray of shape (n_levels, n_responses)
        Standard errors of ``effects``.
    strength : float
        Number of rows at the mean of all rows that the shrinkage adds to each level.
    """

    levels: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    effects: np.ndarray
    errors: np.ndarray
    strength: float
