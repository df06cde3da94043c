"""From an Arrow table to the arrays that a network reads: codes of categories and scaled numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.histories import Events, events_frame, lists_among, with_steps
from tabemb.data.schema import Feature, Schema, Table, near
from tabemb.data.times import (
    CALENDAR,
    TICKS_PER_SECOND,
    as_times,
    days_since,
    earliest,
    in_zones,
    zones_of,
)
from tabemb.data.values import column_of, events_column, is_keys, python_values
from tabemb.data.vocabulary import Vocabulary

LIMIT = 1e12
"""Scaled numbers are clipped to +-``LIMIT``, so that float32 holds them and their squares."""


class EncodedHistory(NamedTuple):
    """Events of all rows as arrays, laid end to end.

    ``codes`` and ``numbers`` are those of the events, as in `Encoded`; offsets are those of `Events`.
    """

    offsets: np.ndarray
    codes: np.ndarray
    numbers: np.ndarray
    step_offsets: np.ndarray | None = None


class Encoded(NamedTuple):
    """Rows as arrays.

    ``codes`` are int32 (n_rows, n_categorical), ``numbers`` float32 (n_rows, n_numbers) with NaN where
    missing.
    """

    codes: np.ndarray
    numbers: np.ndarray
    histories: tuple[EncodedHistory, ...]


@dataclass
class Scale:
    """How one number is scaled and binned.

    Parameters
    ----------
    center : float
        The median; NaN where all training values are missing, so that any value is.
    unit : float
        The interquartile range or, where the quartiles are equal, half the range, as in RealMLP
        (Holzmueller et al. 2024).
    edges : ndarray
        Edges of the bins of scaled values, ascending.
    has_missing : bool
        Whether a training value is missing.
    """

    center: float
    unit: float
    edges: np.ndarray
    has_missing: bool = False

    @classmethod
    def from_values(cls, values: np.ndarray, weights: np.ndarray | None, n_bins: int) -> Scale:
        """Measure float64 values of shape (n_rows,); NaN is left out."""
        present = ~np.isnan(values)
        values, weights = values[present], None if weights is None else weights[present]
        if len(values) == 0:  # a later value has nothing to be compared with: it is missing too
            return cls(np.nan, 1.0, np.zeros(1), True)
        low, center, high = quantiles(values, [0.25, 0.5, 0.75], weights)
        half = _difference(values.max(), values.min()) / 2
        unit = _difference(high, low) or half or 1.0
        scale = cls(float(center), float(unit), np.zeros(1), bool(~present.all()))
        scale.edges = bin_edges(scale.apply(values), weights, n_bins)
        return scale

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return scaled values, float64, within +-``LIMIT``."""
        with np.errstate(over="ignore"):  # what overflows is clipped
            power = -np.frexp(max(abs(self.center), self.unit))[1]  # exact, and no difference overflows
            center, unit = np.ldexp([self.center, self.unit], power)
            scaled = (np.ldexp(values, power) - center) / unit
        return np.asarray(np.clip(scaled, -LIMIT, LIMIT))


def _difference(high: float, low: float) -> float:
    """Return high - low, at most the largest float."""
    with np.errstate(over="ignore"):
        return float(min(high - low, np.finfo(float).max))


