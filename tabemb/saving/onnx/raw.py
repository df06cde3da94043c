"""The inputs of a graph: columns of rows and fields of events, in types of ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.encoding import Encoder, Inputs
from tabemb.data.event_columns import events_in
from tabemb.data.floats import to_floats
from tabemb.data.histories import Events
from tabemb.data.text import with_words
from tabemb.data.times import as_times
from tabemb.data.values import is_keys, python_values
from tabemb.data.vectors import read_vectors
from tabemb.data.vocabulary import Vocabulary

LENGTH, STEP, N_STEPS = "length", "step", "steps"
"""Names of the inputs of a history beside its fields: its events, the step of each, and its steps."""
NO_INTEGER = -(2**63)
"""Stands for a missing whole number or time, where no category has it."""
DTYPES: dict[str, Any] = {
    "text": str,
    "integer": np.int64,
    "number": np.float64,
    "time": np.int64,
    "vector": np.float64,
    "length": np.int64,
    "step": np.int64,
    "steps": np.int64,
}
"""Type of the values of each kind of input."""
KINDS = {
    "text": "text",
    "nothing": "text",
    "integer": "integer",
    "boolean": "integer",
    "float": "number",
    "time": "time",
}
"""Kind of input by the kind of a vocabulary."""


class RawInput(NamedTuple):
    """One input of a graph.

    Parameters
    ----------
    name : str
        That of the column, of the field ("orders.city"), or of the length of a history.
    kind : str
        A key of `DTYPES`. Times are microseconds since 1970, those with a time zone in UTC.
    missing : str, int or None
        The value that stands for a missing one; None: NaN.
    other : str, int or None
        A value that is no category, for one of another kind; None: NaN.
    history : str, optional
        The history that it is a field of; its values are then (n, length), else (n,).
    width : int, optional
        Length of a vector.
    """

    name: str
    kind: str
    missing: str | int | None = None
    other: str | int | None = None
    history: str | None = None
    width: int | None = None

    @property
    def dims(self) -> list[str | int]:
        """The axes: rows, events of a history, coordinates of a vector."""
        events = (
            [] if self.history is None or self.kind in (LENGTH, N_STEPS) else [f"{self.history} length"]
        )
        return ["rows", *events, *([] if self.width is None else [self.width])]

    def described(self) -> dict[str, Any]:
        """Return what the metadata of a file say about the input."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def raw_inputs(encoder: Encoder) -> list[RawInput]:
    """Return the inputs that rows need, in the order of the columns.

    Raises
    ------
    ValueError
        A column holds values that ONNX has no type for, or two inputs would have one name.
    """
    schema = encoder.schema
    result = {raw.name: raw for raw in _columns(encoder, encoder.inputs_[0], None)}
    for name, scale in zip(schema.vectors, encoder.vectors_):
        result[name] = RawInput(name, "vector", width=scale.width)
    for name, inputs in zip(schema.histories, encoder.inputs_[1:]):
        fields = {raw.name: raw for raw in _columns(encoder, inputs, name)}
        for kind in [LENGTH, STEP, N_STEPS] if inputs.schema.in_steps else [LENGTH]:
            _check_free(f"{name}.{kind}", fields)
            fields[f"{name}.{kind}"] = RawInput(f"{name}.{kind}", kind, history=name)
        for field in fields:
            _check_free(field, result)
        result |= fields
    return list(result.values())


def _check_free(name: str, taken: Mapping[str, RawInput]) -> None:
    if name in taken:
        raise ValueError(
            f"The graph needs two inputs of the name {name!r}, for a column and for the events of a "
            "history; rename the column, or the field of the events, and fit again."
        )


def _columns(encoder: Encoder, inputs: Inputs, history: str | None) -> Iterator[RawInput]:
    vocabularies = dict(zip(inputs.schema.categorical, encoder.vocabularies_of(inputs)))
    for feature, vocabulary in vocabularies.items():
        if feature.part is None:
            kind = _kind(feature.column, vocabulary)
            yield RawInput(feature.column, kind, *markers(kind, vocabulary), history)
    for feature in inputs.schema.numbers:
        is_time = inputs.schema.roles.get(feature.column) == "datetime"
        kind, missing = ("time", NO_INTEGER) if is_time else ("number", None)
        yield RawInput(feature.column, kind, missing, history=history)


def _kind(column: str, vocabulary: Vocabulary) -> str:
    if vocabulary.kind not in KINDS:
        raise ValueError(
            f"Column {column!r} holds {vocabulary.kind} values, which ONNX has no type for; convert it "
            "to text or whole numbers, and fit again."
        )
    return KINDS[vocabulary.kind]


