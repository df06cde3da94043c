"""What is kept of entities from event to event: a state of each, and what their events of each category said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tabemb.data.times import TimeAxis


class Codebook:
    """Gives every new value the next whole number.

    Examples
    --------
    >>> book = Codebook()
    >>> book.add(["ann", "bob"])
    >>> book.codes(["bob", "cy"]).tolist()
    [1, -1]
    """

    @cached_property
    def places(self) -> dict[Any, int]:
        """The code of each value."""
        return {value: i for i, value in enumerate(self.__dict__.get("values", pa.nulls(0)).to_pylist())}

    def __len__(self) -> int:
        return len(self.places)

    def __getstate__(self) -> dict[str, Any]:
        return {"values": pa.array(list(self.places))}

    def add(self, values: Iterable[Any]) -> None:
        """Take in the values that are new."""
        for value in values:
            self.places.setdefault(value, len(self.places))

    def codes(self, values: Iterable[Any]) -> np.ndarray:
        """The code of each value, -1 for those that were not learned: int64 (n,)."""
        return np.array([self.places.get(value, -1) for value in values], dtype=np.int64)


class Past(NamedTuple):
    """What is known of n keys: states (n, d_state), numbers of events and moments of the last ones, (n,)."""

    states: np.ndarray
    counts: np.ndarray
    moments: np.ndarray

    def since(self, clock: TimeAxis, moments: np.ndarray) -> np.ndarray:
        """How long before these moments the last events were, in days where they are times; NaN without one."""
        return np.where(self.counts > 0, clock.span(moments - self.moments), np.nan)


class EntityStates:
    """What is known of each key after its last event: a state, the number of events, the last moment.

    Examples
    --------
    >>> kept = EntityStates(d_state=2)
    >>> kept.write(["ann"], Past(np.ones((1, 2)), np.array([3]), np.array([7])))
    >>> kept.read(["bob", "ann"]).counts.tolist()
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
        return Past(self.states, self.counts, self.moments)

    def read(self, keys: Iterable[Any]) -> Past:
        """What is known of these keys; zeros for one that is new."""
        places = self.keys.codes(keys)
        known = places >= 0
        found = Past(
            *(np.zeros((len(places), *values.shape[1:]), values.dtype) for values in self._rows)
        )
        for own, values in zip(found, self._rows):
            own[known] = values[places[known]]
        return found

    def write(self, keys: Sequence[Any], after: Past) -> None:
        """Put what is known after the last events of these keys in the place of what was there."""
        self.keys.add(keys)
        self._grow(len(self.keys))
        self.moments = self.moments.astype(np.result_type(self.moments, after.moments), copy=False)
        places = self.keys.codes(keys)
        for values, own in zip(self._rows, after):
            values[places] = own

    def _grow(self, n: int) -> None:
        n_more = max(n, 2 * len(self.counts)) - len(
            self.counts
        )  # doubled: a new key always costs the same
        if n > len(self.counts):
            wider = (np.concatenate([v, np.zeros((n_more, *v.shape[1:]), v.dtype)]) for v in self._rows)
            self.states, self.counts, self.moments = wider
