"""Times as numbers: days since an origin, calendar parts, and a time axis for a log and its cutoffs."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.dates import read_iso
from tabemb.data.values import is_keys, python_values, stray_of

TICKS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Ticks per second, by Arrow's unit of time."""
SECONDS_PER_DAY = 86_400
CALENDAR: dict[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
    "month": pc.month,
    "day": pc.day,
    "weekday": pc.day_of_week,  # Monday is 0
    "hour": pc.hour,
}
"""Calendar parts of a datetime that become categories, with the Arrow kernel of each."""


def as_times(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return a datetime column as timestamps; ISO 8601 text is parsed, and time zones are kept.

    Raises
    ------
    ValueError
        A value cannot be read as a date, or some have a time zone and some have none.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        return _checked_range(column, name)
    if pc.all(column.is_null(nan_is_null=True)).as_py():  # missing values have no type
        return pa.chunked_array([pa.nulls(len(column), pa.timestamp("us"))])
    if pa.types.is_date(column.type):
        return _dates_as_timestamps(column, name)
    values = column.to_pandas()
    if not pd.api.types.is_string_dtype(values.dtype):
        raise ValueError(
            f"Column {name!r} has the role 'datetime', so it must hold times or text; "
            f"it holds {column.type}; convert it with pandas.to_datetime(column, unit='s') or the unit "
            "that it has."
        )
    return pa.chunked_array([pa.Array.from_pandas(read_iso(values, f"Column {name!r}"))])


def _dates_as_timestamps(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    if pa.types.is_date64(column.type):
        column = column.cast(pa.timestamp("ms"))
    else:
        column = column.cast(pa.timestamp("s"))
    return _checked_range(column, name).cast(pa.timestamp("us"))


def _checked_range(times: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Raise unless int64 microseconds can represent the times (years -290,000 to 290,000)."""
    reach = (2**63 - 1) // (TICKS_PER_SECOND["us"] // min(TICKS_PER_SECOND[times.type.unit], 10**6))
    ticks = times.cast(pa.int64())
    beyond = pc.or_(pc.greater(ticks, reach), pc.less(ticks, -reach))
    if times.type.unit in ("s", "ms") and pc.any(beyond).as_py():
        row = pc.index(beyond, True).as_py()
        raise ValueError(
            f"Column {name!r} holds a time in row {row} that is {ticks[row].as_py():,} "
            f"{times.type.unit} from 1970, beyond the year 290,000; correct it or make it missing."
        )
    return times


def zones_of(frame: pa.Table, datetimes: Collection[str]) -> dict[str, str | None]:
    """Return the time zone, or None, of each column in ``datetimes`` or with a type of times."""
    zones = {}
    for field in frame.schema:
        if field.name in datetimes or _holds_times(field.type):
            times = as_times(frame[field.name], field.name)
            if times.null_count < len(times):
                zones[field.name] = times.type.tz
    return zones


def in_zones(frame: pa.Table, zones: Mapping[str, str | None], datetimes: Collection[str]) -> pa.Table:
    """Convert the times of rows to the time zones of the training rows; the instants do not change.

    Raises
    ------
    ValueError
        A column has a time zone and had none in training, or vice versa.
    """
    for name, zone in zones.items():
        if name not in datetimes and not _holds_times(frame.schema.field(name).type):
            continue
        times = as_times(frame[name], name)
        if times.null_count == len(times):
            times = times.cast(pa.timestamp("us", zone))
        if (times.type.tz is None) != (zone is None):
            has, had = ("a", "none") if zone is None else ("no", f"the zone {zone!r}")
            raise ValueError(
                f"Column {name!r} has {has} time zone, and had {had} when it was fitted; localise it, "
                "so that both name the same instants."
            )
        times = times.cast(pa.timestamp(times.type.unit, zone))
        frame = frame.set_column(frame.schema.names.index(name), pa.field(name, times.type), times)
    return frame


def _holds_times(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(dtype) or pa.types.is_date(dtype))


def varying_parts(column: pa.ChunkedArray, name: str) -> list[str]:
    """Return the calendar parts with more than one value; a constant part carries no information."""
    times = as_times(column, name)
    return [part for part, kernel in CALENDAR.items() if pc.count_distinct(kernel(times)).as_py() > 1]


def earliest(column: pa.ChunkedArray, name: str) -> int:
    """Return the earliest time of a column in microseconds since 1970; 0 if all are missing."""
    return pc.min(_microseconds(column, name)).as_py() or 0


def days_since(origin: int, column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return days since ``origin`` (microseconds since 1970), float64 (n_rows,); NaN where missing."""
    moments = _microseconds(column, name)
    missing = moments.is_null().to_numpy()
    elapsed = difference(moments.fill_null(origin).to_numpy(), origin)
    return np.where(missing, np.nan, elapsed / (SECONDS_PER_DAY * 1e6))


def _microseconds(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    return as_times(column, name).cast(pa.timestamp("us"), safe=False).cast(pa.int64())


def difference(later: np.ndarray, earlier: np.ndarray | int | float) -> np.ndarray:
    """Return ``later - earlier`` as float64; integers are subtracted exactly, without overflow."""
    # subtracted as integers: a float64 has too few digits for microseconds since 1970
    with np.errstate(over="ignore"):  # overflow gives infinity
        elapsed = np.asarray(np.subtract(later, earlier))
    if elapsed.dtype.kind == "i":
        wrapped = (np.asarray(later) < earlier) != (elapsed < 0)
        if wrapped.any():
            exact = np.asarray(np.subtract(np.asarray(later, dtype=object), earlier))
            return exact.astype(np.float64)
    result: np.ndarray = elapsed.astype(np.float64)
    return result


def time_column(frame: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column of times or cutoffs in a form that `TimeAxis` reads.

    Raises
    ------
    ValueError
        The column contains values of several kinds.
    """
    column, field = frame[name], frame.schema.field(name)
    if is_keys(field):
        values = python_values(column, field)
        row = next(row for row, value in enumerate(values) if value is not None)
        several = f"values of several types, such as {values[row]!r:.60} in row {row}"
        raise ValueError(
            f"Column {name!r} must hold times or numbers, all of one kind; it holds "
            f"{stray_of(field) or several}; correct it, or convert the column."
        )
    is_dictionary = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_dictionary else column


@dataclass(frozen=True)
class TimeAxis:
    """The unit in which a log's times and the cutoffs are compared exactly, as whole ticks.

    Parameters
    ----------
    unit : {"s", "ms", "us", "ns"}, optional
        Arrow's time unit. None: times are plain numbers.
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
            The column has another type.
        """
        dtype = column.type
        if pa.types.is_date(dtype):
            return cls("us")
        if pa.types.is_timestamp(dtype):
            return cls(dtype.unit, dtype.tz is not None)
        if pa.types.is_integer(dtype) or pa.types.is_floating(dtype):
            return cls()
        is_text = pa.types.is_string(dtype) or pa.types.is_large_string(dtype)
        how = "it to integers, floats or timestamps"
        if is_text:
            how = "text with pandas.to_datetime(column, format='%d/%m/%Y') or the format that it has"
        raise TypeError(f"Column {name!r} must hold times or numbers; it holds {dtype}; convert {how}.")

    def read(self, column: pa.ChunkedArray, name: str, any_size: bool = False) -> np.ndarray:
        """Return the moments of a column: int64 in this unit, or int64 or float64 for plain numbers.

        Parameters
        ----------
        column : pyarrow.ChunkedArray
        name : str
        any_size : bool, default=False
            Whether moments beyond int64 are allowed, such as the year 9999 in nanoseconds. The moments
            are then Python integers in an array of objects.

        Raises
        ------
        ValueError
            A value is missing or too large, or the column cannot be compared with the log's times.
        """
        self._check_comparable(column, name)
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise ValueError(
                f"Column {name!r} must hold a time in every row; it is missing in row {row}."
            )
        moments = _numbers(column) if self.unit is None else self._ticks(column, name)
        if moments.dtype.kind == "f" and np.isnan(moments).any():
            row = int(np.flatnonzero(np.isnan(moments))[0])
            raise ValueError(f"Column {name!r} must hold a time in every row; it is NaN in row {row}.")
        if not any_size and moments.dtype.kind == "f" and np.isinf(moments).any():
            row = int(np.flatnonzero(np.isinf(moments))[0])
            raise ValueError(
                f"Column {name!r} must hold finite times; it is {moments[row]} in row {row}."
            )
        if moments.dtype == object:
            if not any_size:
                self._refuse_beyond(moments, column, name)
            return moments
        return moments.astype(np.float64 if moments.dtype.kind == "f" else np.int64)

    def _refuse_beyond(self, moments: np.ndarray, column: pa.ChunkedArray, name: str) -> None:
        beyond = [not -(2**63) <= moment < 2**63 for moment in moments]
        row = beyond.index(True)
        unit = "whole numbers of 64 bits" if self.unit is None else f"64 bits of {self.unit!r}"
        raise ValueError(
            f"Column {name!r} holds {column[row]} in row {row}, which {unit} cannot hold, as the log's "
            "times are; correct it or fit on times of a coarser unit."
        )

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
        """Return moments in this unit; finer units are rounded up, so that earlier stays earlier."""
        if pa.types.is_date(column.type):
            column = _dates_as_timestamps(column, name)
        ticks: np.ndarray = column.cast(pa.int64()).to_numpy()
        from_rate, to_rate = TICKS_PER_SECOND[column.type.unit], TICKS_PER_SECOND[self.unit or "us"]
        if from_rate > to_rate:
            return -(-ticks // (from_rate // to_rate))
        factor = to_rate // from_rate
        reach = (2**63 - 1) // factor
        return (ticks if ((ticks >= -reach) & (ticks <= reach)).all() else ticks.astype(object)) * factor

    def length(self, window: Any) -> float | int:
        """Return the length of a window in this unit.

        Raises
        ------
        ValueError
            The window is not a span of time (or not a number if times are numbers), or not above zero.
        """
        if self.unit is None:
            if isinstance(window, (str, dt.timedelta, np.timedelta64)) or not window > 0:
                raise ValueError(
                    f"window must be a number > 0, as the log's times are numbers; got {window!r}."
                )
            length: float | int = window
            return length
        nanoseconds = _nanoseconds(window)
        if not nanoseconds > 0:
            raise ValueError(f"window must be longer than zero; got {window!r}.")
        return nanoseconds * TICKS_PER_SECOND[self.unit] // TICKS_PER_SECOND["ns"]

    def before(self, moments: np.ndarray, window: Any) -> np.ndarray:
        """Return the moments minus a window; as Python integers if int64 overflows."""
        length = self.length(window)
        if moments.dtype.kind == "i" and isinstance(length, int | np.integer):
            lowest = int(moments.min(initial=0)) - int(length)
            return (moments if lowest >= -(2**63) else moments.astype(object)) - int(length)
        earlier: np.ndarray = np.subtract(moments, length)
        return earlier

    def span(self, later: np.ndarray, earlier: np.ndarray | int | float = 0) -> np.ndarray:
        """Return differences of moments as float64, in days if they are times."""
        unit = 1 if self.unit is None else SECONDS_PER_DAY * TICKS_PER_SECOND[self.unit]
        return difference(later, earlier) / unit

    def __str__(self) -> str:
        return "numbers" if self.unit is None else "times"


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return plain numbers, as Python integers if whole numbers are beyond int64."""
    numbers: np.ndarray = column.to_numpy()
    is_beyond = numbers.dtype == np.uint64 and (numbers >= 2**63).any()
    return numbers.astype(object) if is_beyond else numbers


def _nanoseconds(window: Any) -> int:
    """Return a span of time in nanoseconds; it may be longer than pandas can represent."""
    # pandas deprecates "7d" for "7D"
    text = re.sub(r"(?<=[\d ])d\b", "D", window) if isinstance(window, str) else window
    try:
        return _exact(pd.Timedelta(text))
    except pd.errors.OutOfBoundsTimedelta as error:
        parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", str(text))
        if not parts:
            raise ValueError(f"window must be one number and a unit; got {window!r}.") from error
        return int(Fraction(parts[1]) * _exact(pd.Timedelta("1" + parts[2])))
    except ValueError as error:
        raise ValueError(
            f"window must be a span of time such as '7d' or '12h'; got {window!r}."
        ) from error


def _exact(span: pd.Timedelta) -> int:
    seconds = span.days * SECONDS_PER_DAY + span.seconds
    return (seconds * 10**6 + span.microseconds) * 1000 + span.nanoseconds
