"""Read dates from text, with one format for a whole column."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
from pandas.api import types

ISO = "ISO8601"
DATES = (
    *("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y"),
    *("%m/%d/%Y", "%m.%d.%Y", "%m-%d-%Y", "%m/%d/%y", "%m.%d.%y", "%m-%d-%y"),
    *("%y/%m/%d", "%y.%m.%d", "%y-%m-%d", "%Y.%m.%d", "%Y/%d/%m", "%Y-%d-%m", "%Y.%d.%m"),
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d. %B %Y", "%b %d %Y", "%B %d %Y"),
    *("%b %d, %Y", "%B %d, %Y", "%a, %d %b %Y", "%A, %d %B %Y", "%A, %B %d, %Y", "%a %b %d %Y"),
    *("%m/%Y", "%b %Y", "%B %Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
FORMATS = [date + time for date in DATES for time in TIMES]
"""Formats that are tried if text is not ISO 8601; a whole column is read by one of them."""
N_TRIED = 200
"""Number of distinct values that select the formats to try on all values."""
_HAS_ZONE = r"\d[T ]\d.*(?:Z|[+-]\d\d(?::?\d\d)?)\s*$"


def read_iso(values: pd.Series, owner: str) -> pd.Series:
    """Return ISO 8601 text as times, in UTC if their offsets from UTC differ.

    Raises
    ------
    ValueError
        A value is not an ISO 8601 date, or some have an offset and some have none.
    """
    times = iso_times(values, owner)
    unread = values[times.isna() & values.notna()]
    if len(unread):
        raise ValueError(
            f"{owner} has the role 'datetime', but holds {unread.iloc[0]!r} in row "
            f"{unread.index[0]}, which is not an ISO 8601 date; convert the column with "
            "pandas.to_datetime first."
        )
    return times


def iso_times(values: pd.Series, owner: str) -> pd.Series:
    """Return ISO 8601 text as times, in UTC if offsets differ; other text becomes missing.

    Raises
    ------
    ValueError
        Some values have an offset and some have none.
    """
    try:
        return pd.to_datetime(values, format=ISO, errors="coerce")
    except ValueError:  # several offsets
        times = pd.to_datetime(values, format=ISO, errors="coerce", utc=True)
        text = values[times.notna()].astype(str)
        check_one_kind(text, text.str.contains(_HAS_ZONE), owner)
        return times


def check_one_kind(values: pd.Series, has_zone: pd.Series, owner: str) -> None:
    """Raise if some values have a time zone and some have none."""
    if has_zone.any() and not has_zone.all():
        zoned, naive = values[has_zone], values[~has_zone]
        raise ValueError(
            f"{owner} holds {str(zoned.iloc[0])!r} in row {zoned.index[0]}, which has a time zone, and "
            f"{str(naive.iloc[0])!r} in row {naive.index[0]}, which has none; localise one of them."
        )


def check_python_times(values: pd.Series, owner: str) -> None:
    """Raise if a column mixes Python datetimes with a time zone and without one."""
    times = values[[isinstance(value, dt.datetime) and not pd.isna(value) for value in values]]
    check_one_kind(times, times.map(lambda time: time.tzinfo is not None).astype(bool), owner)


def parse_dates(column: pd.Series, owner: str) -> pd.Series:
    """Return a column as times; one format reads all of its text.

    Text that no format reads becomes missing.

    Raises
    ------
    ValueError
        The column contains numbers, dates of two formats, dates that two formats read differently, or
        mostly text that is not a date.
    """
    if types.is_datetime64_any_dtype(column.dtype):
        return column
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    present = column.dropna()
    if types.is_numeric_dtype(column.dtype) and len(present):
        raise ValueError(
            f"{owner} holds numbers, such as {present.iloc[0]} in row {present.index[0]}, and no dates; "
            "convert it with pandas.to_datetime(column, unit='s') or the unit that it has."
        )
    is_text = present.map(lambda value: isinstance(value, str)).astype(bool)
    if not is_text.any():
        check_python_times(present, owner)
        return pd.to_datetime(column, utc=_has_zones(present))
    if not is_text.all():
        row = present.index[~is_text][0]
        raise ValueError(
            f"{owner} holds text and, in row {row}, {present[row]!r}; make all of it text or times."
        )
    return _parse_text(column, present.astype(str).str.strip().drop_duplicates(), owner)


def _has_zones(values: pd.Series) -> bool:
    return any(getattr(value, "tzinfo", None) is not None for value in values)


def _parse_text(column: pd.Series, texts: pd.Series, owner: str) -> pd.Series:
    """Return text as times; ``texts`` are its distinct values."""
    times = iso_times(texts, owner)
    if times.isna().any():
        times = _read_by_one_format(texts, times, owner)
    by_text = pd.Series(times.array, index=texts.array)
    stripped = column.where(column.isna(), column.astype(str).str.strip())
    return pd.Series(by_text.reindex(stripped).array, index=column.index, name=column.name)


def _read_by_one_format(texts: pd.Series, iso: pd.Series, owner: str) -> pd.Series:
    """Return distinct values as times, read by the format that fits most values."""
    sample = texts.iloc[:: max(len(texts) // N_TRIED, 1)]
    tried = [form for form in FORMATS if _by(form, sample).notna().any()]
    read = [iso, *(_by(form, texts) for form in tried)]
    times = max(read, key=pd.Series.count)  # the first one if several read equally many
    unread = texts[times.isna()]
    if 2 * times.count() < len(texts):
        raise ValueError(
            f"{owner} holds {unread.iloc[0]!r} in row {unread.index[0]}, which is not a date of a known "
            "format; convert the column with pandas.to_datetime first."
        )
    for other in read:
        _check_same_format(texts, times, other, owner)
        # ISO 8601 is never ambiguous
        if times is not iso and other.count() == times.count() and not other.equals(times):
            _refuse_ambiguous(texts, times, other, owner)
    return times


def _check_same_format(texts: pd.Series, times: pd.Series, other: pd.Series, owner: str) -> None:
    """Raise if another format reads a value that the column's format does not read."""
    stray = texts[times.isna() & other.notna()]
    if len(stray):
        first = texts[times.notna()]
        raise ValueError(
            f"{owner} holds dates of several formats, {first.iloc[0]!r} in row {first.index[0]} and "
            f"{stray.iloc[0]!r} in row {stray.index[0]}; write all of them as 2020-12-31."
        )


def _by(form: str, texts: pd.Series) -> pd.Series:
    return pd.to_datetime(texts, format=form, errors="coerce")


def _refuse_ambiguous(texts: pd.Series, one: pd.Series, other: pd.Series, owner: str) -> None:
    row: Any = texts.index[(one != other) & one.notna()][0]
    raise ValueError(
        f"{owner} holds {texts[row]!r} in row {row}, which may be {one[row]:%Y-%m-%d} or "
        f"{other[row]:%Y-%m-%d}, and no other row settles it; write the dates as 2020-12-31 or convert "
        "the column with pandas.to_datetime first."
    )