def markers(kind: str, vocabulary: Vocabulary) -> tuple[str | int | None, str | int | None]:
    """Return what stands for a missing value and for one of another kind: both are no categories."""
    if kind == "number":
        return None, None
    if kind == "time":
        return NO_INTEGER, NO_INTEGER + 1
    categories = set(vocabulary.categories.to_pylist())
    if kind == "text":
        return _unused("<missing>", categories), _unused("<other>", categories)
    free = (NO_INTEGER + i for i in range(len(categories) + 2) if NO_INTEGER + i not in categories)
    return next(free), next(free)


def _unused(text: str, categories: set[Any]) -> str:
    return text if text not in categories else _unused(f"<{text}>", categories)


def frame_inputs(raw: Sequence[RawInput], encoder: Encoder, frame: pa.Table) -> dict[str, np.ndarray]:
    """Return the columns of a frame as inputs of a graph; histories are padded at their end.

    Raises
    ------
    ValueError
        A column or field is missing, or holds values of another kind than in ``fit``.
    """
    frame = with_words(frame, encoder.schema.texts)
    used = {one.history for one in raw}
    histories = {
        name: events_in(frame, name, schema, encoder.max_events)
        for name, schema in encoder.schema.histories.items()
        if name in used
    }
    values = {}
    for one in raw:
        if one.kind in (LENGTH, STEP, N_STEPS):
            values[one.name] = _sizes(histories[str(one.history)], one.kind)
        elif one.kind == "vector":
            field = frame.schema.field(one.name)
            values[one.name] = read_vectors(frame[one.name], field, one.width).astype(np.float64)
        elif one.history is not None:
            events = histories[one.history]
            of_events = raw_values(one, events.frame[one.name], events.frame.schema.field(one.name))
            values[one.name] = padded(of_events, events.counts)
        else:
            values[one.name] = raw_values(one, frame[one.name], frame.schema.field(one.name))
    return values


def _sizes(events: Events, kind: str) -> np.ndarray:
    """Return the number of events or of steps of each row, or the step of each event."""
    n_steps = np.diff(events.offsets)
    if kind != STEP:
        return events.counts if kind == LENGTH else n_steps
    assert events.step_offsets is not None
    places = np.arange(events.offsets[-1]) - np.repeat(events.offsets[:-1], n_steps)
    return padded(np.repeat(places, np.diff(events.step_offsets)), events.counts)


def raw_values(raw: RawInput, column: pa.ChunkedArray, field: pa.Field) -> np.ndarray:
    """Return the values of a column, (n,)."""
    if raw.kind == "number":
        return to_floats(column, raw.name, field, strict=False)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_keys(field) or pa.types.is_null(column.type):
        return _of_python(raw, python_values(column, field))
    if raw.kind == "text":
        return _filled(column.cast(pa.large_string()), raw.missing).astype(object)
    if raw.kind == "time":
        times = as_times(column, raw.name)
        return _filled(
            times.cast(pa.timestamp("us", times.type.tz), safe=False).cast(pa.int64()), raw.missing
        )
    return _of_numbers(raw, column)


def _of_numbers(raw: RawInput, column: pa.ChunkedArray) -> np.ndarray:
    """Return whole numbers and booleans as int64; a fraction is no category."""
    if not pa.types.is_floating(column.type):
        return _filled(column.cast(pa.int64()), raw.missing)
    return _of_python(raw, column.to_pylist())


def _of_python(raw: RawInput, values: list[Any]) -> np.ndarray:
    """Return Python values; those of another kind become one that is no category."""
    is_missing = pd.isna(np.fromiter(values, object, len(values)))
    cells = [
        raw.missing if gone else value if _fits(raw.kind, value) else raw.other
        for value, gone in zip(values, is_missing)
    ]
    return np.array(cells, object if raw.kind == "text" else np.int64)


def _fits(kind: str, value: Any) -> bool:
    """Return whether a value is text, or a whole number of 64 bits."""
    if kind == "text":
        return isinstance(value, str)
    is_number = isinstance(value, (Real, Decimal))
    return bool(is_number and value == value // 1 and -(2**63) <= value < 2**63)


def _filled(column: pa.ChunkedArray, missing: Any) -> np.ndarray:
    filled: np.ndarray = pc.fill_null(column, missing).to_numpy()
    return filled


def padded(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the values of events, laid end to end, as rows of equal length, of one at least."""
    longest = max(int(counts.max(initial=0)), 1)
    filler: Any = "" if values.dtype == object else values.dtype.type(0)
    wide = np.full((len(counts), longest), filler, values.dtype)
    wide[np.arange(longest) < counts[:, None]] = values
    return wide
