"""The columns of a split: roles, levels, missing values, oddities; how rare categories are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from tabemb.compare.digits import percent
from tabemb.compare.preparation import Columns, as_text, sort_columns

BINS = (("unseen", 0, 0), ("1-9", 1, 9), ("10-99", 10, 99), ("100+", 100, np.inf))
"""Bins by the frequency of a row's rarest category in the training rows: name, lowest, highest."""
_ALL_UNSEEN = 0.95
"""Share of test rows with an unseen category from which a column is not used to bin the rows."""
_MANY_UNSEEN = 0.2
_SAME_ORDER = 0.995
"""Rank correlation with the target from which a column is suspected to leak it."""
_MIN_ROWS, _MAX_RANKED = 30, 50_000
"""Fewest rows for such a suspicion, and about the largest number of rows that are ranked."""


@dataclass(frozen=True)
class SplitColumns:
    """The columns of the training and test rows of a split.

    Parameters
    ----------
    train, test : DataFrame
    y : array of shape (n_train,)
        Training targets, numbers or codes of classes.
    task : {"binary", "multiclass", "regression"}
    roles : mapping
        As in `sort_columns`.
    notes : mapping
        Doubts about columns that are already known, by column.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    y: np.ndarray
    task: str
    roles: Mapping[str, str]
    notes: Mapping[str, str]

    @cached_property
    def kinds(self) -> Columns:
        """The columns by kind."""
        return sort_columns(self.train, self.roles)

    @cached_property
    def codes(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The codes of training and test rows by categorical column; missing values have a code too."""
        return {
            column: _codes(self.train[column], self.test[column]) for column in self.kinds.categorical
        }

    @cached_property
    def frequencies(self) -> dict[str, np.ndarray]:
        """Number of training rows with the category of each test row, by categorical column."""
        return {column: _counts(train, test)[test] for column, (train, test) in self.codes.items()}

    @cached_property
    def dividing(self) -> list[str]:
        """Categorical columns, except those (such as ids) that are unseen in nearly all test rows."""
        counted = [name for name, n in self.frequencies.items() if np.mean(n == 0) < _ALL_UNSEEN]
        return counted or list(self.frequencies)

    def rarest(self) -> np.ndarray | None:
        """Return the frequency of each test row's rarest category; None without categorical columns."""
        frequencies = [self.frequencies[column] for column in self.dividing]
        return np.min(frequencies, axis=0) if frequencies else None

    def described(self) -> list[dict[str, Any]]:
        """Return for each column `column`, `role`, `levels`, `missing`, `unseen` and `note`.

        `levels` counts distinct values of the training rows, `missing` is a share of them, `unseen` the
        share of test rows with a category that no training row has (None for numbers and dates).
        """
        return [self._described(column) for column in self.train.columns]

    def _described(self, column: str) -> dict[str, Any]:
        values, frequencies = self.train[column], self.frequencies.get(column)
        row = {
            "column": str(column),
            "role": self._role(column),
            "levels": self._n_levels(column),
            "missing": float(values.isna().mean()),
            "unseen": None if frequencies is None else float(np.mean(frequencies == 0)),
        }
        notes = [
            self.notes.get(str(column), ""),
            *oddities(row, len(values)),
            self._target_in(column, row),
        ]
        return {**row, "note": "; ".join(filter(None, notes))}

    def _n_levels(self, column: str) -> int:
        if column not in self.codes:
            return int(self.train[column].nunique())
        return len(np.unique(self.codes[column][0])) - int(self.train[column].isna().any())

    def _role(self, column: str) -> str:
        if column in self.kinds.categorical:
            return "categorical"
        if column in self.kinds.datetimes:
            return "datetime"
        return "boolean" if types.is_bool_dtype(self.train[column]) else "number"

    def _target_in(self, column: str, row: Mapping[str, Any]) -> str:
        """Return a note if the column nearly determines the target, else an empty text."""
        values = self.train[column]
        if values.notna().sum() < _MIN_ROWS or row["levels"] < 2:
            return ""
        if self.task == "regression" and row["role"] == "number":
            return _same_order(values, self.y)
        if self.task != "regression" and 2 * row["levels"] < len(values):
            codes = self.codes[column][0] if column in self.codes else pd.factorize(values)[0]
            return _same_classes(codes, self.y)
        return ""