def quantiles(
    values: np.ndarray, levels: Sequence[float] | np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """Return quantiles of weighted values; a row of weight two counts as two rows."""
    result: np.ndarray = np.quantile(values, levels, weights=weights, method="inverted_cdf")
    return result


def bin_edges(values: np.ndarray, weights: np.ndarray | None, n_bins: int) -> np.ndarray:
    """Return the edges of at most ``n_bins`` bins.

    Half of them are at quantiles of the rows and half at quantiles of the distinct values: quantiles of
    the rows alone collapse where one value is frequent (a number that is zero in nine rows of ten).
    """
    distinct = np.unique(values)
    if len(distinct) <= n_bins:
        return distinct
    levels = np.linspace(0, 1, n_bins // 2 + 1)
    edges = np.concatenate([quantiles(values, levels, weights), quantiles(distinct, levels, None)])
    return np.unique(edges)


@dataclass
class Inputs:
    """The features of rows, or of the events of one history, with the scales of their numbers.

    Parameters
    ----------
    schema : Schema
    origins : dict of column -> int
        Earliest training time of each datetime, in microseconds since 1970.
    scales : list of Scale
        One for each number of the schema.
    zones : dict of column -> str or None
        Time zone of the training times; None in files that tabemb 0.2 saved.
    """

    schema: Schema
    origins: dict[str, int] = field(default_factory=dict)
    scales: list[Scale] = field(default_factory=list)
    zones: dict[str, str | None] | None = None

    def fit(self, events: Events, weights: np.ndarray | None, n_bins: int) -> Inputs:
        """Measure the origins and scales of training rows or events, with their weights (n_events,)."""
        times = [f.column for f in self.schema.numbers if f.part]
        self.origins = {name: earliest(events.frame[name], name) for name in times}
        self.zones = zones_of(events.frame.select(self.schema.used), self._datetimes)
        self.scales = [
            Scale.from_values(self._number(f, events), weights, n_bins) for f in self.schema.numbers
        ]
        return self

    def encode(
        self, events: Events, vocabularies: Sequence[Vocabulary]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return codes, by the vocabulary of each categorical feature, and scaled numbers."""
        codes = np.empty((len(events), len(vocabularies)), np.int32)
        numbers = np.empty((len(events), len(self.scales)), np.float32)
        if not len(events):
            return codes, numbers
        events = replace(events, frame=self._with_times(events.frame))
        if self.zones:
            events = replace(events, frame=in_zones(events.frame, self.zones, self._datetimes))
        for i, (feature, vocabulary) in enumerate(zip(self.schema.categorical, vocabularies)):
            codes[:, i] = vocabulary.codes(*_categories(feature, events.frame))
        for i, (feature, scale) in enumerate(zip(self.schema.numbers, self.scales)):
            numbers[:, i] = scale.apply(self._number(feature, events, strict=False))
        return codes, numbers

    @property
    def _datetimes(self) -> set[str]:
        return {name for name, role in self.schema.roles.items() if role == "datetime"}

    def _with_times(self, frame: pa.Table) -> pa.Table:
        """Return the frame with the times among the values of each datetime column of several kinds."""
        for name, role in self.schema.roles.items():
            if role == "datetime" and is_keys(frame.schema.field(name)):
                times = _times_among(frame[name], frame.schema.field(name))
                frame = frame.set_column(frame.schema.get_field_index(name), name, times)
        return frame

    def _number(self, feature: Feature, events: Events, strict: bool = True) -> np.ndarray:
        """Return the unscaled values of a number, float64 (n_events,)."""
        column = events.frame[feature.column]
        if feature.part is None:
            source = events.frame.schema.field(feature.column)
            return to_floats(column, feature.name, source, events.row_of, strict)
        days = days_since(self.origins[feature.column], column, feature.column)
        if feature.part == "elapsed":
            return days
        return events.since_previous(days) if feature.part == "gap" else events.until_last(days)


class Encoder:
    """Vocabularies and number scales of training rows, which turn any rows into arrays.

    Parameters
    ----------
    schema : Schema
    n_bins : int
        Largest number of bins of a number.
    min_count : float
        Categories with a smaller count are read as unknown, where their table does not say otherwise.
    max_events : int, optional
        Largest number of events, or of steps, of a row in each history; the newest stay.

    Attributes
    ----------
    vocabularies_ : dict of str -> Vocabulary
        One for each table of the schema.
    inputs_ : list of Inputs
        Of the rows, then of the events of each history.
    """

    def __init__(
        self, schema: Schema, n_bins: int, min_count: float, max_events: int | None = None
    ) -> None:
        self.schema = schema
        self.n_bins = n_bins
        self.min_count = min_count
        self.max_events = max_events

    def fit(self, frame: pa.Table, weights: np.ndarray | None = None) -> Encoder:
        """Collect categories and measure numbers of training rows, each of which counts by its weight.

        Parameters
        ----------
        frame : pyarrow.Table
        weights : ndarray of shape (n_rows,), optional

        Returns
        -------
        self
        """
        parts = [(self.schema, Events.single(frame)), *self._histories(frame)]
        part_weights = [  # every event has the weight of its row
            None if weights is None else np.repeat(weights, events.counts) for _, events in parts
        ]
        features = [{f.name: f for f in schema.categorical} for schema, _ in parts]
        encoded = list(zip(features, [events for _, events in parts], part_weights))
        self.vocabularies_ = {
            name: self._vocabulary(name, table, encoded) for name, table in self.schema.tables.items()
        }
        self.inputs_ = [
            Inputs(schema).fit(events, w, self.n_bins)
            for (schema, events), w in zip(parts, part_weights)
        ]
        return self

    def transform(self, frame: pa.Table) -> Encoded:
        """Encode rows; columns are matched by name, and columns that ``fit`` did not have are ignored.

        Raises
        ------
        ValueError
            A column is missing, holds values of another kind than in ``fit``, or an infinite number.
        """
        self._check_columns(frame)
        parts = [Events.single(frame), *(events for _, events in self._histories(frame))]
        (codes, numbers), *encoded = [
            inputs.encode(events, self.vocabularies_of(inputs))
            for inputs, events in zip(self.inputs_, parts)
        ]
        histories = [
            EncodedHistory(part.offsets, *arrays, part.step_offsets)
            for part, arrays in zip(parts[1:], encoded)
        ]
        return Encoded(codes, numbers, tuple(histories))

    def vocabularies_of(self, inputs: Inputs) -> list[Vocabulary]:
        """Return the vocabulary that each categorical feature of rows or events reads."""
        return [self.vocabularies_[name] for name in self.schema.tables_of(inputs.schema.categorical)]

    @property
    def scales_(self) -> list[Scale]:
        """Scales of the rows' numbers."""
        return self.inputs_[0].scales

    def _histories(self, frame: pa.Table) -> list[tuple[Schema, Events]]:
        return [
            (schema, _events(frame, name, schema, self.max_events))
            for name, schema in self.schema.histories.items()
        ]

    def _check_columns(self, frame: pa.Table) -> None:
        present = set(frame.schema.names)
        missing = [name for name in self.schema.used if name not in present]
        if missing:
            listed = ", ".join(repr(name) + near(name, frame.schema.names) for name in missing[:5])
            raise ValueError(f"X lacks column {listed}, which the model was fitted with.")

    def _vocabulary(
        self,
        name: str,
        table: Table,
        parts: Sequence[tuple[dict[str, Feature], Events, np.ndarray | None]],
    ) -> Vocabulary:
        """Return the vocabulary of one table, whose columns may be of rows and of events."""
        columns: dict[str, tuple[pa.ChunkedArray, pa.Field]] = {}
        weights: dict[str, np.ndarray | None] = {}
        for features, events, w in parts:
            names = [name for name in table.columns if name in features]
            columns |= {name: _categories(features[name], events.frame) for name in names}
            weights |= dict.fromkeys(names, w)
        min_count = self.min_count if table.min_count is None else table.min_count
        try:
            return Vocabulary.from_columns(columns, weights, min_count)
        except ValueError as error:
            reason = str(error).removesuffix(".")
            raise ValueError(f"Table {name!r}: {reason}.") from error


def _events(frame: pa.Table, name: str, schema: Schema, max_events: int | None) -> Events:
    """Return events with the fields of the schema; a column without any event need not have them."""
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
    """Return events as structs where they came as values of several kinds; a missing event otherwise."""
    source = events.frame.schema.field(name) if name in events.frame.schema.names else None
    if source is None or not (is_keys(source) or pa.types.is_null(source.type)):
        return events
    values = python_values(events.frame[name], source)
    dicts = [value if isinstance(value, dict) else None for value in values]
    if not any(dicts):
        return replace(events, frame=pa.table({})) if pa.types.is_null(source.type) else events
    column = events_column(dicts, name)
    return replace(events, frame=events_frame(column.array, column.field(name)))


def _times_among(column: pa.ChunkedArray, source: pa.Field) -> pa.ChunkedArray:
    """Return the times, and the text that spells one, among the values of a column."""
    times = [
        pd.to_datetime(value, format="ISO8601", errors="coerce")
        if isinstance(value, (dt.date, str))
        else None
        for value in python_values(column, source)
    ]
    return pa.chunked_array([column_of(times, source.name).array])


def _categories(feature: Feature, frame: pa.Table) -> tuple[pa.ChunkedArray, pa.Field]:
    """Return the values of a categorical feature and their field: a column or a calendar part."""
    if feature.part is None:
        return frame[feature.column], frame.schema.field(feature.column)
    part = CALENDAR[feature.part](as_times(frame[feature.column], feature.column))
    return part, pa.field(feature.name, part.type)


def to_floats(
    column: pa.ChunkedArray,
    name: str,
    source: pa.Field | None = None,
    row_of: Callable[[int], int] = int,
    strict: bool = True,
) -> np.ndarray:
    """Return a column as float64 of shape (n_rows,), NaN where a value is missing; durations in seconds.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    name : str
        Name of the column in errors.
    source : pyarrow.Field, optional
        The column's field, which says whether it holds keys.
    row_of : function of int -> int, optional
        The row that the value at a position stands in, for errors.
    strict : bool, default=True
        Whether a value that is no number is an error. False: among numbers it is missing.

    Raises
    ------
    ValueError
        A value is infinite, or text that is not a number.
    """
    source = source or pa.field(name, column.type)
    values = None if is_keys(source) else _cast(column)
    if values is None:
        objects = python_values(column, source)
        values = np.array([_as_float(value) for value in objects])
        unread = [i for i in np.flatnonzero(np.isnan(values)).tolist() if objects[i] is not None]
        if unread and (strict or np.isnan(values).all()):
            raise ValueError(
                f"Column {name!r} has the role 'number', but holds {objects[unread[0]]!r:.60} in row "
                f"{row_of(unread[0])}."
            )
    if np.isinf(values).any():
        first = int(np.flatnonzero(np.isinf(values))[0])
        raise ValueError(
            f"Column {name!r} holds {values[first]} in row {row_of(first)}; a number must be finite or "
            "missing."
        )
    return values


def _cast(column: pa.ChunkedArray) -> np.ndarray | None:
    """Return a column as float64, None where Arrow cannot read it as numbers."""
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_duration(column.type):
            if column.type.unit == "ns":
                column = column.cast(pa.duration("us"), safe=False)
            column = _seconds(column.cast(pa.int64()), TICKS_PER_SECOND[column.type.unit])
        elif pa.types.is_time(column.type):
            column = _seconds(column.cast(pa.time64("us")).cast(pa.int64()), 1_000_000)
        # for one row, a cast that changes nothing takes half of the time
        if column.type != pa.float64():
            column = column.cast(pa.float64(), safe=False)
    except pa.ArrowException:
        return None
    values: np.ndarray = column.to_numpy().astype(float)
    return values


def _as_float(value: Any) -> float:
    """Return a number, or the number that text spells, as float; NaN for anything else.

    Durations and times of day are seconds, as in a column of their type.
    """
    if isinstance(value, dt.time):
        value = dt.timedelta(0, value.second, value.microsecond, 0, value.minute, value.hour)
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if not isinstance(value, (Real, Decimal, str)):
        return np.nan
    try:
        return np.nan if isinstance(value, str) and "_" in value else float(value)
    except ValueError:
        return np.nan
    except OverflowError:
        return np.inf


def _seconds(ticks: pa.ChunkedArray, per_second: int) -> pa.ChunkedArray:
    return pc.divide(ticks.cast(pa.float64(), safe=False), float(per_second))
