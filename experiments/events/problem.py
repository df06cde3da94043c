"""One prediction problem on an event log, in every form that a model needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

Probabilities = tuple[np.ndarray, np.ndarray]
"""Probabilities of the test rows, (n_test, n_classes), and the class of each column."""


@dataclass
class EventProblem:
    """Rows with their events, the same rows with aggregates instead, the targets and the split.

    Parameters
    ----------
    histories : DataFrame of n_rows
        Each row with its events as a list column; the log itself if every event has a target.
    aggregates : DataFrame of n_rows
        Each row with counts, means and the like of the same events.
    y : ndarray of shape (n_rows,)
    is_test : ndarray of bool, shape (n_rows,)
    groups : ndarray of shape (n_rows,), optional
        The group of each row; rows of one group are never in two folds.
    log : DataFrame of n_rows, optional
        The log, if every event has a target.
    net_params : dict
        Arguments of the networks.
    metrics : tuple of str
        Names of :data:`experiments.events.metrics.METRICS`.
    is_scored : ndarray of bool, shape (n_test,), optional
        The test rows that the metrics count; all by default.
    predictions : dict
        Probabilities by model and seed, so that a mean of models need not fit them again.
    """

    histories: pd.DataFrame
    aggregates: pd.DataFrame
    y: np.ndarray
    is_test: np.ndarray
    groups: np.ndarray | None = None
    log: pd.DataFrame | None = None
    net_params: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("auc", "log_loss")
    is_scored: np.ndarray | None = None
    predictions: dict[tuple[str, int], Probabilities] = field(default_factory=dict)

    def split(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the training rows and the test rows of a frame."""
        return frame[~self.is_test], frame[self.is_test]

    @property
    def y_train(self) -> np.ndarray:
        """Targets of the training rows."""
        return np.asarray(self.y[~self.is_test])

    @property
    def y_test(self) -> np.ndarray:
        """Targets of the test rows."""
        return np.asarray(self.y[self.is_test])

    def scored(self, test_rows: np.ndarray) -> np.ndarray:
        """Return the test rows of an array that the metrics count."""
        return test_rows if self.is_scored is None else test_rows[self.is_scored]

    def training_only(self, is_test: np.ndarray) -> EventProblem:
        """Return the problem with the training rows only, some of which become test rows.

        Parameters
        ----------
        is_test : ndarray of bool, shape (n_rows,)
        """
        rows = ~self.is_test
        return replace(
            self,
            histories=self.histories[rows],
            aggregates=self.aggregates[rows],
            y=self.y[rows],
            is_test=is_test[rows],
            groups=None if self.groups is None else self.groups[rows],
            log=None if self.log is None else self.log[rows],
            is_scored=None,
            predictions={},
        )
