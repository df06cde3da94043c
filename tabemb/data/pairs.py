"""Pairs of categorical columns: which pairs predict more than their two columns, and codes of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from tabemb.data.shrinkage import LevelSums

N_PAIRED = 14
"""Columns whose pairs are tried: those with the strongest effects."""
N_NUMBERS = 8
"""Numbers whose pairs with those columns are tried."""
N_TRIED = 100_000
"""Rows that the choice of pairs uses, where there are more."""
MIN_GAIN = 1e-4
"""Share of the target's variance that an effect must explain out of sample to be used."""


def tried_rows(n_rows: int, generator: np.random.Generator) -> slice | np.ndarray:
    """Return the rows that the choice of pairs uses: all, or a random sample of very many."""
    return slice(None) if n_rows <= N_TRIED else generator.choice(n_rows, N_TRIED, replace=False)


def choose_pairs(
    levels: Sequence[np.ndarray],
    centered: np.ndarray,
    weights: np.ndarray,
    n_pairs: int,
    categorical: Sequence[int],
    wide: Sequence[int] = (),
    rest: np.ndarray | None = None,
) -> list[tuple[int, int]]:
    """Return the pairs that explain most of what the effects of their columns do not, best first.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n_rows,), whole numbers
        One array a column.
    centered : ndarray of shape (n_rows, n_responses)
        Responses, as differences from their mean.
    weights : ndarray of shape (n_rows,)
    n_pairs : int
        Largest number of pairs.
    """
    if not n_pairs:
        return []
    # the number of pairs grows with the square of the columns, so weak ones are not tried
    tried = {
        i: effect
        for group, most in ((categorical, N_PAIRED), (wide, N_NUMBERS))
        for i, effect in _strongest(levels, centered, weights, group, most)
    }
    by_kind = [i for i in tried if i not in set(wide)], [i for i in tried if i in set(wide)]
    pairs = [*combinations(by_kind[0], 2), *product(*by_kind)]
    pair_gains = {
        (a, b): _pair_gain(
            levels[a],
            levels[b],
            centered - tried[a] - tried[b] if rest is None else rest,
            weights,
        )
        for a, b in pairs
    }
    import os
    gate = float(os.environ.get("GATE", MIN_GAIN))
    useful = [pair for pair, gain in pair_gains.items() if gain > (gate if pair[1] in set(wide) else MIN_GAIN)]
    if os.environ.get("SHOW"): print(sorted([(round(g,4),p) for p,g in pair_gains.items() if g>MIN_GAIN])[::-1])
    return sorted(useful, key=lambda pair: -pair_gains[pair])[:n_pairs]


def _strongest(levels, centered, weights, group, most):
    sums = {i: LevelSums.from_rows(levels[i], centered, weights) for i in group}
    best = {i: s.best_strength() for i, s in sums.items()}
    for i in sorted(sorted(group, key=lambda i: -best[i][1])[:most]):
        yield i, sums[i].leave_one_out(levels[i], centered, best[i][0])


def _pair_gain(
    first: np.ndarray, second: np.ndarray, residuals: np.ndarray, weights: np.ndarray
) -> float:
    """Return the share of the residuals' variance that a pair explains out of sample.

    It is zero where one column implies the other: such a pair has no more levels than that column.
    """
    keys, levels = np.unique(term_keys([first, second], (0, 1)), return_inverse=True)
    if len(keys) <= max(len(np.unique(first)), len(np.unique(second))):
        return 0.0
    return LevelSums.from_rows(levels, residuals, weights).best_strength()[1]


def term_keys(levels: Sequence[np.ndarray], term: tuple[int, ...]) -> np.ndarray:
    """Return one int64 for each row's level of a column, or of a pair of columns.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n_rows,), whole numbers below 2**31
    term : tuple of one or two positions in ``levels``
        The level of the first column of a pair is in the upper 32 bits.
    """
    first = levels[term[0]].astype(np.int64)
    return first if len(term) == 1 else first << 32 | levels[term[1]]


def find_keys(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the position of each key in the sorted ``known``, ``len(known)`` if it is not there."""
    positions = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[positions] == keys, positions, len(known))


@dataclass
class PairCodes:
    """Codes of pairs of columns: one for each pair of the training rows, the last for unseen pairs.

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
