"""Combinations of two to four inputs whose levels predict what trees leave unexplained.

They grow greedily, as in CatBoost (Prokhorenkova et al. 2018): first come the best pairs, then each best
pair with one more input. They are ranked by the share of the rest that they explain out of sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations, product

import numpy as np

from tabemb.data.pairs import MIN_GAIN, N_PAIRED, Term, term_keys
from tabemb.data.shrinkage import LevelSums

MOST_INPUTS = 4
"""Number of inputs of the largest combinations."""
N_GROWN = 6
"""How many of the best combinations of each size are tried with one more input."""
N_NUMBERS = 8
"""How many numbers are tried; those that explain most of the rest."""
N_CELLS = 20_000_000
"""Largest product of rows and tried pairs by which few rows allow more columns than `N_PAIRED`."""
CHANCE = 5.0
"""Factor on log m / n for the largest gain that m combinations without any effect have in n rows.

For normal numbers the factor is 2. Combinations of many levels vary more: in random rows, 19 of 20
maxima over 45 pairs of 2 to 200 levels each were below this.
"""


class Candidates:
    """The inputs that may be combined, and the gain of their combinations.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n_rows,), whole numbers
        One array per input.
    rest : ndarray of shape (n_rows, n_responses)
        The residuals that are left to explain.
    weights : ndarray of shape (n_rows,)
    """

    def __init__(self, levels: Sequence[np.ndarray], rest: np.ndarray, weights: np.ndarray) -> None:
        self.levels, self.rest, self.weights = levels, rest, weights
        self.n_levels: dict[Term, int] = {}
        self.effects: dict[Term, np.ndarray] = {}
        self.n_tried = 0

    def gain(self, term: Term, parts: Sequence[Term]) -> float:
        """Return the share of the rest that a term explains out of sample, in addition to its parts.

        It is zero if one input implies another: the term has no more levels than without that input.
        """
        self.n_tried += 1
        levels, n_levels = self._levels(term)
        if any(n_levels <= self._count(part) for part in combinations(term, len(term) - 1)):
            return 0.0
        rest = self.rest - sum(self._effects(part) for part in parts)
        return LevelSums.from_rows(levels, rest, self.weights).best_strength()[1]

    def strongest(self, inputs: Iterable[int], n_most: int) -> list[int]:
        """Return the inputs that explain most of the rest, in ascending order."""
        gains = {
            i: LevelSums.from_rows(self._levels((i,))[0], self.rest, self.weights).best_strength()[1]
            for i in inputs
        }
        return sorted(sorted(gains, key=lambda i: -gains[i])[:n_most])

    @property
    def least_gain(self) -> float:
        """The gain that the best of the terms tried so far hardly reaches by chance."""
        return max(MIN_GAIN, CHANCE * math.log(max(self.n_tried, 1)) / len(self.rest))

    def _levels(self, term: Term) -> tuple[np.ndarray, int]:
        known, levels = np.unique(term_keys(self.levels, term), return_inverse=True)
        self.n_levels[term] = len(known)
        return levels, len(known)

    def _count(self, term: Term) -> int:
        if term not in self.n_levels:
            self._levels(term)
        return self.n_levels[term]

    def _effects(self, term: Term) -> np.ndarray:
        """Return the leave-one-out effects of a term, which are cached."""
        if term not in self.effects:
            levels, _ = self._levels(term)
            sums = LevelSums.from_rows(levels, self.rest, self.weights)
            self.effects[term] = sums.leave_one_out(levels, self.rest, sums.best_strength()[0])
        return self.effects[term]


def choose_combinations(
    candidates: Candidates, categorical: Sequence[int], numbers: Sequence[int], n_most: int
) -> list[Term]:
    """Return the combinations that explain most, best first; each has at most one number.

    Parameters
    ----------
    candidates : Candidates
    categorical, numbers : sequence of int
        Positions of the inputs in ``candidates.levels``.
    n_most : int
        Largest number of combinations.
    """
    if not n_most:
        return []
    n_paired = max(N_PAIRED, math.isqrt(2 * N_CELLS // len(candidates.rest)))
    single = candidates.strongest(categorical, n_paired)
    wide = candidates.strongest(numbers, N_NUMBERS)
    pairs = [*combinations(single, 2), *product(single, wide)]
    gains: dict[Term, float] = {(a, b): candidates.gain((a, b), [(a,), (b,)]) for a, b in pairs}
    chosen = best = _useful(gains, candidates.least_gain)
    for _ in range(MOST_INPUTS - 2):
        grown: dict[Term, list[Term]] = {}
        for parent, i in product(best[:N_GROWN], [*single, *wide]):
            term = _with(parent, i, wide)
            if term is not None and term not in gains:
                grown.setdefault(term, [parent, (i,)])
        grown_gains = {term: candidates.gain(term, parts) for term, parts in grown.items()}
        best = _useful(grown_gains, candidates.least_gain)
        gains |= grown_gains
        chosen = chosen + best
    return sorted(chosen, key=lambda term: -gains[term])[:n_most]


def _with(term: Term, i: int, numbers: Sequence[int]) -> Term | None:
    """Return the term with input i added; None if it has i already or would have a second number."""
    has_number = any(j in numbers for j in term)
    if i in term or (has_number and i in numbers):
        return None
    return tuple(sorted((*term, i)))


def _useful(gains: dict[Term, float], least: float) -> list[Term]:
    """Return the terms whose gain is above ``least``, best first."""
    return sorted((term for term in gains if gains[term] > least), key=lambda term: -gains[term])
