"""Conversion of any frame or 2-D array to a :class:`pyarrow.Table`, and of new columns back to it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils.validation import check_array

from tabemb.data.dates import check_python_times

OBJECT = {b"tabemb": b"object"}
"""Field metadata of a column of text keys, which stand for values that Arrow has no type for."""
_OBJECT_REPR: Any = object.__repr__


def to_arrow(X: Any, estimator: Any = None) -> pa.Table:
    """Convert a frame or array to one Arrow table.

    Parameters
    ----------
    X : DataFrame of any library that narwhals reads, pyarrow.Table or array-like of shape (n_rows,
    n_columns)
        The columns of an array are named ``x0``, ``x1``, ... as scikit-learn names them.
    estimator : object, optional
        The error messages about arrays name it.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ValueError
        X has no row, no column, two columns of one name, or complex numbers.
    TypeError
        X is a sparse matrix or a lazy frame, or a column holds values that have no stable text.

    Examples
    --------
    >>> to_arrow(pd.DataFrame({"city": ["Bonn", None], "size": [1.5, 2.0]})).schema.names
    ['city', 'size']
    """
    if type(X) in (str, dict):  # not isinstance: a sparse matrix can be a dict
        raise TypeError(f"X must be a frame or a 2-D array; got a {type(X).__name__}.")
    if isinstance(X, pa.Table):
        table = X
    elif isinstance(X, pd.DataFrame):
        table = _from_pandas(X)
    elif is_frame(X):
        table = nw.from_native(X, eager_only=True).to_arrow()
    else:
        table = _from_array(X, estimator)
    _check_shape(table)
    return table


def is_frame(X: Any) -> bool:
    """Return whether X has columns with names (a frame) rather than positions (an array)."""
    if isinstance(X, (pd.DataFrame, pa.Table)):
        return True
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(f"X is a lazy frame ({type(X).__name__}); call .collect() before passing it.")
    return isinstance(frame, nw.DataFrame)


def feature_names(X: Any) -> list[str] | None:
    """Return the column names of a frame whose names are all strings, else None (arrays, integer names).

    Raises
    ------
    TypeError
        Some names are strings and some are not.
    """
    if not is_frame(X):
        return None
    names = X.schema.names if isinstance(X, pa.Table) else _column_names(X)
    n_text = sum(isinstance(name, str) for name in names)
    if 0 < n_text < len(names):
        raise TypeError(f"Column names must be all strings or all of another kind; got {names}.")
    return [str(name) for name in names] if n_text else None


def _column_names(X: Any) -> list[Any]:
    return X.columns.tolist() if isinstance(X, pd.DataFrame) else list(X.columns)


def beside(X: Any, columns: pa.Table) -> Any:
    """Return X with more columns at its end, in its library; an array comes back as pandas."""
    if isinstance(X, pa.Table):
        names = [*X.schema.names, *columns.schema.names]
        return pa.table(dict(zip(names, [*X.columns, *columns.columns])))
    if isinstance(X, pd.DataFrame) or not is_frame(X):
        frame = X if isinstance(X, pd.DataFrame) else to_arrow(X).to_pandas()
        new = {name: _to_series(column) for name, column in zip(columns.schema.names, columns.columns)}
        return pd.concat([frame, pd.DataFrame(new).set_index(frame.index)], axis=1)
    native = nw.from_native(X, eager_only=True)
    new_columns = nw.from_arrow(columns, backend=native.implementation)
    return nw.concat([native, new_columns], how="horizontal").to_native()


def select(X: Any, names: list[str]) -> Any:
    """Return these columns of a frame, in the library that it came in."""
    return X.select(names) if isinstance(X, pa.Table) else X[names]


def _to_series(column: pa.ChunkedArray) -> pd.Series:
    """Return a column as pandas has it; lists keep their Arrow type."""
    if pa.types.is_nested(column.type):
        return pd.Series(column, dtype=pd.ArrowDtype(column.type))
    series: pd.Series = column.to_pandas()
    return series


def to_vector(values: Any) -> np.ndarray:
    """Return a target, weights or a 2-D array of targets of any library as numpy."""
    if isinstance(values, pa.ChunkedArray):
        values = values.to_numpy()
    elif isinstance(values, pa.Array):
        values = values.to_numpy(zero_copy_only=False)
    else:
        native = nw.from_native(values, pass_through=True, allow_series=True)
        if isinstance(native, (nw.Series, nw.DataFrame)):
            values = native.to_numpy()
    return np.asarray(values)


def _from_pandas(X: pd.DataFrame) -> pa.Table:
    names = feature_names(X)
    _check_unique(names or [str(name) for name in X.columns])
    names = names or [f"x{i}" for i in range(X.shape[1])]
    fields, columns = [], []
    for name, (_, series) in zip(names, X.items()):
        column, metadata = _from_series(series, name)
        columns.append(column)
        fields.append(pa.field(name, column.type, metadata=metadata))
    return pa.table(columns, schema=pa.schema(fields)) if fields else pa.table({})


def _from_series(
    series: pd.Series, name: str
) -> tuple[pa.Array | pa.ChunkedArray, dict[bytes, bytes] | None]:
    """Return a pandas column as Arrow; values without an Arrow type become keys, as the metadata say."""
    if series.dtype.kind == "c":
        raise ValueError(f"Complex data not supported; column {name!r} holds complex numbers.")
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    elif isinstance(series.dtype, pd.SparseDtype):
        series = pd.Series(series.to_numpy(), name=series.name)
    elif isinstance(series.dtype, pd.IntervalDtype):
        return _keys(series, name), OBJECT
    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowException, OverflowError):
        return _keys(series, name), OBJECT
    if pa.types.is_timestamp(array.type) and series.dtype == object:
        check_python_times(series, f"Column {name!r}")
    # Arrow reads tuples as lists too, but tuples are categories
    if pa.types.is_nested(array.type) and not _holds_lists(series):
        return _keys(series, name), OBJECT
    return array, None


def _from_array(X: Any, estimator: Any) -> pa.Table:
    array = check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator, input_name="X")
    names = [f"x{i}" for i in range(array.shape[1])]
    if array.dtype.kind in "OUS":
        columns = {name: pd.Series(array[:, i], dtype=object) for i, name in enumerate(names)}
        return _from_pandas(pd.DataFrame(columns))
    if array.dtype == np.float16:  # Arrow has few kernels for half precision
        array = array.astype(np.float32)
    return pa.table({name: pa.array(np.ascontiguousarray(array[:, i])) for i, name in enumerate(names)})


def _check_shape(table: pa.Table) -> None:
    """Raise where there is nothing to fit, in the words that scikit-learn's check_estimator expects."""
    _check_unique(table.schema.names)
    if table.num_columns == 0:
        raise ValueError(
            f"Found 0 feature(s) (shape=({table.num_rows}, 0)) while a minimum of 1 is required."
        )
    if table.num_rows == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape=(0, {table.num_columns})) while a minimum of 1 is "
            "required."
        )


