"""Turn a column of lists into a frame of events with the fields of a schema."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from tabemb.data.histories import Events, events_frame, lists_among, with_steps
from tabemb.data.schema import Schema
from tabemb.data.values import events_column, is_keys, python_values


def events_in(frame: pa.Table, name: str, schema: Schema, max_events: int | None) -> Events:
    """Return events with the fields of the schema; a column without events may lack the fields."""
    column = with_steps(lists_among(frame[name], frame.schema.field(name)), name, schema.in_steps)
    if pa.types.is_null(column.type):
        no_steps = np.zeros(1, np.int64) if schema.in_steps else None
        events = Events(np.zeros(len(column) + 1, np.int64), pa.table({}), no_steps)
    elif name in schema.roles:  # plain values
        events = Events.of(column, name, max_events, spread=False)
    else:
        events = _structs_among(Events.of(column, name, max_events), name)
    missing = [used for used in schema.used if used not in events.frame.schema.names]
    if missing and events.frame.num_rows:
        raise ValueError(
            f"Column {name!r} lacks the field {missing[0].removeprefix(name + '.')!r} in its events."
        )
    columns = [*events.frame.columns, *(pa.nulls(len(events)) for _ in missing)]
    fields = [*events.frame.schema, *(pa.field(name, pa.null()) for name in missing)]
    return replace(events, frame=pa.table(columns, schema=pa.schema(fields)))


def _structs_among(events: Events, name: str) -> Events:
    """Return events as structs where a column mixes several kinds; other values become missing."""
    source = events.frame.schema.field(name) if name in events.frame.schema.names else None
    if source is None or not (is_keys(source) or pa.types.is_null(source.type)):
        return events
    values = python_values(events.frame[name], source)
    dicts = [value if isinstance(value, dict) else None for value in values]
    if not any(dicts):
        return replace(events, frame=pa.table({})) if pa.types.is_null(source.type) else events
    column = events_column(dicts, name)
    return replace(events, frame=events_frame(column.array, column.field(name)))
