"""Histories: columns of lists, whose events are a frame when they are laid end to end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.values import settled

MIN_STEPS = 10
"""Steps from event to event below which values that only rise may do so by chance."""


def is_list(dtype: pa.DataType) -> bool:
    """Return whether cells of this type are lists: of structs (a history) or of plain values (a bag)."""
    kinds = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
    )
    return any(is_kind(dtype) for is_kind in kinds)


@dataclass(frozen=True)
class Events:
    """The events of all rows, laid end to end row by row; each row's events stay in their order.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_rows + 1,)
        Row i has the events from ``offsets[i]`` up to ``offsets[i + 1]``.
    frame : pyarrow.Table of n_events rows
        Columns ``{column}.{field}``; of a bag the one column ``{column}``.
    """

    offsets: np.ndarray
    frame: pa.Table

    @classmethod
    def of(
        cls, column: pa.ChunkedArray, name: str, max_events: int | None = None, spread: bool = True
    ) -> Events:
        """Lay the newest ``max_events`` events of each row end to end; a missing list is empty.

        The fields of events are columns, unless ``spread`` is False.
        """
        lists = column.combine_chunks()
        if isinstance(lists, pa.ChunkedArray):  # a column without chunks stays chunked
            lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], column.type)
        filled = pc.fill_null(pc.list_value_length(lists), 0)
        lengths = filled.to_numpy(zero_copy_only=False).astype(np.int64)
        events, offsets = lists.flatten(), np.concatenate([[0], np.cumsum(lengths)])
        if max_events is not None and lengths.max(initial=0) > max_events:
            ends, n_newest = offsets[1:], np.minimum(lengths, max_events)
            offsets = np.concatenate([[0], np.cumsum(n_newest)])
            newest = np.arange(offsets[-1]) + np.repeat(ends - offsets[1:], n_newest)
            events = events.take(pa.array(newest))
        field = column.type.value_field.with_name(name)
        if spread:
            return cls(offsets, events_frame(events, field))
        return cls(offsets, settled(pa.table([events], schema=pa.schema([field]))))

    @classmethod
    def single(cls, frame: pa.Table) -> Events:
        """Return rows as events, one a row: rows and events are then encoded by the same code."""
        return cls(np.arange(frame.num_rows + 1), frame)

    def __len__(self) -> int:
        """Return the number of events."""
        return int(self.offsets[-1])

    def row_of(self, event: int) -> int:
        """Return the row that an event belongs to."""
        return int(np.searchsorted(self.offsets, event, side="right")) - 1

    @property
    def counts(self) -> np.ndarray:
        """Number of events of each row, int64 (n_rows,)."""
        return np.diff(self.offsets)

    def since_previous(self, values: np.ndarray) -> np.ndarray:
        """Return each event's difference to the event before it, NaN for the first event of a row."""
        gaps = np.diff(values, prepend=np.nan)
        gaps[self.offsets[:-1][self.counts > 0]] = np.nan
        return gaps

    def are_clock(self, values: np.ndarray) -> bool:
        """Return whether values never fall, or never rise, from event to event of a row."""
        with np.errstate(over="ignore"):
            steps = self.since_previous(values)
        steps = steps[~np.isnan(steps) & (steps != 0)]
        return len(steps) >= MIN_STEPS and bool((steps > 0).all() or (steps < 0).all())

    def until_last(self, values: np.ndarray) -> np.ndarray:
        """Return the difference of the last event of the row to each event."""
        last = self.offsets[1:][self.counts > 0] - 1
        distances: np.ndarray = np.repeat(values[last], self.counts[self.counts > 0]) - values
        return distances


def events_frame(events: pa.Array, field: pa.Field) -> pa.Table:
    """Return events as a frame: a column for each field of structs, else one column."""
    if not pa.types.is_struct(events.type):
        return settled(pa.table([events], schema=pa.schema([field])))
    fields = [f.with_name(f"{field.name}.{f.name}") for f in events.type]
    return settled(pa.table(events.flatten(), schema=pa.schema(fields)))


def as_structs(events: pa.Table) -> pa.StructArray:
    """Return events, one a row, as one array of structs."""
    columns = [
        column.chunk(0) if column.num_chunks else pa.array([], column.type)
        for column in events.combine_chunks().columns
    ]
    return pa.StructArray.from_arrays(columns, fields=list(events.schema))
