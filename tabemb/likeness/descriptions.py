"""Likeness of labels by their descriptions: numbers, categories, dates, texts and vectors.

All columns of a description have equal weight: each is centred and scaled to a total variance of one. A
number is divided by its standard deviation; the coordinates of a vector, or the indicators of a
category, are scaled together. A missing cell is at the centre, so it has no influence.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tabemb.likeness.nearest import Likeness
from tabemb.likeness.spelling import spelling_parts

N_AXES = 64
"""Number of axes that the n-grams of a text column are reduced to."""
DAY = 24 * 60 * 60 * 1e6
"""A day in microseconds."""


class Described(NamedTuple):
    """Known and other labels, with a vector that describes each, (n_labels, width)."""

    labels: pd.Index
    vectors: np.ndarray


class Descriptions(Likeness):
    """Labels with descriptive vectors that are compared by cosine.

    Parameters
    ----------
    labels : sequence of hashable
        The known labels; those without a description are not similar to any other.
    described : Described
    """

    def __init__(self, labels: Sequence[Any], described: Described) -> None:
        length = np.linalg.norm(described.vectors, axis=1, keepdims=True)
        self._vectors = (described.vectors / np.where(length > 0, length, 1)).astype(np.float32)
        self.labels = described.labels
        self._rows, self.known = self.rows_of(labels), self.has(labels)

    def of(self, positions: np.ndarray) -> Descriptions:
        """Return the same descriptions with only these known labels."""
        part = copy(self)
        part._rows, part.known = self._rows[positions], self.known[positions]
        return part

    def has(self, labels: Sequence[Any]) -> np.ndarray:
        """Return whether each label has a description."""
        return np.asarray(self._places(labels) >= 0)

    def rows_of(self, labels: Sequence[Any]) -> np.ndarray:
        """Return the vectors of labels, scaled to length one, (n, d); zeros without a description."""
        places = self._places(labels)
        return np.asarray(self._vectors[places] * (places >= 0)[:, None])

    def _places(self, labels: Sequence[Any]) -> np.ndarray:
        return self.labels.get_indexer(pd.Index(labels, dtype=object, tupleize_cols=False))


def described(name: str, given: Any) -> Described:
    """Turn the user's descriptions of a table's categories into vectors.

    Parameters
    ----------
    name : str
        Name of the table in errors.
    given : DataFrame or Series by category, mapping of category -> vector, number or text, or space
        An object with ``vectors`` and ``categories`` is a space.

    Raises
    ------
    TypeError
        It is something else.
    ValueError
        A category occurs twice, or a column has no comparable values.
    """
    frame = _as_frame(name, given)
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()][0]
        raise ValueError(
            f"Table {name!r}: describe must have one row for each category, but {twice!r} has several; "
            "keep one of them."
        )
    if frame.index.hasnans:
        raise ValueError(
            f"Table {name!r}: describe must have a category in each row, but row "
            f"{int(np.argmax(frame.index.isna()))} has none; drop it."
        )
    if not frame.size or frame.isna().all(axis=None):
        raise ValueError(
            f"Table {name!r}: describe must hold a value; it has the shape {frame.shape}, and no "
            "cell has one."
        )
    labels = pd.Index(list(frame.index), dtype=object, tupleize_cols=False)
    blocks = [_scaled(_values_of(name, frame.iloc[:, i])) for i in range(frame.shape[1])]
    return Described(labels, np.hstack(blocks))


def _as_frame(name: str, given: Any) -> pd.DataFrame:
    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, pd.Series):
        return given.to_frame()
    if hasattr(given, "vectors") and hasattr(given, "categories"):
        vectors = pd.Series(list(given.vectors), given.categories, name="vectors", dtype=object)
        return vectors.to_frame()
    if isinstance(given, Mapping):
        index = pd.Index(list(given), dtype=object, tupleize_cols=False)
        return pd.Series(list(given.values()), index, name="description", dtype=object).to_frame()
    raise TypeError(
        f"Table {name!r}: describe must be 'text', a pandas DataFrame or Series indexed by category, an "
        f"EmbeddingSpace, a mapping from category to vector, or None; got {_kind(given)}."
    )


def _kind(value: Any) -> str:
    return repr(value) if isinstance(value, str) else f"an object of type {type(value).__name__}"


def _values_of(name: str, column: pd.Series) -> np.ndarray:
    """Return a column as numbers, (n_rows, width), NaN where missing; width 0 without any value."""
    where = f"Table {name!r}: column {column.name!r} of describe"
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _indicators(column)
    if isinstance(column.dtype, pd.SparseDtype):
        column = pd.Series(column.to_numpy(), column.index, name=column.name)
    cells = column.astype(object).to_numpy()
    present = np.array([_is_present(cell) for cell in cells], dtype=bool)
    if not present.any():
        return np.zeros((len(cells), 0))
    labels, values = column.index[present], cells[present]
    types, read = next((r for r in _READERS if isinstance(values[0], r[0])), ((), _numbers))
    fits = np.array([isinstance(value, types) for value in values])
    if not fits.all():
        at = int(np.argmin(fits))
        raise ValueError(
            f"{where} must hold numbers, dates, texts or vectors, all of one kind; category "
            f"{labels[at]!r} has {values[at]!r:.60}. Convert it, or drop the column."
        )
    values = read(where, labels, values)
    filled = np.full((len(cells), values.shape[1]), np.nan)
    filled[present] = values
    return filled


def _is_present(cell: Any) -> bool:
    return isinstance(cell, (list, tuple, np.ndarray)) or not pd.isna(cell)


def _numbers(where: str, labels: pd.Index, cells: np.ndarray) -> np.ndarray:
    values = np.array([float(cell) for cell in cells])
    infinite = np.isinf(values)
    if infinite.any():
        at = int(np.argmax(infinite))
        raise ValueError(
            f"{where} must hold finite numbers or missing values; category {labels[at]!r} has "
            f"{values[at]}."
        )
    return values[:, None]


def _times(where: str, labels: pd.Index, cells: np.ndarray) -> np.ndarray:
    times = pd.to_datetime(pd.Series(list(cells), dtype=object), utc=True)
    microseconds = times.dt.as_unit("us").astype(np.int64).to_numpy()
    return np.asarray(microseconds / DAY)[:, None]


def _durations(where: str, labels: pd.Index, cells: np.ndarray) -> np.ndarray:
    return np.array([pd.Timedelta(cell).total_seconds() for cell in cells])[:, None]


def _vectors(where: str, labels: pd.Index, cells: np.ndarray) -> np.ndarray:
    lengths = np.array([np.size(cell) for cell in cells])
    wrong = lengths != lengths[0]
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"{where} must hold vectors of one length; category {labels[0]!r} has {lengths[0]} numbers "
            f"and category {labels[at]!r} has {lengths[at]}."
        )
    try:
        values = np.stack([np.asarray(cell, dtype=np.float64).ravel() for cell in cells])
    except (TypeError, ValueError):
        raise ValueError(
            f"{where} holds lists, which must be vectors of numbers; category {labels[0]!r} has "
            f"{cells[0]!r:.60}. Convert them, or drop the column."
        ) from None
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        label = labels[int(np.argmin(finite))]
        raise ValueError(
            f"{where} must hold vectors of finite numbers; that of category {label!r} is not. Pass None "
            "for a category without a vector."
        )
    return values


def _texts(where: str, labels: pd.Index, cells: np.ndarray) -> np.ndarray:
    """Return indicators if texts repeat like categories, otherwise reduced n-grams."""
    distinct = pd.unique(pd.Series(list(cells), dtype=object))
    if 2 * len(distinct) <= len(cells):
        return _indicators(pd.Series(list(cells), dtype="category"))
    from sklearn.decomposition import TruncatedSVD  # slow to import

    parts = spelling_parts().fit_transform(list(cells))
    n_axes = min(N_AXES, min(parts.shape) - 1)
    if n_axes < 1:
        return np.asarray(parts.toarray(), dtype=np.float64)
    return np.asarray(TruncatedSVD(n_axes, random_state=0).fit_transform(parts), dtype=np.float64)


def _indicators(column: pd.Series) -> np.ndarray:
    codes = column.cat.codes.to_numpy()
    values = np.equal.outer(codes, np.arange(len(column.cat.categories))).astype(np.float64)
    values[codes < 0] = np.nan
    return values


_Reader = Callable[[str, pd.Index, np.ndarray], np.ndarray]
_READERS: list[tuple[tuple[type, ...], _Reader]] = [
    ((bool, np.bool_, Real, Decimal), _numbers),
    ((dt.date, np.datetime64), _times),
    ((dt.timedelta, np.timedelta64), _durations),
    ((str,), _texts),
    ((list, tuple, np.ndarray), _vectors),
]
"""Types of cells, and the function that turns cells of each type into numbers, (n, width)."""


def _scaled(values: np.ndarray) -> np.ndarray:
    """Centre values and scale them to a total variance of one, over the rows that have values."""
    present = ~np.isnan(values).any(axis=1)
    if not present.any():
        return np.zeros((len(values), 0))
    centred = values - values[present].mean(axis=0)
    variance = float(np.square(centred[present]).sum(axis=1).mean())
    scaled = centred / np.sqrt(variance) if variance > 0 else np.zeros_like(centred)
    return np.where(present[:, None], scaled, 0.0)
