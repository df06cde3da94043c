"""Event logs sorted by entity and time, to find the events of an entity before a cutoff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from tabemb.data.frames import to_arrow
from tabemb.data.notes import Doubt, doubts
from tabemb.data.schema import check_column
from tabemb.data.times import TimeAxis, time_column
from tabemb.data.vocabulary import N_SPECIAL, Vocabulary

CHUNK = 4_000_000
"""Number of events aggregated at a time, so that memory does not grow with the number of rows."""


@dataclass(frozen=True)
class Slices:
    """The events of each row, as ranges of positions in the sorted log.

    Parameters
    ----------
    starts, ends : ndarray of int64, shape (n_rows,)
        Row i has the events from ``starts[i]`` up to ``ends[i]``.
    """

    starts: np.ndarray
    ends: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of events of each row."""
        counts: np.ndarray = self.ends - self.starts
        return counts

    @cached_property
    def offsets(self) -> np.ndarray:
        """Start of each row's events when all are concatenated, and the end: (n_rows + 1,)."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @cached_property
    def positions(self) -> np.ndarray:
        """Position in the sorted log of every event, concatenated over rows."""
        shifts = np.repeat(self.starts - self.offsets[:-1], self.counts)
        positions: np.ndarray = np.arange(self.offsets[-1]) + shifts
        return positions

    def newest(self, n: int | None) -> Slices:
        """Return the last ``n`` events of each row; None: all of them."""
        return self if n is None else Slices(np.maximum(self.starts, self.ends - n), self.ends)

    def chunks(self) -> Iterator[tuple[slice, Slices]]:
        """Yield successive rows with their events, about :data:`CHUNK` events at a time."""
        start = 0
        while start < len(self.starts):
            stop = int(np.searchsorted(self.offsets, self.offsets[start] + CHUNK, side="right")) - 1
            rows = slice(start, max(stop, start + 1))
            yield rows, Slices(self.starts[rows], self.ends[rows])
            start = rows.stop


class EventLog:
    """A log sorted by entity and time.

    Parameters
    ----------
    log : frame
        One event per row, in any order. Simultaneous events of an entity keep their order.
    entity, time : str
        Columns of the log.
    fields : sequence of str, optional
        Columns to keep in addition to the time; all but the entity when None.

    Attributes
    ----------
    entities : Vocabulary
    axis : TimeAxis
    moments : ndarray of shape (n_events,)
        Time of each event on the time axis.
    events : pyarrow.Table
        The time and the fields.
    doubtful : list of Doubt
        Fields that look like something other than their type.
    """

    doubtful: list[Doubt]

    def __init__(self, log: Any, entity: str, time: str, fields: Sequence[str] | None) -> None:
        frame = to_arrow(log)
        if fields is None:
            fields = [name for name in frame.schema.names if name != entity]
        names = list(dict.fromkeys([time, *fields]))
        for name in (entity, *names):
            check_column(frame, name, "The log")
        column, field = frame[entity], frame.schema.field(entity)
        self.entities = Vocabulary.from_columns({entity: (column, field)})
        times = time_column(frame, time)
        self.axis = TimeAxis.of(times, time)
        codes, moments = self.entities.codes(column, field), self.axis.read(times, time)
        order = np.lexsort((moments, codes))
        self.moments = moments[order]
        # One sorted key combines entity and time, so each end of a slice takes one binary search.
        self._times, ranks = np.unique(self.moments, return_inverse=True)
        self._stride = len(self._times) + 1
        self.entity_codes = codes[order]
        self._keys = self.entity_codes * self._stride + ranks
        self.doubtful = doubts(frame.select(names), [time])
        self.events = _with_dictionaries(frame.select(names)).take(pa.array(order)).combine_chunks()

    def __len__(self) -> int:
        return len(self.moments)

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return self.events[name]

    @cached_property
    def steps(self) -> np.ndarray:
        """Start of the events of each entity and time in the sorted log, and the end."""
        return np.flatnonzero(np.diff(self._keys, prepend=-1, append=-1))

    @cached_property
    def days(self) -> np.ndarray:
        """Time of each event, in days since the first event of the first entity."""
        return self.axis.span(self.moments, self.moments[0])

    def slices(self, entities: np.ndarray, cutoffs: np.ndarray | None, window: Any = None) -> Slices:
        """Return the events of each entity strictly before its cutoff.

        Parameters
        ----------
        entities : ndarray of int64, shape (n_rows,)
            Codes; an unknown or missing entity has no events.
        cutoffs : ndarray of shape (n_rows,), optional
            Moments on the time axis. None: all events.
        window : optional
            How long before the cutoff events may be; None: no limit.
        """
        last = len(self._times) if cutoffs is None else self._rank(cutoffs)
        first: int | np.ndarray = 0
        if window is not None and cutoffs is not None:
            first = self._rank(self.axis.before(cutoffs, window))
        starts = np.searchsorted(self._keys, entities * self._stride + first)
        ends = np.searchsorted(self._keys, entities * self._stride + last)
        known = entities >= N_SPECIAL  # events without an entity belong to no row
        return Slices(np.where(known, starts, 0), np.where(known, ends, 0))

    def _rank(self, moments: np.ndarray) -> np.ndarray:
        """Return how many of the log's times are before each moment; integers are compared exactly."""
        times = self._times
        if moments.dtype == object:  # whole numbers of any size
            inside = np.clip(moments, int(times[0]), int(times[-1]) + 1)
            after = inside > int(times[-1])
            return np.where(after, len(times), self._rank(np.where(after, 0, inside).astype(np.int64)))
        if times.dtype.kind == "i" and moments.dtype.kind == "f":
            moments = _to_int64(np.ceil(moments))  # a whole t is below m if t < ceil(m)
        elif times.dtype.kind == "f" and moments.dtype.kind == "i":
            times = _to_int64(np.floor(times))  # t is below a whole m if floor(t) < m
        return np.searchsorted(times, moments)


def _to_int64(values: np.ndarray) -> np.ndarray:
    clipped: np.ndarray = np.clip(values, -(2.0**63), 2.0**63 - 1024)
    return clipped.astype(np.int64)


def _with_dictionaries(frame: pa.Table) -> pa.Table:
    """Dictionary-encode text, so that each copy of an event takes four bytes."""
    columns = [
        column.dictionary_encode()
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        else column
        for column in frame.columns
    ]
    fields = [field.with_type(column.type) for field, column in zip(frame.schema, columns)]
    return pa.table(columns, schema=pa.schema(fields))
