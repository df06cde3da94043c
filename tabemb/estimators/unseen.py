"""Unseen categories in the rows of a prediction, which may come in many batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np


class UnseenCells:
    """The share of unseen categories in each categorical column, over all rows that were added.

    Examples
    --------
    >>> cells = UnseenCells()
    >>> cells.add(np.array([[True, False]]), np.ones(1))
    >>> cells.add(np.array([[False, False], [True, False], [False, False]]), np.ones(3))
    >>> cells.shares.tolist()
    [0.5, 0.0]
    """

    def __init__(self) -> None:
        self.n_rows = 0.0
        self.counts: np.ndarray | float = 0.0

    def add(self, is_unseen: np.ndarray, weights: np.ndarray) -> None:
        """Count more rows.

        Parameters
        ----------
        is_unseen : ndarray of bool of shape (n_rows, n_categorical)
        weights : ndarray of shape (n_rows,)
        """
        self.n_rows += float(weights.sum())
        self.counts = self.counts + weights @ is_unseen

    @property
    def shares(self) -> np.ndarray:
        """The share of unseen cells by column, (n_categorical,)."""
        return np.asarray(self.counts / max(self.n_rows, 1.0))


_COLLECTED: ContextVar[UnseenCells | None] = ContextVar("unseen", default=None)


@contextmanager
def as_one_input() -> Iterator[UnseenCells]:
    """Collect the unseen cells of all predictions in this context; no single prediction warns."""
    cells = UnseenCells()
    token = _COLLECTED.set(cells)
    try:
        yield cells
    finally:
        _COLLECTED.reset(token)


def collected() -> UnseenCells | None:
    """Return the cells that `as_one_input` collects; None outside its context."""
    return _COLLECTED.get()