def _codes(train: pd.Series, test: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    texts = as_text(pd.concat([train, test], ignore_index=True).to_frame("x"))["x"]
    codes = pd.factorize(texts, use_na_sentinel=False)[0]
    return codes[: len(train)], codes[len(train) :]


def _counts(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the number of training rows with each code."""
    return np.bincount(train, minlength=int(test.max(initial=-1)) + 1)


def oddities(row: Mapping[str, Any], n_rows: int) -> Sequence[str]:
    """Return notes on a column that is empty, constant, different in each row, or often unseen."""
    if row["levels"] == 0:
        return ["no training row has a value"]
    if row["levels"] == 1:
        return ["one value only, which says nothing" if not row["missing"] else "one value, or none"]
    if row["role"] != "categorical":
        return []
    if n_rows >= _MIN_ROWS and row["levels"] > 0.9 * n_rows * (1 - row["missing"]):
        return ["another category in nearly every row, as ids and texts have"]
    if row["unseen"] > _MANY_UNSEEN:
        return [f"{percent(row['unseen'])} of the test rows have a category that no training row has"]
    return []


def _same_order(values: pd.Series, y: np.ndarray) -> str:
    step = max(len(values) // _MAX_RANKED, 1)
    values, y = values.iloc[::step], y[::step]
    numbers = values.dt.total_seconds() if types.is_timedelta64_dtype(values) else values
    known = numbers.notna().to_numpy()
    if known.sum() < _MIN_ROWS:
        return ""
    ranks = numbers[known].astype(float).rank().to_numpy(), pd.Series(y[known]).rank().to_numpy()
    if min(rank.std() for rank in ranks) == 0:
        return ""
    correlation = float(np.corrcoef(*ranks)[0, 1])
    if abs(correlation) < _SAME_ORDER:
        return ""
    return (
        f"orders the rows as the target does (rank correlation {correlation:.3f}): is it known "
        "before the target is?"
    )


def _same_classes(codes: np.ndarray, y: np.ndarray) -> str:
    counts = pd.DataFrame({"level": codes, "class": y}).value_counts()
    share = float(counts.groupby("level").max().sum()) / len(y)
    base = float(counts.groupby("class").sum().max()) / len(y)
    if base == 1 or 1 - share > 0.05 * (1 - base):
        return ""
    return (
        f"decides the class of {percent(share)} of the training rows: is it known before the class is?"
    )


def error_by_rarity(losses: np.ndarray, rarest: np.ndarray) -> dict[str, list[Any]]:
    """Sum the losses of the test rows by the frequency of their rarest category.

    Parameters
    ----------
    losses : array of shape (n_rows,)
        The main loss of each test row.
    rarest : array of shape (n_rows,)
        As from `SplitColumns.rarest`.

    Returns
    -------
    dict
        `bin`, `n_rows`, `total` (sum of the losses) and `squares` (sum of their squares). The sums of
        several cells can be added up.

    Examples
    --------
    >>> error_by_rarity(np.array([4.0, 1.0, 3.0]), np.array([0, 7, 9]))["total"]
    [4.0, 4.0, 0.0, 0.0]
    """
    losses = np.asarray(losses, dtype=float)
    parts = [losses[(rarest >= low) & (rarest <= high)] for _, low, high in BINS]
    return {
        "bin": [name for name, _, _ in BINS],
        "n_rows": [len(part) for part in parts],
        "total": [float(part.sum()) for part in parts],
        "squares": [float(np.square(part).sum()) for part in parts],
    }
