"""The state of each entity after its last event, from which a sequence continues."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tabemb.data.keys import key_of, value_of
from tabemb.data.times import TimeAxis

_PLAIN = {str, int, float, bool, bytes, dt.date, dt.datetime}
"""Types of values that Arrow stores and returns unchanged."""


class Codebook:
    """Codes of values of any kind: every new value gets the next whole number.

    Examples
    --------
    >>> book = Codebook()
    >>> book.add(["ann", "bob"])
    >>> book.codes(["bob", "cy"]).tolist()
    [1, -1]
    """

    @cached_property
    def code_of(self) -> dict[Any, int]:
        """The code of each value."""
        # a saved or pickled copy contains only the values, in the order of their codes
        values = self.__dict__.get("values", pa.nulls(0)).to_pylist()
        if self.__dict__.get("are_keys"):
            values = [None if key is None else value_of(key, key) for key in values]
        return {value: code for code, value in enumerate(values)}

    def __len__(self) -> int:
        return len(self.code_of)

    def __getstate__(self) -> dict[str, Any]:
        values = list(self.code_of)
        types = set(map(type, values)) - {type(None)}
        try:
            if len(types) <= 1 and types <= _PLAIN:
                return {"values": pa.array(values)}
        except (OverflowError, UnicodeEncodeError):
            pass
        keys = [None if value is None else key_of(value, "entity") for value in values]
        return {"values": pa.array(keys, pa.string()), "are_keys": True}

    def add(self, values: Iterable[Any], undo: ExitStack | None = None) -> None:
        """Give a code to each value without one; `undo` receives a callback that reverses this."""
        if undo is not None:
            undo.callback(self._cut, len(self))
        for value in values:
            self.code_of.setdefault(value, len(self.code_of))

    def _cut(self, n: int) -> None:
        """Remove all values after the first n."""
        while len(self.code_of) > n:
            self.code_of.popitem()

    def codes(self, values: Iterable[Any]) -> np.ndarray:
        """Return the code of each value, -1 for a value without a code: int64 (n,)."""
        return np.array([self.code_of.get(value, -1) for value in values], dtype=np.int64)


class Past(NamedTuple):
    """The past of n keys (entities, or pairs of an entity and a category) at some point.

    Parameters
    ----------
    states : ndarray of shape (n, d_state)
    counts : ndarray of shape (n,)
        Numbers of events so far; 0 for a new key, whose state and moment are zeros.
    moments : ndarray of shape (n,)
        Times of the last events, on the log's time axis.
    """

    states: np.ndarray
    counts: np.ndarray
    moments: np.ndarray

    def take(self, rows: np.ndarray) -> Past:
        """Return the past of these keys, by their positions."""
        return Past(*(values[rows] for values in self))

    def since(self, axis: TimeAxis, moments: np.ndarray) -> np.ndarray:
        """Return the time since the last event (in days for times); NaN without an event."""
        return np.where(self.counts > 0, axis.span(moments, self.moments), np.nan)


class EntityStates:
    """The `Past` of every key with at least one event.

    Parameters
    ----------
    d_state : int
        Width of a state.
    dtype : dtype, default=float32
        Type of the states.

    Examples
    --------
    >>> states = EntityStates(d_state=2)
    >>> states.write(["ann"], Past(np.ones((1, 2)), np.array([3]), np.array([7])))
    >>> states.read(["bob", "ann"]).counts.tolist()
    [0, 3]
    """

    def __init__(self, d_state: int, dtype: Any = np.float32) -> None:
        self.keys = Codebook()
        self.states, self.counts = np.zeros((0, d_state), dtype), np.zeros(0, np.int64)
        self.moments = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def _rows(self) -> Past:
        """The past of each key in the order of codes, with spare rows at the end."""
        return Past(self.states, self.counts, self.moments)

    def read(self, keys: Iterable[Any]) -> Past:
        """Return the past of these keys; zeros for new keys."""
        codes = self.keys.codes(keys)
        known = codes >= 0
        past = Past(*(np.zeros((len(codes), *rows.shape[1:]), rows.dtype) for rows in self._rows))
        for values, rows in zip(past, self._rows):
            values[known] = rows[codes[known]]
        return past

    def write(self, keys: Sequence[Any], past: Past, undo: ExitStack | None = None) -> None:
        """Replace the past of these distinct keys; new keys are added.

        `undo` receives a callback that reverses this, even after an interrupt halfway.
        """
        if undo is not None:
            undo.callback(self._restore, self._rows, self.keys.codes(keys), self.read(keys))
        self.keys.add(keys, undo)
        self._grow(len(self.keys))
        # later moments may be fractions, which must not be truncated to integers
        self.moments = self.moments.astype(np.result_type(self.moments, past.moments), copy=False)
        codes = self.keys.codes(keys)
        for rows, values in zip(self._rows, past):  # changed in place
            rows[codes] = values

    def _restore(self, rows: Past, codes: np.ndarray, past: Past) -> None:
        """Restore the arrays, and the rows of known keys that were changed in place."""
        self.states, self.counts, self.moments = rows
        for array, values in zip(rows, past):
            array[codes[codes >= 0]] = values[codes >= 0]

    def _grow(self, n: int) -> None:
        """Allocate at least n rows; the size at least doubles, so that the cost per key is constant."""
        if n <= len(self.counts):
            return
        n_more = max(n, 2 * len(self.counts)) - len(self.counts)
        self.states, self.counts, self.moments = (
            np.concatenate([rows, np.zeros((n_more, *rows.shape[1:]), rows.dtype)])
            for rows in self._rows
        )