def _check_unique(names: list[str]) -> None:
    if len(set(names)) < len(names):
        name = min(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"Column names must be unique; X has several columns named {name!r}.")


def _holds_lists(series: pd.Series) -> bool:
    if series.dtype != object:
        return True
    first = next((value for value in series if not _is_missing(value)), None)
    return isinstance(first, (list, dict, np.ndarray))


def _keys(series: pd.Series, name: str) -> pa.Array:
    return pa.array(
        [None if _is_missing(value) else key_of(value, name) for value in series], pa.string()
    )


def _is_missing(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def key_of(value: Any, column: str) -> str:
    """Return text that is equal for equal values, for categories that Arrow has no type for.

    Numbers that are equal share a key whatever their type, so that 1, 1.0 and numpy's 1 are one
    category.

    Raises
    ------
    TypeError
        The type of the value has no ``__repr__``; the default one differs between processes.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int)) or (isinstance(value, float) and value.is_integer()):
        return repr(int(value))
    if isinstance(value, (frozenset, set)):
        return "{" + ", ".join(sorted(key_of(item, column) for item in value)) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(key_of(item, column) for item in value) + ")"
    if type(value).__repr__ is _OBJECT_REPR:
        raise TypeError(
            f"Column {column!r} holds a value of type {type(value).__name__}, whose repr is "
            "not the same in every process, so it cannot name a category; give the type a __repr__ or "
            "convert the column to text."
        )
    return repr(value)
