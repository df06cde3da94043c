"""The door: any frame or 2-D array in, one :class:`pyarrow.Table` out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils.validation import check_array

OBJECT = {b"tabemb": b"object"}
"""Field metadata of a column whose values Arrow has no type for; it holds their text keys."""


def to_arrow(X, estimator: Any = None) -> pa.Table:
    """Turn what the user passed into one Arrow table.

    Parameters
    ----------
    X : DataFrame of any library that narwhals reads, pyarrow.Table or array-like of shape (n_rows, n_columns)
        The columns of an array are named ``x0``, ``x1``, ... as scikit-learn names them.
    estimator : object, optional
        Named in the error messages about arrays.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ValueError
        No row, no column, duplicate column names, complex numbers.
    TypeError
        A sparse matrix, a lazy frame, or a column with values that have no stable text.

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


def is_frame(X) -> bool:
    """Whether X has columns with names (a frame) rather than positions (an array)."""
    if isinstance(X, (pd.DataFrame, pa.Table)):
        return True
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(f"X is a lazy frame ({type(X).__name__}); call .collect() before passing it.")
    return isinstance(frame, nw.DataFrame)


def feature_names(X) -> list[str] | None:
    """Column names of a frame whose names are all strings, else None (arrays, integer names)."""
    if not is_frame(X):
        return None
    names = X.schema.names if isinstance(X, pa.Table) else _column_names(X)
    n_text = sum(isinstance(name, str) for name in names)
    if 0 < n_text < len(names):
        raise TypeError(f"Column names must be all strings or all of another kind; X has both: {names}.")
    return [str(name) for name in names] if n_text else None


def _column_names(X) -> list:
    return X.columns.tolist() if isinstance(X, pd.DataFrame) else list(X.columns)


def beside(X, columns: pa.Table) -> Any:
    """X with more columns behind its own, in the library that it came in; an array comes back as pandas."""
    if isinstance(X, pa.Table):
        return pa.table(
            {**dict(zip(X.schema.names, X.columns)), **dict(zip(columns.schema.names, columns.columns))}
        )
    if isinstance(X, pd.DataFrame) or not is_frame(X):
        frame = X if isinstance(X, pd.DataFrame) else to_arrow(X).to_pandas()
        new = pd.DataFrame(
            {name: _to_series(column) for name, column in zip(columns.schema.names, columns.columns)}
        )
        return pd.concat([frame, new.set_index(frame.index)], axis=1)
    own = nw.from_native(X, eager_only=True)
    return nw.concat(
        [own, nw.from_arrow(columns, backend=own.implementation)], how="horizontal"
    ).to_native()


def select(X, names: list[str]) -> Any:
    """These columns of a frame, in the library that it came in."""
    return X.select(names) if isinstance(X, pa.Table) else X[names]


def _to_series(column: pa.ChunkedArray) -> pd.Series:
    """Lists stay Arrow's; everything else as pandas has it."""
    if pa.types.is_nested(column.type):
        return pd.Series(column, dtype=pd.ArrowDtype(column.type))
    return column.to_pandas()


def to_vector(values) -> np.ndarray:
    """A target, a weight or an array of targets as numpy, whatever library it comes from."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return (
            values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy()
        )
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
    """One pandas column as Arrow; values of a kind Arrow does not know become text keys."""
    if series.dtype.kind == "c":
        raise ValueError(f"Complex data not supported; column {name!r} holds it.")
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
    if pa.types.is_nested(array.type) and not _holds_lists(
        series
    ):  # tuples are categories, lists are bags
        return _keys(series, name), OBJECT
    return array, None


def _from_array(X, estimator: Any) -> pa.Table:
    array = check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator, input_name="X")
    names = [f"x{i}" for i in range(array.shape[1])]
    if array.dtype.kind in "OUS":
        frame = pd.DataFrame(
            {name: pd.Series(array[:, i], dtype=object) for i, name in enumerate(names)}
        )
        return _from_pandas(frame)
    if array.dtype == np.float16:  # Arrow has few kernels for half precision
        array = array.astype(np.float32)
    return pa.table({name: pa.array(np.ascontiguousarray(array[:, i])) for i, name in enumerate(names)})


def _check_shape(table: pa.Table) -> None:
    _check_unique(table.schema.names)
    if table.num_columns == 0:
        raise ValueError(
            f"Found 0 feature(s) (shape=({table.num_rows}, 0)) while a minimum of 1 is required."
        )
    if table.num_rows == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape=(0, {table.num_columns})) while a minimum of 1 is required."
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
    """Text that is equal for equal values, for categories of a kind that Arrow has no type for.

    Numbers that are equal share a key whatever their type, so that 1, 1.0 and numpy's 1 are one category.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int)) or (isinstance(value, float) and value.is_integer()):
        return repr(int(value))
    if isinstance(value, (frozenset, set)):
        return "{" + ", ".join(sorted(key_of(item, column) for item in value)) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(key_of(item, column) for item in value) + ")"
    if type(value).__repr__ is object.__repr__:
        raise TypeError(
            f"Column {column!r} holds a value of type {type(value).__name__}, whose repr is not the same in every "
            "process, so it cannot name a category; give the type a __repr__ or convert the column to text."
        )
    return repr(value)
