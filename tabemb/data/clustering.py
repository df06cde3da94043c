"""Correlated answers of one entity: how many independent rows the events of a level are worth.

If every entity has m of n rows, their mean varies like the mean of n / (1 + (m - 1) rho) independent
rows, where rho is the correlation of two answers of one entity (Kish 1965).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tabemb.data.effects import Effects
from tabemb.data.term_levels import TermLevels


@dataclass
class Clustering:
    """The correlation of the answers of one entity, in the training rows.

    Parameters
    ----------
    correlations : ndarray of shape (n_terms + 1,)
        Correlation of two answers of one entity within a level, by term; the last is over all rows.
    sizes : list of n_terms + 1 ndarrays of shape (n_levels,)
        How many rows the entity of a row has within the level: the average over the rows of each level.
        The levels are those of `Effects.levels_of`; the last array treats all rows as one level.
    """

    correlations: np.ndarray
    sizes: list[np.ndarray]

    @classmethod
    def of(
        cls,
        effects: Effects,
        codes: np.ndarray,
        numbers: np.ndarray,
        centered: np.ndarray,
        groups: np.ndarray,
    ) -> Clustering:
        """Measure the correlations in training rows.

        Parameters
        ----------
        effects : Effects
        codes, numbers : ndarray
            As in `Effects.fit`.
        centered : ndarray of shape (n_rows, n_responses)
            From `Effects.center`.
        groups : ndarray of shape (n_rows,), whole numbers
            The entity of each row.
        """
        everyone = np.zeros(len(codes), np.int64)
        levels = [*effects.levels_at(codes, numbers), everyone]
        n_levels = [*(len(effects.levels_of(t).counts) for t in range(len(levels) - 1)), 1]
        parts = [alike_answers(ids, groups, centered) for ids in levels]
        sizes = [sizes_of(ids, groups, n) for ids, n in zip(levels, n_levels)]
        return cls(np.array(parts), sizes)

    def worth(self, t: int, levels: TermLevels) -> TermLevels:
        """Return the levels of a term with counts of independent rows, and the errors that follow."""
        design = 1 + (self.sizes[t] - 1) * self.correlations[t]
        counts, errors = levels.counts / design, levels.errors * np.sqrt(design)[:, None]
        return replace(levels, counts=counts, errors=errors)

    def share(self, t: int, ids: np.ndarray, groups: np.ndarray, n_levels: int) -> np.ndarray:
        """Return how many independent rows a later row of each level is worth, (n_levels,), 0 to 1.

        Parameters
        ----------
        t : int
            The term; -1 for all rows.
        ids : ndarray of shape (n_rows,)
            Level of each row; -1 for none.
        groups : ndarray of shape (n_rows,)
        n_levels : int
        """
        sizes = sizes_of(ids, groups, n_levels)
        return np.asarray(1 / (1 + (sizes - 1) * self.correlations[t]))


def sizes_of(ids: np.ndarray, groups: np.ndarray, n_levels: int) -> np.ndarray:
    """Return how many rows a row's entity has in its level, averaged over each level, (n_levels,)."""
    known = ids >= 0
    cells, counts = _cells(ids[known], groups[known])
    rows = np.bincount(cells, minlength=1)
    squares = np.bincount(ids[known], rows[cells], n_levels)
    counts = np.bincount(ids[known], minlength=n_levels)
    return np.asarray(np.maximum(squares / np.maximum(counts, 1), 1.0))


def _cells(ids: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each row and the level of each cell; a cell is an entity within a level."""
    keys, cells = np.unique(ids * (int(groups.max(initial=0)) + 1) + groups, return_inverse=True)
    return cells, keys // (int(groups.max(initial=0)) + 1)


def alike_answers(ids: np.ndarray, groups: np.ndarray, centered: np.ndarray) -> float:
    """Return the correlation of two answers of one entity in one level, 0 to 1.

    Levels with a single entity are left out. The mean of a level of g entities contains 1 / g of an
    entity's effect, which a factor of g / (g - 1) makes up for.
    """
    known = ids >= 0
    ids, groups, centered = ids[known], groups[known], centered[known]
    if not len(ids):
        return 0.0
    cells, levels = _cells(ids, groups)
    n_entities = np.bincount(levels)
    has_several = n_entities[levels] > 1
    rows = np.bincount(cells).astype(float)
    of_levels = np.stack([np.bincount(ids, column) for column in centered.T], axis=1)
    rest = centered - (of_levels / np.maximum(np.bincount(ids), 1)[:, None])[ids]
    sums = np.stack([np.bincount(cells, column) for column in rest.T], axis=1)
    squares = np.bincount(cells, np.square(rest).sum(1))
    factor = n_entities[levels] / np.maximum(n_entities[levels] - 1, 1)
    products = (factor * (np.square(sums).sum(1) - squares))[has_several].sum()
    n_rows, n_pairs = (part[has_several].sum() for part in (rows, rows * (rows - 1)))
    variance = squares[has_several].sum() / max(n_rows, 1.0)
    return float(np.clip(products / (n_pairs * variance), 0, 1)) if n_pairs * variance else 0.0
