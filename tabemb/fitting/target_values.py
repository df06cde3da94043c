"""Convert the y of any library to numpy, with every value as the user gave it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.sparse import issparse

from tabemb.data.frames import is_frame, to_vector
from tabemb.data.keys import key_of
from tabemb.data.values import OBJECT, Column, types_metadata
from tabemb.labels import as_objects, natural, side_by_side
from tabemb.targets import first_fraction

MOST_CLASSES = 100
"""Whole numbers with more distinct values may be classes or a quantity: the user must say which."""


def target_values(y: Any, name: str) -> np.ndarray:
    """Return y as numpy, (n,) or (n, n_targets).

    If y mixes text with numbers or missing values, numpy would make them text; here they stay objects.

    Parameters
    ----------
    y : Series, frame, array or list
    name : str
        Name of the target in errors.

    Raises
    ------
    ValueError
        A masked cell or a sparse matrix.
    """
    if issparse(y):
        raise ValueError(f"{name} must not be sparse; pass {name}.toarray().")
    check_mask(y, name)
    if isinstance(y, (list, tuple)):
        return _of_list(y)
    if isinstance(y, (pd.Index, pd.api.extensions.ExtensionArray)):
        y = pd.Series(y)
    if not isinstance(y, (np.ndarray, pd.Series, pa.Array, pa.ChunkedArray)) and is_frame(y):
        return side_by_side([_of_column(column) for column in _columns(y)])
    return _of_column(y)


def check_mask(y: Any, name: str) -> None:
    """Raise ValueError where a cell is masked: numpy would read the value under the mask."""
    if np.ma.isMaskedArray(y):
        masked = np.flatnonzero(np.ma.getmaskarray(np.ma.atleast_2d(y.T)).any(axis=0))
    else:
        has_objects = str(getattr(y, "dtype", "")) == "object" and y.ndim
        cells = y if isinstance(y, (list, tuple)) or has_objects else ()
        masked = np.flatnonzero([isinstance(c, np.ma.MaskedArray) and np.ma.is_masked(c) for c in cells])
    if len(masked):
        raise ValueError(
            f"{name} must not hold masked cells; row {masked[0]} is masked; leave such rows out before "
            "fit."
        )


def _columns(frame: Any) -> list[Any]:
    if isinstance(frame, pd.DataFrame):  # narwhals refuses names that are not unique
        return [frame.iloc[:, i] for i in range(frame.shape[1])]
    return list(nw.from_native(frame, eager_only=True).iter_columns())


def _of_column(column: Any) -> np.ndarray:
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    series = nw.from_native(column, pass_through=True, allow_series=True)
    if isinstance(series, nw.Series) and _loses_type(series.dtype):
        return as_objects(series.to_list())
    return to_vector(column if not isinstance(column, nw.Series) else column.to_native())


def _loses_type(dtype: Any) -> bool:
    """Return whether numpy has no type for the values: times of a zone."""
    return isinstance(dtype, nw.Datetime) and dtype.time_zone is not None


def _of_list(y: list[Any] | tuple[Any, ...]) -> np.ndarray:
    objects = np.asarray(y, dtype=object)
    try:
        values = np.asarray(y)
    except ValueError:  # rows of different lengths, or bytes that are no text
        return objects
    if values.dtype.kind in "OmM":
        return values
    has_same = values.shape == objects.shape and values.tolist() == objects.tolist()
    return values if has_same else objects


def label_column(labels: np.ndarray, classes: np.ndarray | None, name: str) -> Column:
    """Return labels (n,) as a column, or as keys if Arrow has no type for all classes.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    classes : ndarray of shape (n_classes,), optional
        All classes of the target, which decide the type; None for a target of numbers.
    name : str
        Name of the target in errors.
    """
    if classes is None or _has_arrow(classes):
        return Column(pa.array(labels))
    keys = [key_of(label, name) for label in labels.tolist()]
    return Column(pa.array(keys, pa.string()), OBJECT | types_metadata(labels, list(keys)))


def _has_arrow(classes: np.ndarray) -> bool:
    if classes.dtype == object and not all(isinstance(label, str) for label in classes):
        return False
    try:
        pa.array(classes)
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def is_quantity(y: np.ndarray) -> bool:
    """Return whether y, (n,) or (n, n_targets), holds a quantity rather than classes.

    Raises
    ------
    ValueError
        There are so many different whole numbers that they may be either.
    """
    columns = [_decimals_as_floats(natural(column)) for column in y.reshape(len(y), -1).T]
    if any(first_fraction(column) is not None for column in columns):
        return True
    n_distinct = max((len(np.unique(c)) for c in columns if c.dtype.kind in "iuf"), default=0)
    if n_distinct > MOST_CLASSES:
        raise ValueError(
            f"y holds {n_distinct} different whole numbers; if they are classes, pass "
            "target_type='classes', and if they are a quantity, target_type='continuous'."
        )
    return False


def _decimals_as_floats(values: np.ndarray) -> np.ndarray:
    has_decimals = values.dtype == object and all(isinstance(value, Decimal) for value in values)
    return values.astype(float) if has_decimals else values
