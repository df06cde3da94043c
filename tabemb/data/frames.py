"""Convert any frame or 2-D array to a :class:`pyarrow.Table`, and add new columns to the original."""

from __future__ import annotations

from collections import Counter
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils.validation import check_array

from tabemb.data.values import (
    OBJECT,
    TYPES,
    Column,
    column_of,
    is_keys,
    labels_of,
    settled,
    types_of,
    without_mask,
)
from tabemb.labels import text_of


def to_arrow(X: Any, estimator: Any = None) -> pa.Table:
    """Convert a frame or array to one Arrow table.

    Parameters
    ----------
    X : DataFrame of any library that narwhals reads, pyarrow.Table or array-like of shape (n_rows,
    n_columns)
        The columns of an array are named ``x0``, ``x1``, ... as in scikit-learn.
    estimator : object, optional
        Named in error messages about arrays.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ValueError
        X has no row, no column, two columns with the same name, or complex numbers.
    TypeError
        X is a sparse matrix or a lazy frame, or a column contains values without a stable text form.

    Examples
    --------
    >>> to_arrow(pd.DataFrame({"city": ["Bonn", None], "size": [1.5, 2.0]})).schema.names
    ['city', 'size']
    """
    table = _converted(X, estimator)
    _check_shape(table)
    return settled(table)


def _converted(X: Any, estimator: Any = None) -> pa.Table:
    if type(X) in (str, dict):  # not isinstance: a sparse matrix can be a dict
        raise TypeError(f"X must be a frame or a 2-D array; got a {type(X).__name__}.")
    if isinstance(X, pa.Table):
        return X
    if isinstance(X, pd.DataFrame):
        return _from_pandas(X)
    if is_frame(X):
        return nw.from_native(X, eager_only=True).to_arrow()
    return _from_array(X, estimator)


def is_frame(X: Any) -> bool:
    """Return whether X has columns with names (a frame) rather than positions (an array)."""
    if isinstance(X, (pd.DataFrame, pa.Table)):
        return True
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(f"X is a lazy frame ({type(X).__name__}); call .collect() before passing it.")
    return isinstance(frame, nw.DataFrame)


