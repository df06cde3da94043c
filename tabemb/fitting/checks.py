"""Checks of the rows, targets and weights that a user passes."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_consistent_length

from tabemb.data.frames import feature_names, is_frame, to_arrow
from tabemb.fitting.recency import recency_weights, with_recency
from tabemb.fitting.target_values import target_values
from tabemb.fitting.weights import check_weights
from tabemb.labels import as_objects, is_label, natural, readable, side_by_side


@dataclass(frozen=True)
class Rows:
    """Rows of a frame with their targets and weights.

    Parameters
    ----------
    frame : pyarrow.Table of n_rows rows
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
    weights : ndarray of shape (n_rows,), optional
        None: every row has weight one.
    """

    frame: pa.Table
    y: np.ndarray
    weights: np.ndarray | None

    def take(self, rows: np.ndarray) -> Rows:
        """Return the given rows, in the given order."""
        weights = None if self.weights is None else self.weights[rows]
        return Rows(self.frame.take(pa.array(rows)), self.y[rows], weights)

    @property
    def all_weights(self) -> np.ndarray:
        """The weight of each row; ones if ``weights`` is None."""
        return np.ones(len(self)) if self.weights is None else self.weights

    def with_weight(self) -> Rows:
        """Return the rows whose weight is not zero, as if the others had not been passed."""
        if self.weights is None or self.weights.all():
            return self
        return self.take(np.flatnonzero(self.weights))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)


def check_rows(
    X: Any,
    y: Any,
    sample_weight: Any,
    *,
    numeric: bool,
    estimator: Any,
    name: str = "y",
    columns: Columns | None = None,
    time: Any = None,
    half_life: float | None = None,
) -> Rows:
    """Return the rows to fit on, without those of weight zero.

    Parameters
    ----------
    X, y, sample_weight : as in ``fit``
    numeric : bool
        Whether the target must be numbers.
    estimator : estimator
        Named in errors.
    name : str, default="y"
        Name of the target in errors.
    columns : Columns, optional
        The columns of an earlier fit, which X must have.
    time, half_life : as in `recency_weights`
    """
    frame = to_arrow(X, estimator) if columns is None else columns.align(X, estimator)
    target = check_target(y, name, numeric)
    check_consistent_length(np.empty(frame.num_rows), target)
    weights = check_weights(sample_weight, frame.num_rows)
    weights = with_recency(weights, recency_weights(time, half_life, frame))
    return Rows(frame, target, weights).with_weight()


def check_target(y: Any, name: str, numeric: bool) -> np.ndarray:
    """Return the target as numpy, float64 if ``numeric``, else labels as the user gave them.

    Raises
    ------
    ValueError
        None, missing, masked or infinite values, text where numbers are needed, more than two
        dimensions.
    """
    if y is None:
        raise ValueError(f"This estimator requires y to be passed, but the target {name} is None.")
    if isinstance(y, str):
        raise ValueError(f"{name} must hold the target values, not the name of a column; got {y!r}.")
    values = target_values(y, name)
    if values.ndim not in (1, 2):
        raise ValueError(
            f"{name} should be a 1d array or a 2d array of several targets; got shape {values.shape}."
        )
    if values.dtype.kind == "c" or (numeric and values.dtype.kind in "mM"):
        kind = "Complex data" if values.dtype.kind == "c" else "Times (convert them to numbers first)"
        raise ValueError(f"{kind} not supported in {name}.")
    _check_complete(values, name)
    return _as_floats(values, name) if numeric else _as_labels(values, name)


def _check_complete(values: np.ndarray, name: str) -> None:
    bad = pd.isna(values) | _is_infinite(values)
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        raise ValueError(
            f"{name} must not hold missing or infinite values (NaN, inf); found {int(bad.sum())}, the "
            f"first in row {place[0]}, {values[place]!s}; leave such rows out before fit."
        )


def _is_infinite(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return np.isinf(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    numbers = (float, np.floating, Decimal)
    flat = (isinstance(value, numbers) and abs(value) == math.inf for value in values.flat)
    return np.fromiter(flat, dtype=bool, count=values.size).reshape(values.shape)


def _as_floats(values: np.ndarray, name: str) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # overflow is found below
            floats = values.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        objects = values.astype(object)
        place = next(place for place in np.ndindex(values.shape) if not _is_number(objects[place]))
        raise ValueError(
            f"{name} must hold numbers for a regressor; row {place[0]} holds {objects[place]!r:.60}."
        ) from error
    _check_complete(floats, name)
    return floats


def _is_number(value: Any) -> bool:
    try:
        as_objects([value]).astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _as_labels(values: np.ndarray, name: str) -> np.ndarray:
    if values.ndim == 2 and values.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
            "(n_samples,), for example using ravel().",
            DataConversionWarning,
            stacklevel=5,
        )
        values = values[:, 0]
    if values.dtype != object:
        return values
    for place in np.ndindex(values.shape):
        if not is_label(values[place]):
            raise ValueError(
                f"{name} must hold labels that can be hashed; row {place[0]} holds "
                f"{values[place]!r:.60}."
            )
    return natural(values) if values.ndim == 1 else side_by_side([natural(c) for c in values.T])


def check_groups(groups: Any, n_rows: int) -> np.ndarray | None:
    """Return the group of each row, (n_rows,), or None.

    Raises
    ------
    ValueError
        The shape is wrong, or a group is missing.
    """
    if groups is None:
        return None
    values = target_values(groups, "groups")
    if values.shape != (n_rows,):
        raise ValueError(f"groups must have the shape ({n_rows},), one a row; got {values.shape}.")
    _check_complete(values, "groups")
    return readable(_as_labels(values, "groups"))


@dataclass(frozen=True)
class Columns:
    """The columns that ``fit`` saw: their number, and their names where X was a frame."""

    n: int
    names: np.ndarray | None

    @classmethod
    def of(cls, X: Any, frame: pa.Table) -> Self:
        """Read the columns from the user's X and the same rows as Arrow."""
        names = feature_names(X)
        return cls(frame.num_columns, None if names is None else np.asarray(names, dtype=object))

    @classmethod
    def seen_by(cls, estimator: Any) -> Self:
        """Read the columns of a fitted estimator."""
        return cls(estimator.n_features_in_, getattr(estimator, "feature_names_in_", None))

    def remember(self, estimator: Any) -> None:
        """Set scikit-learn's ``n_features_in_`` and, for a frame, ``feature_names_in_``."""
        estimator.n_features_in_ = self.n
        if self.names is not None:
            estimator.feature_names_in_ = self.names
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_

    def align(self, X: Any, estimator: Any) -> pa.Table:
        """Return other rows as Arrow: columns matched by name in a frame, by position in an array.

        Raises
        ------
        ValueError
            An array has another number of columns.
        """
        frame = to_arrow(X, estimator)
        if is_frame(X) and feature_names(X) is not None and self.names is not None:
            return frame
        name = type(estimator).__name__
        if frame.num_columns != self.n:
            raise ValueError(
                f"X has {frame.num_columns} features, but {name} is expecting {self.n} features "
                "as input."
            )
        return self._by_position(frame, name)

    def _by_position(self, frame: pa.Table, estimator: str) -> pa.Table:
        if self.names is not None:
            warnings.warn(
                f"X does not have valid feature names, but {estimator} was fitted with feature names",
                UserWarning,
                stacklevel=6,
            )
            return frame.rename_columns(list(self.names))
        names = [f"x{i}" for i in range(frame.num_columns)]
        if frame.schema.names != names:
            warnings.warn(
                f"X has feature names, but {estimator} was fitted without feature names",
                UserWarning,
                stacklevel=6,
            )
        return frame.rename_columns(names)


def align_columns(estimator: Any, X: Any) -> pa.Table:
    """Return rows for a fitted estimator as Arrow, as `Columns.align` does."""
    return Columns.seen_by(estimator).align(X, estimator)


def frame_tags(tags: Any) -> Any:
    """Set scikit-learn's tags of an estimator that takes any frame and one or several targets."""
    tags.input_tags.allow_nan = True
    tags.input_tags.string = True
    tags.input_tags.categorical = True
    tags.target_tags.required = True
    tags.target_tags.multi_output = True
    tags.transformer_tags.preserves_dtype = []
    return tags
