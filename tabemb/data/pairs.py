"""Pairs of categorical columns: find the pairs that predict more than their columns, and encode them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tabemb.data.shrinkage import LevelSums

Term = tuple[int, ...]
"""Positions of the inputs of a term."""
N_PAIRED = 14
"""Number of columns whose pairs are tried; those with the strongest effects."""
N_TRIED = 100_000
"""Largest number of rows that the choice of pairs uses."""
MIN_GAIN = 1e-4
"""Least share of the target's variance that a used effect explains out of sample."""


def tried_rows(n_rows: int, generator: np.random.Generator) -> slice | np.ndarray:
    """Return the rows that the choice of pairs uses: all, or a random sample if there are very many."""
    return slice(None) if n_rows <= N_TRIED else generator.choice(n_rows, N_TRIED, replace=False)


def choose_pairs(
    levels: Sequence[np.ndarray], centered: np.ndarray, weights: np.ndarray, n_pairs: int
) -> list[tuple[int, int]]:
    """Return the pairs that explain most of the residuals of their columns' effects, best first.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n_rows,), whole numbers
        One array per column.
    centered : ndarray of shape (n_rows, n_responses)
        Responses, as differences from their mean.
    weights : ndarray of shape (n_rows,)
    n_pairs : int
        Largest number of pairs.
    """
    if not n_pairs:
        return []
    sums = [LevelSums.from_rows(column, centered, weights) for column in levels]
    strengths, gains = zip(*(s.best_strength() for s in sums)) if sums else ((), ())
    # the number of pairs grows with the square of the columns, so weak columns are not tried
    strongest = sorted(sorted(range(len(sums)), key=lambda i: -gains[i])[:N_PAIRED])
    effects = {i: sums[i].leave_one_out(levels[i], centered, strengths[i]) for i in strongest}
    pair_gains = {
        (a, b): _pair_gain(levels[a], levels[b], centered - effects[a] - effects[b], weights)
        for a, b in combinations(strongest, 2)
    }
    useful = [pair for pair, gain in pair_gains.items() if gain > MIN_GAIN]
    return sorted(useful, key=lambda pair: -pair_gains[pair])[:n_pairs]


def _pair_gain(
    first: np.ndarray, second: np.ndarray, residuals: np.ndarray, weights: np.ndarray
) -> float:
    """Return the share of the residuals' variance that a pair explains out of sample.

    It is zero if one column implies the other: the pair then has no more levels than that column.
    """
    keys, levels = np.unique(term_keys([first, second], (0, 1)), return_inverse=True)
    if len(keys) <= max(len(np.unique(first)), len(np.unique(second))):
        return 0.0
    return LevelSums.from_rows(levels, residuals, weights).best_strength()[1]


def term_keys(levels: Sequence[np.ndarray], term: Term) -> np.ndarray:
    """Return one int64 per row for the level of a column, or of a combination of up to four columns.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n_rows,), whole numbers below 2**31
    term : tuple of positions in ``levels``
        The level of the first column of a pair is in the upper 32 bits.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        -1, which is not the key of any combination, if a level needs more bits than it has in the key.
    """
    keys = levels[term[0]].astype(np.int64)
    if len(term) == 1:
        return keys
    bits = key_bits(len(term))
    for i in term[1:]:
        keys = keys << bits | levels[i]
    if len(term) > 2:
        keys[np.any([levels[i] >= 1 << bits for i in term], axis=0)] = -1
    return keys


def key_bits(n_inputs: int) -> int:
    """Return the bits of each level in the key of a combination: 32, 21 or 15 for 2, 3 or 4 inputs."""
    return 32 if n_inputs == 2 else 63 // n_inputs


def key_levels(keys: np.ndarray, n_inputs: int) -> np.ndarray:
    """Return the level of each input, (n_keys, n_inputs), from keys of `term_keys`."""
    if n_inputs == 1:
        return keys[:, None]
    bits = key_bits(n_inputs)
    shifts = bits * np.arange(n_inputs - 1, -1, -1)
    return keys[:, None] >> shifts & (1 << bits) - 1


def find_keys(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the position of each key in the sorted ``known``, ``len(known)`` if it is not there."""
    positions = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[positions] == keys, positions, len(known))


@dataclass
class PairCodes:
    """Codes of pairs of categories: one for each pair in the training rows, the last for unseen pairs.

    Parameters
    ----------
    pairs : list of (int, int)
        Positions of the columns.
    keys : list of ndarray of int64
        The sorted keys of each pair, as `term_keys` makes them.

    Examples
    --------
    >>> pairs = PairCodes.from_codes(np.array([[2, 5], [3, 5]]), [(0, 1)])
    >>> pairs(np.array([[3, 5], [2, 5], [2, 9]])).ravel()
    array([1, 0, 2], dtype=int32)
    """

    pairs: list[tuple[int, int]]
    keys: list[np.ndarray]

    @classmethod
    def from_codes(cls, codes: np.ndarray, pairs: list[tuple[int, int]]) -> PairCodes:
        """Collect the pairs of codes of training rows, whole numbers (n_rows, n_columns)."""
        return cls(pairs, [np.unique(term_keys([*codes.T], pair)) for pair in pairs])

    @property
    def sizes(self) -> list[int]:
        """Number of codes of each pair."""
        return [len(known) + 1 for known in self.keys]

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Return the codes of the pairs of any rows, int32 (n_rows, n_pairs)."""
        pair_codes = np.empty((len(codes), len(self.pairs)), np.int32)
        for p, (pair, known) in enumerate(zip(self.pairs, self.keys)):
            pair_codes[:, p] = find_keys(known, term_keys([*codes.T], pair))
        return pair_codes
