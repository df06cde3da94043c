"""Pairs of categorical columns: which of them matter, and their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tabemb.data.shrinkage import LevelSums

N_PAIRED = 14
"""Categorical inputs that are tried in pairs: those whose own effects explain most."""
N_TRIED = 100_000
"""Rows that choose the pairs, where there are more."""
MIN_GAIN = 1e-4
"""Share of the answers' variance that a term must explain out of sample."""


def tried_rows(n_rows: int, generator: np.random.Generator) -> slice | np.ndarray:
    """The rows that choose the pairs: all, or some drawn at random where there are very many."""
    return slice(None) if n_rows <= N_TRIED else generator.choice(n_rows, N_TRIED, replace=False)


def choose_pairs(
    levels: Sequence[np.ndarray], centered: np.ndarray, weights: np.ndarray, n_pairs: int
) -> list[tuple[int, int]]:
    """The pairs of inputs that add most to their two effects, best first.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n_rows,), whole numbers
    centered : ndarray of shape (n_rows, n_responses)
        Answers, as differences from their mean.
    weights : ndarray of shape (n_rows,)
    n_pairs : int
        The most to choose.
    """
    sums = [LevelSums.of(ids, centered, weights) for ids in levels] if n_pairs else []
    found = [own.strength() for own in sums]
    pool = sorted(sorted(range(len(sums)), key=lambda i: -found[i][1])[:N_PAIRED])
    alone = {i: sums[i].without_own(levels[i], centered, found[i][0]) for i in pool}
    added = {
        (a, b): _added(levels, (a, b), centered - alone[a] - alone[b], weights)
        for a, b in combinations(pool, 2)
    }
    best = sorted(
        (pair for pair, gain in added.items() if gain > MIN_GAIN), key=lambda pair: -added[pair]
    )
    return best[:n_pairs]


def term_keys(levels: Sequence[np.ndarray], term: tuple[int, ...]) -> np.ndarray:
    """One whole number for each level of a term: a pair has its first level in the upper half of the bits."""
    first = levels[term[0]].astype(np.int64)
    return first if len(term) == 1 else first << 32 | levels[term[1]]


def find_keys(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where each key stands among the known ones, which are sorted; their number if it is none of them."""
    found = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[found] == keys, found, len(known))


def _added(
    levels: Sequence[np.ndarray], pair: tuple[int, int], rest: np.ndarray, weights: np.ndarray
) -> float:
    """Share of the rest that a pair explains out of sample; nothing where one of its inputs says all of the other."""
    keys, ids = np.unique(term_keys(levels, pair), return_inverse=True)
    if len(keys) <= max(len(np.unique(levels[i])) for i in pair):
        return 0.0
    return LevelSums.of(ids, rest, weights).strength()[1]


@dataclass
class PairCodes:
    """Pairs of columns as columns of codes: one for each pair of codes that was seen, the next for all others."""

    pairs: list[tuple[int, int]]
    keys: list[np.ndarray]

    @classmethod
    def from_codes(cls, codes: np.ndarray, pairs: list[tuple[int, int]]) -> PairCodes:
        """Learn the pairs of codes (n_rows, n_columns) that there are."""
        return cls(pairs, [np.unique(term_keys([*codes.T], pair)) for pair in pairs])

    @property
    def sizes(self) -> list[int]:
        """Number of codes of each pair."""
        return [len(known) + 1 for known in self.keys]

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Codes of the pairs of these rows, int32 (n_rows, n_pairs)."""
        crossed = np.empty((len(codes), len(self.pairs)), np.int32)
        for p, (pair, known) in enumerate(zip(self.pairs, self.keys)):
            crossed[:, p] = find_keys(known, term_keys([*codes.T], pair))
        return crossed
