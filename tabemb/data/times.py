"""Times as numbers: days since an origin, calendar parts, and one axis for a log and its cutoffs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

TICKS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Ticks in a second, by Arrow's unit of time."""
SECONDS_PER_DAY = 86_400
CALENDAR: dict[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
    "month": pc.month,
    "day": pc.day,
    "weekday": pc.day_of_week,  # Monday is 0
    "hour": pc.hour,
}
"""Calendar parts of a datetime that become categories, each with Arrow's kernel for it."""


def as_times(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return a datetime column as timestamps; text is parsed, and a time zone stays.

    Raises
    ------
    ValueError
        A value cannot be read as a date.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        return column
    if pa.types.is_date(column.type) or pa.types.is_null(column.type):
        return column.cast(pa.timestamp("us"))
    values = column.to_pandas()
    if not pd.api.types.is_string_dtype(values.dtype):
        raise ValueError(
            f"Column {name!r} has the role 'datetime', so it must hold times or text; "
            f"it holds {column.type}."
        )
    times = pd.to_datetime(values, format="ISO8601", errors="coerce")
    unread = values[times.isna() & values.notna()]
    if len(unread):
        raise ValueError(
            f"Column {name!r} has the role 'datetime', but holds {unread.iloc[0]!r} in row "
            f"{unread.index[0]}, which is not an ISO 8601 date; convert the column with "
            "pandas.to_datetime first."
        )
    return pa.chunked_array([pa.Array.from_pandas(times)])


def varying_parts(column: pa.ChunkedArray, name: str) -> list[str]:
    """Return the calendar parts that take more than one value; a constant one carries no information."""
    times = as_times(column, name)
    return [part for part, kernel in CALENDAR.items() if pc.count_distinct(kernel(times)).as_py() > 1]


def earliest(column: pa.ChunkedArray, name: str) -> int:
    """Return the earliest time of a column in microseconds since 1970; 0 where all are missing."""
    return pc.min(_microseconds(column, name)).as_py() or 0


def days_since(origin: int, column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return days since ``origin``, microseconds since 1970, as float64 (n_rows,); NaN where missing."""
    # subtracted as integers: a float64 has too few digits for microseconds since 1970
    elapsed = pc.subtract(_microseconds(column, name), origin).cast(pa.float64(), safe=False)
    days: np.ndarray = elapsed.to_numpy() / (SECONDS_PER_DAY * 1e6)
    return days


def _microseconds(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    return as_times(column, name).cast(pa.timestamp("us"), safe=False).cast(pa.int64())


@dataclass(frozen=True)
class TimeAxis:
    """The unit in which a log's times and the cutoffs are compared: exactly, as whole ticks.

    Parameters
    ----------
    unit : {"s", "ms", "us", "ns"}, optional
        Arrow's unit of the times. None: times are plain numbers.
    zoned : bool, default=False
        Whether the times have a time zone.
    """

    unit: str | None = None
    zoned: bool = False

    @classmethod
    def of(cls, column: pa.ChunkedArray, name: str) -> TimeAxis:
        """Return the axis of a column of timestamps, dates or numbers.

        Raises
        ------
        TypeError
            The column holds something else.
        """
        dtype = column.type
        if pa.types.is_date(dtype):
            return cls("us")
        if pa.types.is_timestamp(dtype):
            return cls(dtype.unit, dtype.tz is not None)
        if pa.types.is_integer(dtype) or pa.types.is_floating(dtype):
            return cls()
        raise TypeError(f"Column {name!r} must hold times or numbers; it holds {dtype}.")

    def read(self, column: pa.ChunkedArray, name: str) -> np.ndarray:
        """Return the moments of a column: int64 in this unit, or plain numbers as int64 or float64.

        Raises
        ------
        ValueError
            A value is missing, or the column cannot be compared with the log's times.
        """
        self._check_comparable(column, name)
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise ValueError(
                f"Column {name!r} must hold a time in every row; it is missing in row {row}."
            )
        moments = column.to_numpy() if self.unit is None else self._ticks(column, name)
        if moments.dtype.kind == "f" and np.isnan(moments).any():
            row = int(np.flatnonzero(np.isnan(moments))[0])
            raise ValueError(f"Column {name!r} must hold a time in every row; it is NaN in row {row}.")
        return moments.astype(np.float64 if moments.dtype.kind == "f" else np.int64)

    def _check_comparable(self, column: pa.ChunkedArray, name: str) -> None:
        axis = TimeAxis.of(column, name)
        if (axis.unit is None) != (self.unit is None):
            raise ValueError(
                f"Column {name!r} holds {column.type}; the log has {self} instead. Convert one of them."
            )
        if axis.zoned != self.zoned:
            raise ValueError(
                f"Column {name!r} has {'a' if axis.zoned else 'no'} time zone, the log's times have "
                f"{'one' if self.zoned else 'none'}; localise one of them."
            )

    def _ticks(self, column: pa.ChunkedArray, name: str) -> np.ndarray:
        """Return moments in this unit; finer ones are rounded up: what is earlier stays earlier."""
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("us"))
        ticks: np.ndarray = column.cast(pa.int64()).to_numpy()
        from_rate, to_rate = TICKS_PER_SECOND[column.type.unit], TICKS_PER_SECOND[self.unit or "us"]
        if from_rate > to_rate:
            return -(-ticks // (from_rate // to_rate))
        return ticks * (to_rate // from_rate)

    def length(self, window: Any) -> float | int:
        """Return the length of a window in this unit.

        Raises
        ------
        ValueError
            The window is no span of time, not a number where times are numbers, or not above zero.
        """
        if self.unit is None:
            if isinstance(window, (str, pd.Timedelta)) or not window > 0:
                raise ValueError(
                    f"window must be a number > 0, as the log's times are numbers; got {window!r}."
                )
            length: float | int = window
            return length
        # pandas deprecates "7d" for "7D"
        text = re.sub(r"(?<=[\d ])d\b", "D", window) if isinstance(window, str) else window
        try:
            span = pd.Timedelta(text)
        except ValueError as error:
            raise ValueError(
                f"window must be a span of time such as '7d' or '12h'; got {window!r}."
            ) from error
        if not span > pd.Timedelta(0):
            raise ValueError(f"window must be longer than zero; got {window!r}.")
        nanoseconds = int(span / pd.Timedelta(1, "ns"))
        return nanoseconds * TICKS_PER_SECOND[self.unit] // TICKS_PER_SECOND["ns"]

    def span(self, ticks: np.ndarray) -> np.ndarray:
        """Return differences of moments as float64: in days where they are times."""
        unit = 1 if self.unit is None else SECONDS_PER_DAY * TICKS_PER_SECOND[self.unit]
        return ticks.astype(np.float64) / unit

    def __str__(self) -> str:
        return "numbers" if self.unit is None else "times"
