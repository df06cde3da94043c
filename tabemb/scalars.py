"""Single values as JSON and back, with their type: files keep labels for which JSON has no type."""

from __future__ import annotations

import base64
import datetime as dt
import uuid
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Scalar(NamedTuple):
    """A type of value: how to write one as a list of plainer values, and how to read it."""

    type: type
    write: Callable[[Any], list[Any]]
    read: Callable[..., Any]


def _zone(moment: Any) -> str | None:
    """Return the name of a time zone; None without one, or for a fixed offset, which is in the text."""
    return getattr(moment.tzinfo, "key", None)


def _datetime(text: str, zone: str | None, fold: int) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text).replace(fold=fold)
    return moment if zone is None else moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))


def _numpy_time(count: int, dtype: str) -> Any:
    return np.array([count], np.int64).view(dtype)[0]


def _time(text: str, zone: str | None = None, fold: int = 0) -> dt.time:
    moment = dt.time.fromisoformat(text).replace(fold=fold)
    return moment if zone is None else moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))


def _timestamp(text: str, zone: str | None, unit: Any) -> pd.Timestamp:
    moment = pd.Timestamp(text).as_unit(unit)
    return moment if zone is None else moment.tz_convert(zone)


SCALARS = {
    "datetime64": Scalar(np.datetime64, lambda v: [int(v.view(np.int64)), v.dtype.str], _numpy_time),
    "timedelta64": Scalar(np.timedelta64, lambda v: [int(v.view(np.int64)), v.dtype.str], _numpy_time),
    "bytes": Scalar(bytes, lambda v: [base64.b64encode(v).decode()], base64.b64decode),
    "decimal": Scalar(Decimal, lambda v: [str(v)], Decimal),
    "uuid": Scalar(uuid.UUID, lambda v: [str(v)], uuid.UUID),
    "timestamp": Scalar(pd.Timestamp, lambda v: [v.isoformat(), _zone(v), v.unit], _timestamp),
    "timedelta": Scalar(
        pd.Timedelta, lambda v: [int(v.value), v.unit], lambda n, u: pd.Timedelta(n, "ns").as_unit(u)
    ),
    "datetime": Scalar(dt.datetime, lambda v: [v.isoformat(), _zone(v), v.fold], _datetime),
    "date": Scalar(dt.date, lambda v: [v.isoformat()], dt.date.fromisoformat),
    "time": Scalar(dt.time, lambda v: [v.isoformat(), _zone(v), v.fold], _time),
    "duration": Scalar(
        dt.timedelta,
        lambda v: [v.days, v.seconds, v.microseconds],
        lambda *parts: dt.timedelta(*parts),
    ),
    "period": Scalar(
        pd.Period, lambda v: [v.ordinal, v.freqstr], lambda n, freq: pd.Period(ordinal=n, freq=freq)
    ),
    "interval": Scalar(
        pd.Interval, lambda v: [v.left, v.right, v.closed], lambda *ends: pd.Interval(*ends)
    ),
    "fraction": Scalar(Fraction, lambda v: [v.numerator, v.denominator], Fraction),
    "complex": Scalar(complex, lambda v: [v.real, v.imag], complex),
    "NaT": Scalar(type(pd.NaT), lambda v: [], lambda: pd.NaT),
    "NA": Scalar(type(pd.NA), lambda v: [], lambda: pd.NA),
    "frozenset": Scalar(frozenset, lambda v: sorted(v, key=repr), lambda *items: frozenset(items)),
}
"""The types by their names in files."""
_NAMES = {scalar.type: name for name, scalar in SCALARS.items()}


def has_json(value: Any) -> bool:
    """Return whether a value is one of these types, so that `to_json` takes it."""
    return type(value) in _NAMES


def to_json(value: Any, name: str) -> Any:
    """Return a value as JSON, from which `from_json` restores the value with its type.

    Numbers of numpy become numbers of Python, and a subclass of text or of a number becomes its base.

    Parameters
    ----------
    value : hashable
    name : str
        What holds the value, for error messages.

    Raises
    ------
    TypeError
        There is no JSON for the type of the value.

    Examples
    --------
    >>> to_json((1, Decimal("2.50")), "labels")
    {'$tuple': [1, {'$scalar': 'decimal', 'parts': ['2.50']}]}
    """
    if has_json(value):
        scalar = _NAMES[type(value)]
        parts = [to_json(part, name) for part in SCALARS[scalar].write(value)]
        return {"$scalar": scalar, "parts": parts}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return {"$tuple": [to_json(item, name) for item in value]}
    raise TypeError(
        f"{name} holds a {type(value).__name__}, {value!r:.60}, which cannot be saved, as no code runs "
        "when a file is loaded; take text, numbers or times in its place, such as the name of a member "
        "of an enum."
    )


def from_json(value: Any) -> Any:
    """Return the value that was passed to `to_json`.

    Raises
    ------
    ValueError, KeyError, TypeError, RecursionError
        The JSON is not that of a value.

    Examples
    --------
    >>> from_json({"$tuple": [1, {"$scalar": "decimal", "parts": ["2.50"]}]})
    (1, Decimal('2.50'))
    """
    if not isinstance(value, dict):
        return value
    if "$tuple" in value:
        return tuple(map(from_json, value["$tuple"]))
    return SCALARS[value["$scalar"]].read(*map(from_json, value["parts"]))
