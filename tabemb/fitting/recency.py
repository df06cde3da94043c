"""Weights of rows by their age: where data drift, recent rows predict future rows better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from tabemb.data.dates import parse_dates
from tabemb.data.frames import to_vector
from tabemb.data.schema import near
from tabemb.data.times import TimeAxis, time_column
from tabemb.fitting.settings import real
from tabemb.fitting.weights import bounded

HALF_LIFE = 0.5
"""Default of the share of the rows after which a row counts half."""
RULE = real(0, open_low=True).or_(None)


def recency_weights(time: Any, half_life: float | None, frame: pa.Table) -> np.ndarray | None:
    """Return the weight of each row, float64 (n_rows,): it halves with each half-life of later rows.

    Age is counted in later rows, not in days, so a busy period ages rows more than a quiet one. Rows of
    the same moment have the same weight.

    Parameters
    ----------
    time : str, array-like of shape (n_rows,) or None
        A column of ``frame``, or the moments themselves.
    half_life : float or None
        Share of the rows after which a row counts half; None: all rows count the same.
    frame : pyarrow.Table of n_rows rows

    Raises
    ------
    ValueError
        No such column, another length, or a moment that is missing or cannot be read.
    """
    RULE.check("half_life", half_life)
    if time is None:
        return None
    moments = _moments(time, frame)
    if half_life is None:
        return None
    later = 1 - rankdata(moments, "max") / len(moments)
    weights: np.ndarray = 0.5 ** (later / half_life)
    return weights


def with_recency(weights: np.ndarray | None, recency: np.ndarray | None) -> np.ndarray | None:
    """Return the product of the user's weights and the weights by age; None stands for ones."""
    if weights is None or recency is None:
        return weights if recency is None else recency
    return bounded(weights * recency)


def _moments(time: Any, frame: pa.Table) -> np.ndarray:
    if isinstance(time, str):
        if time not in frame.column_names:
            raise ValueError(
                f"time must be a column of X or the moments of its rows; X has no column {time!r}"
                f"{near(time, frame.column_names)}."
            )
        name, column = time, time_column(frame, time)
    else:
        name, column = "time", _as_column(time, frame.num_rows)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _parsed(column, name)
    return TimeAxis.of(column, name).read(column, name)


def _as_column(time: Any, n_rows: int) -> pa.ChunkedArray:
    values = to_vector(time)
    if values.shape != (n_rows,):
        raise ValueError(f"time must have the shape ({n_rows},), one a row of X; got {values.shape}.")
    try:
        return pa.chunked_array([pa.array(values, from_pandas=True)])
    except pa.ArrowInvalid:
        kind = "time must hold times or numbers, all of one kind"
        raise ValueError(f"{kind}; got {time!r:.60}.") from None


def _parsed(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    texts = column.to_pandas()
    times = parse_dates(texts, f"Column {name!r}")
    unread = times.isna() & texts.notna()
    if unread.any():
        row = int(np.flatnonzero(unread)[0])
        raise ValueError(
            f"Column {name!r} must hold times; it holds {texts[row]!r} in row {row}, which is not a "
            "date of the format of the other rows; correct it."
        )
    return pa.chunked_array([pa.Array.from_pandas(times)])
