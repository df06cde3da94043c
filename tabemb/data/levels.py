"""Levels: inputs as whole numbers, which are codes of categories and bins of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tabemb.data.scales import quantiles
from tabemb.data.vocabulary import UNKNOWN

N_EXACT = 256
"""A number with at most this many distinct values has a level for each, others ``N_QUANTILES`` bins."""
N_QUANTILES = 64
N_WIDE = 16
"""Number of bins of a number in pairs."""


@dataclass
class Levels:
    """Turn inputs into whole numbers: codes of categories, bins of numbers.

    Parameters
    ----------
    bounds : list of ndarray, one per number
        Upper bounds of the bins. Level i + 1 is bin i; level 0 is the missing value.
    wide_bounds : list of ndarray, one per number
        Upper bounds of the wider bins for pairs; empty if no pair reads a number.
    hashed_from : tuple of int, one per categorical input
        Codes from this one on are hashed. Their level is 0, that of rare categories, because the mean of
        unrelated categories is not informative about each. Empty if no codes are hashed.
    """

    bounds: list[np.ndarray]
    wide_bounds: list[np.ndarray] = field(default_factory=list)
    hashed_from: tuple[int, ...] = ()

    @classmethod
    def from_numbers(
        cls, numbers: np.ndarray, weights: np.ndarray | None, has_wide: bool = False
    ) -> Levels:
        """Bin numbers (n_rows, n_numbers), NaN where missing; rows of weight zero are ignored."""
        if weights is not None:
            numbers, weights = numbers[weights > 0], weights[weights > 0]
        wide = [_bounds(column, weights, N_WIDE, N_WIDE) for column in numbers.T] if has_wide else []
        return cls([_bounds(column, weights, N_EXACT, N_QUANTILES) for column in numbers.T], wide)

    def __call__(self, codes: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
        """Return the levels (n_rows,) of categorical inputs, of numbers, and of numbers in wide bins."""
        n_inputs = codes.shape[1] + len(self.bounds) + len(self.wide_bounds)
        return self.of_inputs(codes, numbers, range(n_inputs))

    def of_inputs(
        self, codes: np.ndarray, numbers: np.ndarray, inputs: Sequence[int]
    ) -> list[np.ndarray]:
        """Return the levels of some of these inputs."""
        n_codes, n_numbers, bounds = codes.shape[1], len(self.bounds), [*self.bounds, *self.wide_bounds]
        return [
            self._of_category(codes[:, i], i)
            if i < n_codes
            else _bin(numbers[:, (i - n_codes) % n_numbers], bounds[i - n_codes])
            for i in inputs
        ]

    def _of_category(self, codes: np.ndarray, i: int) -> np.ndarray:
        """Return the levels of one categorical input."""
        if not self.hashed_from:
            return codes
        return np.where(codes < self.hashed_from[i], codes, UNKNOWN).astype(codes.dtype)


def _bounds(
    values: np.ndarray, weights: np.ndarray | None, n_exact: int, n_quantiles: int
) -> np.ndarray:
    """Return all distinct values if there are few, otherwise quantiles."""
    present = ~np.isnan(values)
    values, weights = values[present], None if weights is None else weights[present]
    distinct = np.unique(values)
    if len(distinct) <= n_exact:
        return distinct
    return np.unique(quantiles(values, np.linspace(0, 1, n_quantiles + 1)[1:], weights))


def _bin(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    bins = np.searchsorted(bounds[:-1], values) + 1  # values above the last bound are in the last bin
    bins[np.isnan(values)] = 0
    return bins.astype(np.int16)
