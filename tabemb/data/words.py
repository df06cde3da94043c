"""Effects of words: how each word and each pair of neighbouring words of a text affects the target.

The effect of a word is like that of a category (`tabemb.data.effects`): the shrunken mean target of the
rows whose text contains it, minus the mean of all rows; for indicators of classes, it is a difference of
log odds. The effects of all words of a text are summed, like the log ratios of naive Bayes (Wang &
Manning 2012). The effects of its pairs of neighbouring words ("not good") are summed too. Training rows
read sums without their own target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tabemb.data.pairs import find_keys
from tabemb.data.shrinkage import LevelSums
from tabemb.data.vocabulary import N_SPECIAL

LENGTHS = (1, 2)
"""Lengths of the word sequences that have effects: single words, and pairs of neighbours."""
Link = Callable[[np.ndarray], np.ndarray]
"""Function from differences of means to effects."""


class Text(NamedTuple):
    """The words of n rows: row i has the codes from ``offsets[i]`` up to ``offsets[i + 1]``."""

    offsets: np.ndarray
    codes: np.ndarray


class Held(NamedTuple):
    """The distinct levels in each row: row ``rows[j]`` contains level ``positions[j]``."""

    offsets: np.ndarray
    positions: np.ndarray

    @classmethod
    def of(cls, n_rows: int, rows: np.ndarray, positions: np.ndarray) -> Held:
        """Concatenate the levels by row, without repetition."""
        width = int(positions.max(initial=0)) + 1
        distinct = np.unique(rows.astype(np.int64) * width + positions)
        counts = np.bincount(distinct // width, minlength=n_rows)
        return cls(np.concatenate([[0], np.cumsum(counts)]), distinct % width)

    @property
    def rows(self) -> np.ndarray:
        """The row of each level."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def take(self, rows: np.ndarray) -> Held:
        """Return the levels of the given rows."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return Held(offsets, self.positions[places])


@dataclass
class WordEffects:
    """The effects of the words of one text column, or of its pairs of neighbouring words.

    Parameters
    ----------
    text : int
        Position of the column among the texts.
    length : int
        1 for words, 2 for pairs of neighbours.
    keys : ndarray of int64, shape (n_levels,)
        The known words or pairs, sorted.
    counts : ndarray of shape (n_levels,)
        Sum of the weights of the rows that contain each level.
    sums : ndarray of shape (n_levels, n_responses)
        Sums of the centred responses of these rows.
    strength : float
        Number of rows at the mean of all rows that the shrinkage adds to each level.
    gain : float
        Share of the target's variance that single levels explain out of sample.
    units : ndarray of shape (n_responses + 1,)
        Standard deviation over training rows of the sums of effects, and the mean log count of levels.
    """

    text: int
    length: int
    keys: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    strength: float
    gain: float
    units: np.ndarray

    @classmethod
    def fit(
        cls,
        index: int,
        length: int,
        text: Text,
        centered: np.ndarray,
        weights: np.ndarray,
        link: Link,
    ) -> WordEffects:
        """Sum the responses by level.

        Parameters
        ----------
        index : int
            Position of the column among the texts.
        length : int
        text : Text
            The texts of all rows that may be used for training.
        centered : ndarray of shape (n_rows, n_responses)
        weights : ndarray of shape (n_rows,)
            Rows of weight zero are not training rows.
        link : callable
        """
        rows, keys_of_rows = _keys(text, length)
        keys, positions = np.unique(keys_of_rows, return_inverse=True)
        no_sums = np.zeros((len(keys), centered.shape[1]))
        effects = cls(index, length, keys, np.zeros(len(keys)), no_sums, 1.0, 0.0, np.ones(1))
        if not len(keys):
            return effects
        held = Held.of(len(centered), rows, positions)
        effects.refit_sums(held, centered, weights)
        of_level, of_rows = held.positions, held.rows
        sums = LevelSums.from_rows(of_level, centered[of_rows], weights[of_rows])
        effects.strength, effects.gain = map(float, sums.best_strength())
        effects._fit_units(held, centered, weights, link)
        return effects

    def _fit_units(self, held: Held, centered: np.ndarray, weights: np.ndarray, link: Link) -> None:
        """Measure the units on sums that leave each row out, which resemble those of new rows."""
        self.units = np.ones(centered.shape[1] + 1)
        each = np.arange(len(centered))
        values = self.out_of_fold(held, each, each, centered, weights, link)
        spread = np.sqrt(np.average(np.square(values[:, :-1]), axis=0, weights=weights))
        count = np.average(values[:, -1], weights=weights)
        self.units = np.maximum(np.append(spread, count), 1e-6)

    def held(self, text: Text) -> Held:
        """Return the known levels in each row."""
        rows, keys_of_rows = _keys(text, self.length)
        positions = find_keys(self.keys, keys_of_rows)
        is_known = positions < len(self.keys)
        return Held.of(len(text.offsets) - 1, rows[is_known], positions[is_known])

    def grown(self, text: Text, centered: np.ndarray, weights: np.ndarray) -> WordEffects:
        """Return effects whose counts and sums include later rows; strength and units stay."""
        keys_of_rows = _keys(text, self.length)[1]
        keys = np.unique(np.concatenate([self.keys, keys_of_rows]))
        wider = replace(self, keys=keys)
        wider.refit_sums(wider.held(text), centered, weights)
        places = np.searchsorted(keys, self.keys)
        wider.counts[places] += self.counts
        wider.sums[places] += self.sums
        return wider

    def refit_sums(self, held: Held, centered: np.ndarray, weights: np.ndarray) -> None:
        """Compute counts and sums of the levels again; levels, strength and units stay."""
        rows, n_levels = held.rows, len(self.keys)
        self.counts = np.bincount(held.positions, weights[rows], n_levels)
        weighted = (centered * weights[:, None])[rows]
        self.sums = np.stack([np.bincount(held.positions, w, n_levels) for w in weighted.T], axis=1)

    def transform(self, text: Text, link: Link) -> np.ndarray:
        """Return the features of any rows, float32 (n_rows, n_responses + 1).

        They are the sum of the effects of the row's levels on each response, and the logarithm of the
        number of levels with training rows. For training rows they include the row's target.
        """
        held = self.held(text)
        return self._features(held, self.sums[held.positions], self.counts[held.positions], link)

    def out_of_fold(
        self,
        held: Held,
        rows: np.ndarray,
        folds: np.ndarray,
        centered: np.ndarray,
        weights: np.ndarray,
        link: Link,
    ) -> np.ndarray:
        """Return the features of some rows, computed from the rows outside of their folds.

        Parameters
        ----------
        held : Held
            The levels of all rows that may be used for training.
        rows : ndarray of int
            Positions of the rows.
        folds : ndarray of int, shape (len(rows),)
        centered, weights : ndarray
            For all rows, as in `fit`.
        """
        part = held.take(rows)
        of_rows = part.rows
        cells = part.positions * (int(folds.max(initial=0)) + 1) + folds[of_rows]
        _, cell_of = np.unique(cells, return_inverse=True)
        w = weights[rows][of_rows]
        weighted = centered[rows][of_rows] * w[:, None]
        *fold_sums, fold_counts = [np.bincount(cell_of, column)[cell_of] for column in (*weighted.T, w)]
        counts = np.maximum(self.counts[part.positions] - fold_counts, 0.0)  # rounding can give < 0
        sums = self.sums[part.positions] - np.stack(fold_sums, axis=1)
        return self._features(part, sums, counts, link)

    def _features(self, held: Held, sums: np.ndarray, counts: np.ndarray, link: Link) -> np.ndarray:
        effects = link(sums / (counts + self.strength)[:, None])
        rows, n_rows = held.rows, len(held.offsets) - 1
        totals = [np.bincount(rows, column, n_rows) for column in effects.T]
        n_known = np.bincount(rows, counts > 0, n_rows)
        features: np.ndarray = np.stack([*totals, np.log1p(n_known)], axis=1) / self.units
        return features.astype(np.float32)


def _keys(text: Text, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and the key of each known word, or of each pair of neighbouring known words."""
    rows = np.repeat(np.arange(len(text.offsets) - 1), np.diff(text.offsets))
    codes, is_known = text.codes.astype(np.int64), text.codes >= N_SPECIAL
    if length == 1:
        return rows[is_known], codes[is_known]
    is_pair = is_known[:-1] & is_known[1:] & (rows[:-1] == rows[1:])
    return rows[:-1][is_pair], (codes[:-1] << 32 | codes[1:])[is_pair]
