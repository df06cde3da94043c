"""The events before each row, from a frame of events, as the padded inputs of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import pyarrow as pa

from tabemb.data.values import hashable_values
from tabemb.fitting.event_source import EARLIER, EventSource
from tabemb.fitting.target_values import label_column
from tabemb.saving.onnx.raw import RawInput, padded, raw_values
from tabemb.targets import Target


def earlier_inputs(
    raw: Sequence[RawInput],
    source: EventSource,
    target: Target,
    frame: pa.Table,
    earlier: tuple[pa.Table, np.ndarray] | None,
) -> dict[str, np.ndarray]:
    """Return the events of each row's entity in the order of their times, and how many there are.

    Parameters
    ----------
    raw : sequence of RawInput
        Those of the earlier events.
    source : EventSource
    target : Target
    frame : pyarrow.Table
        The rows.
    earlier : (frame, targets), optional
        The events before them; None for none.
    """
    n_rows = frame.num_rows
    taken, counts = np.zeros(0, np.int64), np.zeros(n_rows, np.int64)
    if earlier is not None:
        taken, counts = _events_of(source, frame, earlier[0])
    inputs: dict[str, np.ndarray] = {}
    for one in raw:
        if one.kind == "length":
            inputs[one.name] = counts
            continue
        values = _no_values(one) if earlier is None else _values(one, source, target, *earlier)
        inputs[one.name] = padded(values[taken], counts)
    return inputs


def _no_values(raw: RawInput) -> np.ndarray:
    return raw_values(raw, pa.chunked_array([pa.nulls(0)]), pa.field(raw.name, pa.null()))


def _events_of(source: EventSource, frame: pa.Table, earlier: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of each row's events, laid end to end, and their number."""
    entities, of_rows = (
        hashable_values(part[source.entity], part.schema.field(source.entity))
        for part in (earlier, frame)
    )
    by_entity: dict[object, list[int]] = {}
    for event in np.argsort(source.moments(earlier), kind="stable").tolist():
        by_entity.setdefault(entities[event], []).append(event)
    events = [by_entity.get(entity, []) for entity in of_rows]
    return np.array(list(chain.from_iterable(events)), np.int64), np.array(list(map(len, events)))


def _values(
    raw: RawInput, source: EventSource, target: Target, earlier: pa.Table, y: np.ndarray
) -> np.ndarray:
    """Return the values of one field of all events, (n_events,)."""
    name = raw.name.removeprefix(f"{EARLIER}.")
    if name not in source.target_names:
        return raw_values(raw, earlier[name], earlier.schema.field(name))
    place = source.target_names.index(name)
    classes = target.classes_[place] if isinstance(target.classes_, list) else target.classes_
    labels = label_column(y.reshape(len(y), -1)[:, place], classes, name)
    return raw_values(raw, pa.chunked_array([labels.array]), labels.field(name))
