"""Splits of pairs into training and test rows: by time, the last items of each user, at random."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils import check_random_state

from tabemb.data.frames import is_frame, to_arrow
from tabemb.data.schema import check_column
from tabemb.data.times import time_column
from tabemb.fitting.settings import real, whole
from tabemb.unsupervised.interactions import entities_of, known_positions


def split_by_time(X: Any, time: str, cutoff: Any = None, test_size: float = 0.2) -> tuple[Any, Any]:
    """Split rows at a point in time: the test consists of all rows from then on.

    This is how a recommender is used. A random split lets it see the future.

    Parameters
    ----------
    X : frame
    time : str
        Column of times or numbers.
    cutoff : time or number, optional
        The first time that belongs to the test.
    test_size : float, default=0.2
        Without ``cutoff``: the maximum share of rows in the test; rows of equal time stay together.

    Returns
    -------
    train, test : frames of the library of X

    Raises
    ------
    ValueError
        A time is missing, or one of the two parts has no row.

    Examples
    --------
    >>> X = pd.DataFrame({"user": list("abab"), "item": list("xxyy"), "day": [1, 2, 2, 3]})
    >>> train, test = split_by_time(X, "day", cutoff=3)
    >>> len(train), len(test)
    (3, 1)
    """
    times = _times(to_arrow(X), time)
    if cutoff is None:
        real(0, 1, open_low=True).check("test_size", test_size)
        n_test = int(test_size * len(times))
        in_order = np.sort(times)
        later = in_order[len(times) - n_test - 1] if n_test < len(times) else in_order[0]
        is_test = times > later
    else:
        is_test = times >= _as_time(cutoff, times, time)
    if is_test.all() or not is_test.any():
        where = f"with cutoff={cutoff!r}" if cutoff is not None else f"with test_size={test_size!r}"
        raise ValueError(
            f"train and test must both have rows; column {time!r} goes from {times.min()} to "
            f"{times.max()}, so that {where} one of them has none."
        )
    return take_rows(X, ~is_test), take_rows(X, is_test)


def split_last(X: Any, user: str, time: str | None = None, n_last: int = 1) -> tuple[Any, Any]:
    """Split off the last rows of each user as the test.

    Parameters
    ----------
    X : frame
    user : str
        Column of users.
    time : str, optional
        Column of times or numbers; rows of equal time keep their order in X. None: the order of the rows
        in X.
    n_last : int, default=1
        Number of test rows of each user. Users with at most this many rows have training rows only.

    Returns
    -------
    train, test : frames of the library of X

    Examples
    --------
    >>> X = pd.DataFrame({"user": list("aabb"), "item": list("xyyx"), "day": [1, 2, 9, 8]})
    >>> split_last(X, "user", "day")[1]["item"].tolist()
    ['y', 'y']
    """
    whole(1).check("n_last", n_last)
    frame = to_arrow(X)
    users = _codes(frame, user)
    times = np.zeros(len(users)) if time is None else _times(frame, time)
    order = np.lexsort((np.arange(len(users)), times, users))
    is_test = np.zeros(len(users), dtype=bool)
    counts = np.bincount(users)
    from_end = np.cumsum(counts)[users[order]] - np.arange(len(users))  # 1 is the last row of a user
    is_test[order] = (from_end <= n_last) & (counts[users[order]] > n_last)
    if not is_test.any():
        raise ValueError(f"X must have users with more than {n_last} rows; none has.")
    return take_rows(X, ~is_test), take_rows(X, is_test)


def split_users(
    X: Any,
    user: str,
    test_size: float = 0.25,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, Any]:
    """Split off a random share of the rows of each user as the test.

    Parameters
    ----------
    X : frame
    user : str
        Column of users.
    test_size : float, default=0.25
        Share of each user's rows in the test, rounded; at least one row stays in training.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    train, test : frames of the library of X

    Examples
    --------
    >>> X = pd.DataFrame({"user": list("aaaabbbb"), "item": range(8)})
    >>> split_users(X, "user", random_state=0)[1]["user"].tolist()
    ['a', 'b']
    """
    real(0, 1, open_low=True).check("test_size", test_size)
    users = _codes(to_arrow(X), user)
    generator = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    counts = np.bincount(users)
    n_test = np.minimum(np.rint(test_size * counts), counts - 1)
    order = np.lexsort((generator.random(len(users)), users))
    rank = np.arange(len(users)) - (np.cumsum(counts) - counts)[users[order]]
    is_test = np.zeros(len(users), dtype=bool)
    is_test[order] = rank < n_test[users[order]]
    if not is_test.any():
        raise ValueError(
            f"X must have users with so many rows that test_size={test_size!r} of them is one; the "
            f"largest number is {counts.max()}."
        )
    return take_rows(X, ~is_test), take_rows(X, is_test)


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Return the rows of a frame that are True, in its library; an array comes back as an array."""
    if isinstance(X, pa.Table):
        return X.filter(pa.array(rows))
    if isinstance(X, pd.DataFrame):
        return X[rows]
    if is_frame(X):
        return nw.from_native(X, eager_only=True)[np.flatnonzero(rows)].to_native()
    return np.asarray(X)[rows]


def _codes(frame: pa.Table, user: str) -> np.ndarray:
    check_column(frame, user, "X")
    return known_positions(entities_of(frame, user), frame)


def _times(frame: pa.Table, name: str) -> np.ndarray:
    """Return a column of times or numbers as numpy."""
    check_column(frame, name, "X")
    column = time_column(frame, name)
    missing = np.flatnonzero(column.is_null(nan_is_null=True).to_numpy())
    if len(missing):
        raise ValueError(
            f"Column {name!r} must not have missing values; {len(missing)} rows have none, the first is "
            f"row {missing[0]}; leave such rows out."
        )
    values: np.ndarray = column.to_numpy()
    if values.dtype.kind not in "iufM":
        raise ValueError(
            f"Column {name!r} must hold times or numbers; it holds {column.type}; convert it with "
            "pandas.to_datetime."
        )
    return values


def _as_time(cutoff: Any, times: np.ndarray, name: str) -> Any:
    """Return the cutoff in the unit of the column."""
    if times.dtype.kind != "M":
        if isinstance(cutoff, bool) or not isinstance(cutoff, int | float | np.number):
            raise ValueError(f"cutoff must be a number, as column {name!r} is; got {cutoff!r}.")
        return cutoff
    try:
        moment = pd.Timestamp(cutoff)
    except (ValueError, TypeError):
        raise ValueError(f"cutoff must be a time, as column {name!r} is; got {cutoff!r}.") from None
    return np.datetime64(moment if moment.tz is None else moment.tz_convert(None))
