"""Read columns of numbers, durations and times of day as floats."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.times import TICKS_PER_SECOND
from tabemb.data.values import is_keys, python_values


def to_floats(
    column: pa.ChunkedArray,
    name: str,
    source: pa.Field | None = None,
    row_of: Callable[[int], int] = int,
    strict: bool = True,
) -> np.ndarray:
    """Return a column as float64 of shape (n_rows,), NaN where a value is missing; durations in seconds.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    name : str
        Name of the column in errors.
    source : pyarrow.Field, optional
        The column's field, whose metadata say whether the column contains keys.
    row_of : function of int -> int, optional
        Return the row of the value at a position, for error messages.
    strict : bool, default=True
        Whether a value that is not a number is an error. If False, it is missing unless all values are.

    Raises
    ------
    ValueError
        A value is infinite, or text that is not a number.
    """
    source = source or pa.field(name, column.type)
    values = None if is_keys(source) else _cast(column)
    if values is None:
        objects = python_values(column, source)
        values = np.array([_as_float(value) for value in objects])
        unread = [i for i in np.flatnonzero(np.isnan(values)).tolist() if objects[i] is not None]
        if unread and (strict or np.isnan(values).all()):
            raise ValueError(
                f"Column {name!r} has the role 'number', but holds {objects[unread[0]]!r:.60} in row "
                f"{row_of(unread[0])}."
            )
    if np.isinf(values).any():
        first = int(np.flatnonzero(np.isinf(values))[0])
        raise ValueError(
            f"Column {name!r} holds {values[first]} in row {row_of(first)}; a number must be finite or "
            "missing."
        )
    return values


def _cast(column: pa.ChunkedArray) -> np.ndarray | None:
    """Return a column as float64; None if Arrow cannot read it as numbers."""
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_integer(column.type):  # for one row, a cast is the slowest step
            whole: np.ndarray = column.to_numpy().astype(float)
            return whole
        if pa.types.is_duration(column.type):
            if column.type.unit == "ns":
                column = column.cast(pa.duration("us"), safe=False)
            column = _seconds(column.cast(pa.int64()), TICKS_PER_SECOND[column.type.unit])
        elif pa.types.is_time(column.type):
            column = _seconds(column.cast(pa.time64("us")).cast(pa.int64()), 1_000_000)
        # for one row, a cast without effect takes half of the time
        if column.type != pa.float64():
            column = column.cast(pa.float64(), safe=False)
    except pa.ArrowException:
        return None
    values: np.ndarray = column.to_numpy().astype(float)
    return values


def _as_float(value: Any) -> float:
    """Return a number, or the number that text spells, as float; NaN for anything else.

    Durations and times of day are in seconds, as in columns of these types.
    """
    if isinstance(value, dt.time):
        value = dt.timedelta(0, value.second, value.microsecond, 0, value.minute, value.hour)
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if not isinstance(value, (Real, Decimal, str)):
        return np.nan
    try:
        return np.nan if isinstance(value, str) and "_" in value else float(value)
    except ValueError:
        return np.nan
    except OverflowError:
        return np.inf


def _seconds(ticks: pa.ChunkedArray, per_second: int) -> pa.ChunkedArray:
    return pc.divide(ticks.cast(pa.float64(), safe=False), float(per_second))
