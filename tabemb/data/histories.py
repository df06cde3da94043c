"""Histories: columns of lists, whose concatenated events are a frame.

A list of lists is a history of steps: each inner list contains the events of one step, which are
simultaneous and have no order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.values import column_of, is_keys, python_values, settled

MIN_STEPS = 10
"""Fewest differences between events; with fewer, values may rise all the time by chance."""


def is_list(dtype: pa.DataType) -> bool:
    """Return whether cells of this type are lists: of structs (a history) or of plain values (a bag)."""
    kinds = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
    )
    return any(is_kind(dtype) for is_kind in kinds)


def is_list_of_steps(dtype: pa.DataType) -> bool:
    """Return whether cells of this type are lists of lists: lists of steps, each a list of events."""
    return is_list(dtype) and is_list(dtype.value_type)


@dataclass(frozen=True)
class Events:
    """The events of all rows, concatenated row by row; each row's steps keep their order.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_rows + 1,)
        Row i has the steps from ``offsets[i]`` up to ``offsets[i + 1]``.
    frame : pyarrow.Table of n_events rows
        Columns ``{column}.{field}``; for a bag of plain values only the column ``{column}``.
    step_offsets : ndarray of int64, shape (n_steps + 1,), optional
        Step j has the events from ``step_offsets[j]`` up to ``step_offsets[j + 1]``. None: each event
        is a step.
    """

    offsets: np.ndarray
    frame: pa.Table
    step_offsets: np.ndarray | None = None

    @classmethod
    def of(
        cls, column: pa.ChunkedArray, name: str, max_events: int | None = None, spread: bool = True
    ) -> Events:
        """Concatenate the newest ``max_events`` events or steps of each row.

        A missing list is empty. The fields of events become columns unless ``spread`` is False.
        """
        lists = column.combine_chunks()
        if isinstance(lists, pa.ChunkedArray):  # a column without chunks stays chunked
            lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], column.type)
        events, offsets = _end_to_end(lists, max_events)
        field, step_offsets = column.type.value_field, None
        if is_list(field.type):
            field = field.type.value_field
            events, step_offsets = _end_to_end(events)
        field = field.with_name(name)
        if spread:
            return cls(offsets, events_frame(events, field), step_offsets)
        return cls(offsets, settled(pa.table([events], schema=pa.schema([field]))), step_offsets)

    @classmethod
    def single(cls, frame: pa.Table) -> Events:
        """Return rows as events, one per row, so that the same code encodes rows and events."""
        return cls(np.arange(frame.num_rows + 1), frame)

    def __len__(self) -> int:
        """Return the number of events."""
        return int(self.event_offsets[-1])

    @property
    def event_offsets(self) -> np.ndarray:
        """Row i has the events from ``event_offsets[i]`` on, int64 (n_rows + 1,)."""
        offsets: np.ndarray = (
            self.offsets if self.step_offsets is None else self.step_offsets[self.offsets]
        )
        return offsets

    def row_of(self, event: int) -> int:
        """Return the row that an event belongs to."""
        return int(np.searchsorted(self.event_offsets, event, side="right")) - 1

    @property
    def counts(self) -> np.ndarray:
        """Number of events of each row, int64 (n_rows,)."""
        return np.diff(self.event_offsets)

    def since_previous(self, values: np.ndarray) -> np.ndarray:
        """Return each event's value minus that of the previous step, NaN in the first step of a row.

        The value of a step is the largest value of its events.
        """
        steps, step_of = self._by_step(values)
        before = np.concatenate([[np.nan], steps[:-1]])
        before[step_of[self.event_offsets[:-1][self.counts > 0]]] = np.nan
        gaps: np.ndarray = values - before[step_of]
        return gaps

    def are_clock(self, values: np.ndarray) -> bool:
        """Return whether values never fall, or never rise, between successive events of a row."""
        with np.errstate(over="ignore"):
            steps = self.since_previous(values)
        steps = steps[~np.isnan(steps) & (steps != 0)]
        return len(steps) >= MIN_STEPS and bool((steps > 0).all() or (steps < 0).all())

    def until_last(self, values: np.ndarray) -> np.ndarray:
        """Return the value of the row's last step minus each event's value."""
        steps, step_of = self._by_step(values)
        last = step_of[self.event_offsets[1:][self.counts > 0] - 1]
        distances: np.ndarray = np.repeat(steps[last], self.counts[self.counts > 0]) - values
        return distances

    def _by_step(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the largest value of each step that has events, and the step of each event."""
        if self.step_offsets is None or not len(values):
            return values, np.arange(len(values))
        sizes = np.diff(self.step_offsets)
        starts, sizes = self.step_offsets[:-1][sizes > 0], sizes[sizes > 0]
        return np.fmax.reduceat(values, starts), np.repeat(np.arange(len(sizes)), sizes)


