"""Find the levels of all terms by one search: a term's input levels are the digits of one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tabemb.data.pairs import Term, find_keys, key_levels, term_keys

MOST_KEYS = 2**53
"""Largest number that floats represent exactly, so that fast matrix products work. If the terms need
larger numbers, each term is searched by its keys."""
AT_ONCE = 1024
"""Rows that are searched at a time."""
MANY = 2**14
"""Number of rows from which each term is searched separately, single columns in a lookup table."""
MOST_DIRECT = 2**26
"""Largest level of a column with a lookup table."""


class LevelIndex:
    """Find the levels of rows among the known levels of all terms.

    The terms have consecutive ranges of numbers, each in the order of its keys, so that one search
    replaces one search for each term. For one row, forty searches take longer than the network.

    Parameters
    ----------
    terms : sequence of tuple of int
    keys : ndarray of int64
        The sorted keys of each term, as `term_keys` makes them, concatenated.
    ends : ndarray of int64, shape (n_terms + 1,)
    """

    def __init__(self, terms: Sequence[Term], keys: np.ndarray, ends: np.ndarray) -> None:
        self.terms, self.keys, self.ends = list(terms), keys, ends
        self.inputs = sorted({i for term in terms for i in term})
        self._tables: dict[int, np.ndarray] = {}
        self._numbers: np.ndarray | None = None
        levels = [key_levels(self._of_term(t), len(term)) for t, term in enumerate(self.terms)]
        if len(keys) and keys.min() >= 0:  # -1: the levels do not fit into a key
            self._fit_numbers(levels)

    def _of_term(self, t: int) -> np.ndarray:
        return self.keys[self.ends[t] : self.ends[t + 1]]

    def _fit_numbers(self, levels: Sequence[np.ndarray]) -> None:
        sizes = np.ones(len(self.inputs), np.int64)  # number of levels, plus one for unknown levels
        places = [[self.inputs.index(i) for i in term] for term in self.terms]
        for of_term, of_levels in zip(places, levels):
            highest = of_levels.max(0, initial=0) + 2
            sizes[of_term] = np.maximum(sizes[of_term], highest)
        self._factors = np.zeros((len(self.terms), len(self.inputs)))
        self._starts = np.zeros((len(self.terms), 1))
        numbers, start = [], 0
        for t, (of_term, of_levels) in enumerate(zip(places, levels)):
            radices = [int(size) for size in sizes[of_term]]
            digits = [int(np.prod(radices[i + 1 :], dtype=object)) for i in range(len(radices))]
            end = start + digits[0] * radices[0]
            if end > MOST_KEYS:
                return
            self._factors[t, of_term], self._starts[t] = digits, start
            numbers.append(start + of_levels @ np.array(digits, np.int64))
            start = end
        self._most, self._numbers = sizes[:, None] - 1, np.concatenate(numbers).astype(np.float64)

    def positions(self, levels: Sequence[np.ndarray]) -> np.ndarray:
        """Return the position in ``keys`` of each row's level of each term, ``len(keys)`` if unknown.

        Parameters
        ----------
        levels : sequence of ndarray of shape (n_rows,), whole numbers
            The levels of each of ``inputs``.

        Returns
        -------
        ndarray of shape (n_terms, n_rows)
        """
        n_rows = len(levels[0]) if levels else 0
        if n_rows >= MANY:
            return self._search_by_term(levels)
        positions = np.empty((len(self.terms), n_rows), self._dtype)
        for start in range(0, n_rows, AT_ONCE):
            part = [of_input[start : start + AT_ONCE] for of_input in levels]
            positions[:, start : start + AT_ONCE] = self._search(part)
        return positions

    def _search(self, levels: Sequence[np.ndarray]) -> np.ndarray:
        if self._numbers is None:
            return self._search_by_term(levels)
        digits = np.minimum(np.stack(levels), self._most).astype(np.float64)
        return find_keys(self._numbers, self._factors @ digits + self._starts)

    def _search_by_term(self, levels: Sequence[np.ndarray]) -> np.ndarray:
        by_input = dict(zip(self.inputs, levels))
        positions = np.empty((len(self.terms), len(levels[0])), self._dtype)
        for t, term in enumerate(self.terms):
            known = self._of_term(t)
            if len(term) == 1 and len(known) and known[0] >= 0 and known[-1] < MOST_DIRECT:
                positions[t] = self._direct(t, known)[np.minimum(by_input[term[0]], known[-1] + 1)]
                continue
            keys = term_keys([by_input[i] for i in term], tuple(range(len(term))))
            in_term = find_keys(known, keys)
            positions[t] = np.where(in_term < len(known), in_term + self.ends[t], len(self.keys))
        return positions

    def _direct(self, t: int, known: np.ndarray) -> np.ndarray:
        """Return the position of each level of a column; the last one is for unknown levels."""
        if t not in self._tables:
            table = np.full(known[-1] + 2, len(self.keys), self._dtype)
            table[known] = self.ends[t] + np.arange(len(known))
            self._tables[t] = table
        return self._tables[t]

    @property
    def _dtype(self) -> type[np.signedinteger[Any]]:
        """Type of the positions: int32 if it is wide enough, as the array is large."""
        return np.int32 if len(self.keys) < 2**31 - 1 else np.int64
