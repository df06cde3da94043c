"""Times as numbers: moments of events and cutoffs on one axis."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units of time in a second."""


@dataclass(frozen=True)
class TimeAxis:
    """How times are read as numbers: a unit and whether there is a time zone, or plain numbers (no unit)."""

    unit: str | None = None
    zoned: bool = False

    @classmethod
    def of(cls, column: pa.ChunkedArray, name: str) -> TimeAxis:
        dtype = column.type
        if pa.types.is_date(dtype):
            return cls("us")
        if pa.types.is_timestamp(dtype):
            return cls(dtype.unit, dtype.tz is not None)
        if pa.types.is_integer(dtype) or pa.types.is_floating(dtype):
            return cls()
        raise TypeError(f"Column {name!r} must hold times or numbers; it holds {dtype}.")

    def read(self, column: pa.ChunkedArray, name: str) -> np.ndarray:
        """Moments as int64 in this unit, or plain numbers as int64 or float64."""
        other = TimeAxis.of(column, name)
        if (other.unit is None) != (self.unit is None):
            raise ValueError(
                f"Column {name!r} holds {column.type}; the log has {self} instead. Convert one of them."
            )
        if other.zoned != self.zoned:
            raise ValueError(
                f"Column {name!r} has {'a' if other.zoned else 'no'} time zone, the log's times have "
                f"{'one' if self.zoned else 'none'}; localise one of them."
            )
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

    def _ticks(self, column: pa.ChunkedArray, name: str) -> np.ndarray:
        """Moments in this unit; of finer ones the next tick, so that before stays before."""
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("us"))
        ticks = column.cast(pa.int64()).to_numpy()
        theirs, ours = SECOND[column.type.unit], SECOND[self.unit or "us"]
        return -(-ticks // (theirs // ours)) if theirs > ours else ticks * (ours // theirs)

    def length(self, window: Any) -> float | int:
        """A window in this clock's unit."""
        if self.unit is None:
            if isinstance(window, (str, pd.Timedelta)) or not window > 0:
                raise ValueError(
                    f"window must be a number > 0, as the log's times are numbers; got {window!r}."
                )
            return window
        try:
            span = pd.Timedelta(
                re.sub(r"(?<=[\d ])d\b", "D", window) if isinstance(window, str) else window
            )
        except ValueError as error:
            raise ValueError(
                f"window must be a span of time such as '7d' or '12h'; got {window!r}."
            ) from error
        if not span > pd.Timedelta(0):
            raise ValueError(f"window must be longer than nothing; got {window!r}.")
        return int(span / pd.Timedelta(1, "ns")) * SECOND[self.unit] // SECOND["ns"]

    def span(self, ticks: np.ndarray) -> np.ndarray:
        """Differences of moments as float64: in days where they are times."""
        return ticks.astype(np.float64) / (1 if self.unit is None else 86_400 * SECOND[self.unit])

    def __str__(self) -> str:
        return "numbers" if self.unit is None else "times"