def _end_to_end(lists: pa.Array, newest: int | None = None) -> tuple[pa.Array, np.ndarray]:
    """Return the values of lists, at most the ``newest`` of each, and their offsets (n_lists + 1,)."""
    filled = pc.fill_null(pc.list_value_length(lists), 0)
    lengths = filled.to_numpy(zero_copy_only=False).astype(np.int64)
    values, offsets = lists.flatten(), np.concatenate([[0], np.cumsum(lengths)])
    if newest is not None and lengths.max(initial=0) > newest:
        ends, n_newest = offsets[1:], np.minimum(lengths, newest)
        offsets = np.concatenate([[0], np.cumsum(n_newest)])
        kept = np.arange(offsets[-1]) + np.repeat(ends - offsets[1:], n_newest)
        values = values.take(pa.array(kept))
    return values, offsets


def events_frame(events: pa.Array, field: pa.Field) -> pa.Table:
    """Return events as a frame: a column for each field if they are structs, otherwise one column."""
    if not pa.types.is_struct(events.type):
        return settled(pa.table([events], schema=pa.schema([field])))
    fields = [f.with_name(f"{field.name}.{f.name}") for f in events.type]
    return settled(pa.table(events.flatten(), schema=pa.schema(fields)))


def as_structs(events: pa.Table) -> pa.StructArray:
    """Return a frame of events as one array of structs."""
    columns = [
        column.chunk(0) if column.num_chunks else pa.array([], column.type)
        for column in events.combine_chunks().columns
    ]
    return pa.StructArray.from_arrays(columns, fields=list(events.schema))


def lists_among(column: pa.ChunkedArray, source: pa.Field) -> pa.ChunkedArray:
    """Return a column of lists; values that are not lists become missing.

    Raises
    ------
    ValueError
        No value is a list.
    """
    if is_list(column.type) or pa.types.is_null(column.type):
        return column
    values = python_values(column, source) if is_keys(source) else []
    lists = [value if isinstance(value, list) else None for value in values]
    if not any(value is not None for value in lists):
        raise ValueError(f"Column {source.name!r} must hold lists of events; it holds {column.type}.")
    return pa.chunked_array([column_of(lists, source.name).array])


def with_steps(column: pa.ChunkedArray, name: str, in_steps: bool) -> pa.ChunkedArray:
    """Return a column of lists in the form of ``fit``: lists of steps if ``in_steps``, else of events.

    Raises
    ------
    ValueError
        The column contains lists of events but the model was fitted on lists of steps, or vice versa.
    """
    if pa.types.is_null(column.type) or is_list_of_steps(column.type) == in_steps:
        return column
    given, fitted = ("events", "steps") if in_steps else ("steps", "events")
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    source = column.type.value_field.with_name(name)
    if in_steps and is_keys(source):
        values = lists_among(values, source)
    elif values.null_count < len(values):
        first = values.drop_null()[0].as_py()
        raise ValueError(
            f"Column {name!r} holds lists of {given}, such as {first!r:.60}, but the model was fitted "
            f"on lists of {fitted}; pass histories as fit had them (HistoryJoiner's simultaneous=)."
        )
    else:
        missing = pa.nulls(len(values), pa.list_(pa.null()) if in_steps else pa.null())
        values = pa.chunked_array([missing])
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    offsets = pa.array(np.concatenate([[0], counts.cumsum()]), pa.int64())
    return pa.chunked_array([pa.LargeListArray.from_arrays(offsets, values.combine_chunks())])