def feature_names(X: Any) -> list[str] | None:
    """Return the column names of a frame if all are strings, else None (arrays, integer names).

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
    """Append columns to X and return it in its own library; an array becomes a pandas frame."""
    if isinstance(X, pa.Table):
        columns = _without_keys(columns)
        return pa.table([*X.columns, *columns.columns], schema=pa.schema([*X.schema, *columns.schema]))
    if isinstance(X, pd.DataFrame) or not is_frame(X):
        frame = X if isinstance(X, pd.DataFrame) else _converted(X).to_pandas()
        new = {field.name: _to_series(columns[field.name], field) for field in columns.schema}
        return pd.concat([frame, pd.DataFrame(new).set_index(frame.index)], axis=1)
    native = nw.from_native(X, eager_only=True)
    new_columns = nw.from_arrow(_without_keys(columns), backend=native.implementation)
    return nw.concat([native, new_columns], how="horizontal").to_native()


def select(X: Any, names: list[str]) -> Any:
    """Return these columns of a frame, in the library of the frame."""
    return X[names] if isinstance(X, pd.DataFrame) else X.select(names)


def _without_keys(columns: pa.Table) -> pa.Table:
    """Replace keys with text, for libraries that have no type for the values of keys."""
    plain = [_texts(columns[f.name], f) if is_keys(f) else columns[f.name] for f in columns.schema]
    return pa.table(plain, names=columns.schema.names)


def _texts(column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    array = column.combine_chunks()
    texts = [text_of(label) for label in labels_of(array.dictionary, types_of(field))]
    return pa.DictionaryArray.from_arrays(array.indices, pa.array(texts, pa.string()))


def _to_series(column: pa.ChunkedArray, field: pa.Field) -> pd.Series:
    """Return a column as a pandas Series; lists keep their Arrow type, keys become their values."""
    if is_keys(field):
        array = column.combine_chunks()
        labels = labels_of(array.dictionary, types_of(field))
        codes = array.indices.fill_null(-1).to_numpy()
        return pd.Series(pd.Categorical.from_codes(codes, categories=labels))
    if pa.types.is_nested(column.type):
        return pd.Series(column, dtype=pd.ArrowDtype(column.type))
    series: pd.Series = column.to_pandas()
    return series


def to_vector(values: Any) -> np.ndarray:
    """Return a target, weights or a 2-D array of targets from any library as numpy."""
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
    columns = [_from_series(series, name) for name, (_, series) in zip(names, X.items())]
    fields = [column.field(name) for name, column in zip(names, columns)]
    return pa.table([column.array for column in columns], schema=pa.schema(fields))


def _from_series(series: pd.Series, name: str) -> Column:
    """Return a pandas column as Arrow; values without an Arrow type become keys."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return Column(pa.array(series.to_numpy(), from_pandas=True))
    if dtype.kind == "c":
        raise ValueError(f"Complex data not supported; column {name!r} holds complex numbers.")
    if isinstance(dtype, pd.IntervalDtype):
        return _from_categories(series.astype("category"), name)
    if isinstance(dtype, pd.CategoricalDtype):
        return _from_categories(series, name)
    if isinstance(dtype, pd.SparseDtype):
        return _from_series(pd.Series(series.to_numpy(), name=series.name), name)
    if isinstance(dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return column_of(series, name)
    try:
        is_text = isinstance(dtype, pd.StringDtype)  # its array is read faster
        return Column(pa.Array.from_pandas(series.array if is_text else series))
    except UnicodeEncodeError:  # text with a lone surrogate
        return column_of(series.astype(object), name)


def _from_categories(series: pd.Series, name: str) -> Column:
    """Return a pandas categorical as a dictionary of its categories."""
    categories, codes = series.cat.categories, series.cat.codes.to_numpy()
    if isinstance(categories.dtype, (pd.IntervalDtype, pd.PeriodDtype)) or categories.dtype == object:
        column = column_of(categories.tolist(), name)
    else:
        column = _from_series(categories.to_series(), name)
    indices = pa.array(codes, mask=codes < 0)
    metadata = {name: text for name, text in (column.metadata or {}).items() if name in (*OBJECT, TYPES)}
    return Column(pa.DictionaryArray.from_arrays(indices, column.array), metadata or None)


def _from_array(X: Any, estimator: Any) -> pa.Table:
    values, mask = _without_mask(X)
    array: Any = check_array(
        values, dtype=None, ensure_all_finite=False, estimator=estimator, input_name="X"
    )
    names = [f"x{i}" for i in range(array.shape[1])]
    if array.dtype.kind in "OUS":
        cells = array.astype(object)
        cells[np.zeros(cells.shape, bool) if mask is None else mask] = None
        series = {name: pd.Series(cells[:, i], dtype=object) for i, name in enumerate(names)}
        return _from_pandas(pd.DataFrame(series))
    masks = [None] * len(names) if mask is None else mask.T
    columns = [pa.array(np.ascontiguousarray(c), mask=gone) for c, gone in zip(array.T, masks)]
    return pa.table(columns, names=names)


def _without_mask(X: Any) -> tuple[Any, np.ndarray | None]:
    """Return an array and the mask of its masked (missing) cells, None without a mask."""
    if isinstance(X, (list, tuple)):
        return [list(map(without_mask, row)) if _has_mask(row) else row for row in X], None
    if not np.ma.isMaskedArray(X):
        return X, None
    return np.ma.getdata(X), np.ma.getmaskarray(X)


def _has_mask(row: Any) -> bool:
    if isinstance(row, (list, tuple)):
        return any(cell is np.ma.masked for cell in row)
    return isinstance(row, np.ma.MaskedArray)


def _check_shape(table: pa.Table) -> None:
    """Raise if there is nothing to fit, with a message that scikit-learn's check_estimator expects."""
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
