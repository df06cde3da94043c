"""Sources of lists of items: Python lists, columns of lists, logs, and streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from tabemb.data.frames import is_frame, to_arrow
from tabemb.data.histories import Events, is_list
from tabemb.data.keys import key_of
from tabemb.data.schema import check_column
from tabemb.data.streams import Stream, as_stream, is_source
from tabemb.data.times import TimeAxis, time_column
from tabemb.data.values import column_of, settled
from tabemb.data.vocabulary import N_SPECIAL, Vocabulary
from tabemb.progress import progress

ROWS = 65_536
"""Rows of a stream that are read at a time."""
ITEM = "item"
"""Name of the items of an input without column names."""

Cells = tuple[pa.ChunkedArray, pa.Field]
"""A column of values and its field."""


class Names(NamedTuple):
    """The columns of an input; `ItemEmbedder` describes each."""

    item: str | None = None
    entity: str | None = None
    time: str | None = None
    goal: str | None = None


@dataclass(frozen=True)
class RawLists:
    """Concatenated lists of items as original values.

    Parameters
    ----------
    items : pair of a column of n_items values and its field
    offsets : ndarray of int64, shape (n_lists + 1,)
    goals : pair of a column of n_lists values and its field, optional
    entities : pandas.Index of length n_lists, optional
        The entity of each list of a log.
    n_without_entity : int, default=0
        Events of a log that belong to no list, because their entity is missing.
    """

    items: Cells
    offsets: np.ndarray
    goals: Cells | None = None
    entities: pd.Index | None = None
    n_without_entity: int = 0


@dataclass(frozen=True)
class Source:
    """An input in memory."""

    lists: RawLists
    in_memory: bool = field(default=True, init=False)

    def pieces(self) -> Iterator[RawLists]:
        """Yield all lists at once."""
        yield self.lists


@dataclass(frozen=True)
class StreamSource:
    """A stream with a column of lists; only some rows at a time are in memory."""

    stream: Stream
    names: Names
    in_memory: bool = field(default=False, init=False)

    def pieces(self) -> Iterator[RawLists]:
        """Yield the lists of successive rows."""
        with self.stream.opened() as rows:
            schema = rows.dataset.schema
            columns = [_list_column(schema, self.names.item), *filter(None, [self.names.goal])]
            for name in columns:
                _check_name(schema, name, "The stream")
            with progress(rows.n_rows, "rows") as bar:
                for part in rows.parts(columns, ROWS):
                    yield _of_lists(part, self.names)
                    bar.update(part.num_rows)


def open_source(X: Any, names: Names, ordered: bool) -> Source | StreamSource:
    """Return the source of the lists of an input.

    Parameters
    ----------
    X : stream, frame or sequence of lists
        `ItemEmbedder.fit` describes the forms.
    names : Names
    ordered : bool
        Whether the order of items in a list matters; if so, Python sets are refused.
    """
    if is_source(X):
        return _open_stream(as_stream(X), names)
    if names.entity is not None:
        if not is_frame(X):
            raise ValueError(
                f"X must be a frame with the columns of a log, as entity is {names.entity!r}; "
                f"got a {type(X).__name__}."
            )
        return Source(_of_log(to_arrow(X), names))
    if is_frame(X):
        return Source(_of_lists(to_arrow(X), names))
    if names.goal is not None:
        raise ValueError(f"X must be a frame that has the column of goals, {names.goal!r}; got lists.")
    name = names.item or ITEM
    return Source(_of_lists(_table_of_lists(X, name, ordered), names._replace(item=name)))


def _open_stream(stream: Stream, names: Names) -> Source | StreamSource:
    if names.entity is None and stream.is_of_files:
        return StreamSource(stream, names)
    with stream.opened() as rows:
        if names.entity is None:
            return Source(_of_lists(rows.table(rows.names), names))
        needed = [names.entity, names.time, names.item, names.goal]
        columns = list(dict.fromkeys(name for name in needed if name is not None))
        for name in columns:
            _check_name(rows.dataset.schema, name, "The stream")
        return Source(_of_log(rows.table(columns), names))


def _check_name(schema: pa.Schema, name: str, owner: str) -> None:
    check_column(schema.empty_table(), name, owner)


def _table_of_lists(X: Any, name: str, ordered: bool) -> pa.Table:
    """Return lists from any library as a table with one column."""
    if isinstance(X, pa.Array | pa.ChunkedArray):
        return settled(pa.table({name: X}))
    native = nw.from_native(X, pass_through=True, allow_series=True)
    if isinstance(native, nw.Series):
        return to_arrow(native.rename(name).to_frame().to_native())
    if not isinstance(X, Iterable) or isinstance(X, dict | bytes):
        raise TypeError(
            f"X must be a frame, the path of a Parquet file or lists of items; got a {type(X).__name__}."
        )
    rows = [_as_list(row, i, ordered) for i, row in enumerate(X)]
    if not rows:
        raise ValueError("X must have at least one list of items; got none.")
    column = column_of(rows, name)
    return settled(pa.table([column.array], schema=pa.schema([column.field(name)])))


def _as_list(row: Any, i: int, ordered: bool) -> list[Any] | None:
    if isinstance(row, list):
        return row
    if isinstance(row, set | frozenset):
        if ordered:
            raise ValueError(
                f"X must hold lists where mode is 'sequence', as a set has no order; row {i} holds a "
                f"{type(row).__name__}; pass lists, or set mode='set'."
            )
        return sorted(row, key=lambda item: key_of(item, ITEM))
    if isinstance(row, tuple | np.ndarray | pd.Series):
        return list(row)
    if row is None or row is pd.NA or (isinstance(row, float) and np.isnan(row)):
        return None
    raise ValueError(f"X must hold a list of items in each row; row {i} holds {row!r:.60}.")


def _list_column(schema: pa.Schema, item: str | None) -> str:
    """Return the column of lists that contains the items."""
    names: list[str] = [column.name for column in schema if is_list(column.type)]
    if item is None:
        if len(names) != 1:
            there = f"it has {', '.join(map(repr, names))}; item names one" if names else "it has none"
            raise ValueError(
                f"X must have one column of lists; {there}, or entity names the column of a log that "
                "groups its rows."
            )
        return names[0]
    candidates = [name for name in names if item == name or item.startswith(f"{name}.")]
    if not candidates:
        _check_name(schema, item, "X")
        kind = schema.field(item).type
        raise ValueError(
            f"item must name a column of lists where entity is None; {item!r} holds {kind}."
        )
    return candidates[0]


def _of_lists(frame: pa.Table, names: Names) -> RawLists:
    column = _list_column(frame.schema, names.item)
    events = Events.of(frame[column], column)
    item = _field_of(events.frame.schema.names, column, names.item)
    goals = None
    if names.goal is not None:
        check_column(frame, names.goal, "X")
        goals = frame[names.goal], frame.schema.field(names.goal)
    return RawLists((events.frame[item], events.frame.schema.field(item)), events.offsets, goals)


def _field_of(fields: Sequence[str], column: str, item: str | None) -> str:
    """Return the field of events that contains the items; for plain values, the only field."""
    if item in fields:
        return str(item)
    if len(fields) == 1 and item in (None, column):
        return fields[0]
    listed = ", ".join(map(repr, fields))
    raise ValueError(f"item must name a field of the events in column {column!r}: {listed}.")


def _of_log(frame: pa.Table, names: Names) -> RawLists:
    """Return the items of each entity of a log in the order of their times."""
    if names.item is None:
        raise ValueError("item must name the column of items, as entity names the column of a log.")
    assert names.entity is not None
    for name in filter(None, names):
        check_column(frame, name, "The log")
    column, entity_field = frame[names.entity], frame.schema.field(names.entity)
    vocabulary = Vocabulary.from_columns({names.entity: (column, entity_field)})
    codes = vocabulary.codes(column, entity_field)
    order = np.argsort(codes, kind="stable")
    if names.time is not None:
        times = time_column(frame, names.time)
        order = np.lexsort((TimeAxis.of(times, names.time).read(times, names.time), codes))
    n_without = int((codes < N_SPECIAL).sum())
    order = order[n_without:]
    counts = np.bincount(codes[order] - N_SPECIAL, minlength=len(vocabulary.categories))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    events = frame.take(pa.array(order))
    items = events[names.item], frame.schema.field(names.item)
    goals = None
    if names.goal is not None:
        goals = _goals_of(events, names, offsets, vocabulary.labels())
    return RawLists(items, offsets, goals, vocabulary.labels(), n_without)


def _goals_of(events: pa.Table, names: Names, offsets: np.ndarray, entities: pd.Index) -> Cells:
    """Return the goal of each entity: the single non-missing value of its events."""
    assert names.goal is not None
    column, goal_field = events[names.goal], events.schema.field(names.goal)
    vocabulary = Vocabulary.from_columns({names.goal: (column, goal_field)})
    codes = vocabulary.codes(column, goal_field)
    rows = np.repeat(np.arange(len(entities)), np.diff(offsets))
    known = np.flatnonzero(codes >= N_SPECIAL)
    position = np.full(len(entities), -1)
    position[rows[known]] = known
    wrong = known[codes[known] != codes[position[rows[known]]]]
    if len(wrong):
        labels, row = vocabulary.labels().tolist(), rows[wrong[0]]
        pair = [labels[codes[i] - N_SPECIAL] for i in (wrong[0], position[row])]
        raise ValueError(
            f"Column {names.goal!r} must hold one goal for each entity; {entities.tolist()[row]!r} has "
            f"{pair[0]!r} and {pair[1]!r}."
        )
    taken = column.take(pa.array(np.maximum(position, 0), mask=position < 0))
    return taken, goal_field
