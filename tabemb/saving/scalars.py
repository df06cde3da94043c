"""Single values that JSON has no type for, as lists of text and numbers: labels of many types."""

from __future__ import annotations

import base64
import datetime as dt
import uuid
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Scalar(NamedTuple):
    """A type of value: how to write one as a list of plainer values, and how to read it."""

    type: type
    write: Callable[[Any], list[Any]]
    read: Callable[..., Any]


def _zone(moment: Any) -> str | None:
    """Return the name of a time zone; None for none and for a fixed offset, which the text holds."""
    return getattr(moment.tzinfo, "key", None)


def _datetime(text: str, zone: str | None, fold: int) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text).replace(fold=fold)
    return moment if zone is None else moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))


def _numpy_time(count: int, dtype: str) -> Any:
    return np.array([count], np.int64).view(dtype)[0]


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
    "time": Scalar(dt.time, lambda v: [v.isoformat()], dt.time.fromisoformat),
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
    "frozenset": Scalar(frozenset, lambda v: sorted(v, key=repr), lambda *items: frozenset(items)),
}
"""The types by the name that a file has for them."""


def scalar_name(value: Any) -> str | None:
    """Return the name of a value's type in a file; None where it has none."""
    return next((name for name, scalar in SCALARS.items() if type(value) is scalar.type), None)
