"""The hold-out: which rows train, which validate, and whether the validation rows train in the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

from tabemb.data.sampling import MOST_ROWS, largest
from tabemb.fitting.checks import Rows
from tabemb.fitting.settings import RowSettings
from tabemb.labels import distinct, readable

MIN_ROWS = 100
"""Rows from which ``early_stopping="auto"`` holds some out: fewer are too few to choose an epoch."""


@dataclass(frozen=True)
class Holdout:
    """The rows that train and those that validate."""

    rows: Rows
    """The rows that vocabularies and scales are fitted on."""
    validation: Rows | None = None
    """Other rows, which choose the best epoch and never train."""
    train: np.ndarray | None = None
    """Positions in ``rows`` of the rows that train first; None: all train from the start.

    The other rows validate this training. Then all of ``rows`` train for a few more epochs.
    """

    @property
    def refit(self) -> bool:
        """Whether validation rows train in the end."""
        return self.train is not None

    @property
    def rest(self) -> np.ndarray:
        """Positions in ``rows`` of the rows that validate first and train in the end."""
        validates = np.zeros(len(self.rows), bool)
        if self.train is not None:
            validates[:] = True
            validates[self.train] = False
        return np.flatnonzero(validates)

    def sample(self, positions: np.ndarray) -> Holdout:
        """Return the hold-out of some of the rows."""
        if self.train is None:
            return Holdout(self.rows.take(positions), self.validation)
        trains = np.zeros(len(self.rows), bool)
        trains[self.train] = True
        return Holdout(self.rows.take(positions), train=np.flatnonzero(trains[positions]))

    @property
    def n_validation(self) -> int:
        """Number of rows that validate."""
        return len(self.rest) if self.validation is None else len(self.validation)


def hold_out(
    rows: Rows,
    validation: Rows | None,
    settings: RowSettings,
    *,
    groups: np.ndarray | None,
    stratify: bool,
    seed: int,
) -> Holdout:
    """Decide which rows train and which validate.

    Parameters
    ----------
    rows : Rows
        All rows that were passed to ``fit``.
    validation : Rows, optional
        Rows that were passed as ``eval_X`` and ``eval_y``.
    settings : RowSettings
        ``early_stopping``, ``validation_fraction`` and ``max_epochs`` are read.
    groups : ndarray of shape (n_rows,), optional
        Groups of rows that are held out as a whole.
    stratify : bool
        Whether to keep the shares of the classes, if there are enough rows.
    seed : int
    """
    if validation is not None:
        return Holdout(rows, validation)
    if settings.early_stopping is True and len(rows) >= 2:
        train, rest = _split(rows.y, settings, groups, stratify, seed)
        return Holdout(rows.take(np.sort(train)), rows.take(np.sort(rest)))
    has_several_groups = groups is None or len(np.unique(groups)) > 1
    if validates_by_itself(settings, len(rows)) and has_several_groups:
        train, _ = _split(rows.y, settings, groups, stratify, seed)
        return Holdout(rows, train=train)
    return Holdout(rows)


def validates_by_itself(settings: RowSettings, n_rows: int) -> bool:
    """Return whether ``early_stopping="auto"`` holds out rows, which train in the end."""
    is_auto = settings.early_stopping == "auto" and settings.max_epochs == "auto"
    return is_auto and n_rows >= MIN_ROWS


def _split(
    y: np.ndarray, settings: RowSettings, groups: np.ndarray | None, stratify: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the rows that train and of those that validate."""
    if groups is None and len(y) > MOST_ROWS:
        return split_many(len(y), settings.validation_fraction)
    splitter = _splitter(y, settings, groups, stratify, seed)
    train, rest = next(splitter.split(np.zeros(len(y)), readable(y), groups))
    return train, rest


def split_many(n_rows: int, fraction: float | str) -> tuple[np.ndarray, np.ndarray]:
    """Let the rows with the largest keys validate: with very many rows, each class is among them."""
    rest = largest(n_rows, n_of_many(n_rows, fraction))
    return np.delete(np.arange(n_rows), rest), rest


def n_of_many(n_rows: int, fraction: float | str) -> int:
    """Return the number of rows that validate."""
    return max(1, round(n_rows * _validation_share(fraction, n_rows)))


def _splitter(
    y: np.ndarray, settings: RowSettings, groups: np.ndarray | None, stratify: bool, seed: int
) -> GroupShuffleSplit | ShuffleSplit | StratifiedShuffleSplit:
    share = _validation_share(settings.validation_fraction, len(y))
    if groups is not None:
        return GroupShuffleSplit(1, test_size=share, random_state=seed)
    if stratify and y.ndim == 1:
        counts = np.bincount(distinct(y)[1])
        if counts.min() >= 2 and share * len(y) >= len(counts):  # both parts have rows of each class
            return StratifiedShuffleSplit(1, test_size=share, random_state=seed)
    return ShuffleSplit(1, test_size=share, random_state=seed)


def _validation_share(fraction: float | str, n_rows: int) -> float:
    """Return a tenth, or less of many rows: a more certain choice is not worth the training rows."""
    return min(0.1, 10 / n_rows**0.5) if fraction == "auto" else float(fraction)
