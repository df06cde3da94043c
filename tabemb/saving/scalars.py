"""Values of Python and pandas that JSON lacks, as text: labels of classes, keys of entities."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd


def _zoned(time: pd.Timestamp) -> list[str | None]:
    utc = time if time.tz is None else time.tz_convert("UTC").tz_localize(None)
    return [utc.isoformat(), None if time.tz is None else str(time.tz)]


def _timestamp(parts: list[str]) -> Any:
    iso, zone = parts
    time = pd.Timestamp(iso)
    return time if zone is None else time.tz_localize("UTC").tz_convert(zone)


KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    # name: (class, to text, from text); a subclass stands before its class
    "Timestamp": (pd.Timestamp, _zoned, _timestamp),
    "Timedelta": (pd.Timedelta, pd.Timedelta.isoformat, pd.Timedelta),
    "datetime": (
        datetime.datetime,
        datetime.datetime.isoformat,
        datetime.datetime.fromisoformat,
    ),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    "Decimal": (Decimal, str, Decimal),
    "UUID": (UUID, str, UUID),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
}


def to_scalar(value: Any) -> Any:
    """Return a number or time of numpy as one of Python or pandas, and anything else as it is."""
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    if isinstance(value, np.timedelta64):
        return pd.Timedelta(value)
    return value.item() if isinstance(value, np.generic) else value


def pack_scalar(value: Any) -> dict[str, Any] | None:
    """Return a value as JSON; None where it is of no kind listed here."""
    for name, (cls, to_text, _) in KINDS.items():
        if type(value) is cls:
            return {"$scalar": name, "text": to_text(value)}
    return None


def unpack_scalar(value: dict[str, Any]) -> Any:
    """Return what `pack_scalar` was given."""
    return KINDS[value["$scalar"]][2](value["text"])
