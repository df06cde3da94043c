"""From an Arrow table to the arrays that a network reads: codes of categories, scaled numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.histories import Events, is_list
from tabemb.data.schema import CALENDAR, Feature, Schema, as_times, near
from tabemb.data.vocabulary import Vocabulary

LIMIT = 1e12
"""Scaled numbers are kept within this range, so that float32 holds them and their squares."""


class EncodedHistory(NamedTuple):
    """Events of all rows, laid end to end, as arrays; row i has those from ``offsets[i]`` up to ``offsets[i + 1]``."""

    offsets: np.ndarray
    codes: np.ndarray
    numbers: np.ndarray


class Encoded(NamedTuple):
    """Rows as arrays: codes int32 (n_rows, n_categorical), numbers float32 (n_rows, n_numbers) with NaN if missing."""

    codes: np.ndarray
    numbers: np.ndarray
    histories: tuple[EncodedHistory, ...]


@dataclass
class Scale:
    """Centre and unit of one number (its median and interquartile range), the bin edges in that unit, gaps seen.

    Where the quartiles are equal the unit is half the range, as in RealMLP (Holzmueller et al. 2024).
    """

    center: float
    unit: float
    edges: np.ndarray
    has_missing: bool = False

    @classmethod
    def from_values(cls, values: np.ndarray, weights: np.ndarray | None, n_bins: int) -> Scale:
        """Learn from float64 values of shape (n_rows,); NaN is left out."""
        present = ~np.isnan(values)
        values, weights = values[present], None if weights is None else weights[present]
        if len(values) == 0:
            return cls(0.0, 1.0, np.zeros(1), True)
        low, center, high = quantiles(values, [0.25, 0.5, 0.75], weights)
        unit = high - low or (values.max() - values.min()) / 2 or 1.0
        scale = cls(float(center), float(unit), np.zeros(1), bool(~present.all()))
        scale.edges = bin_edges(scale.apply(values), weights, n_bins)
        return scale

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Scaled values, float64, within +-1e12."""
        reach = LIMIT * self.unit  # clipped before the division, which could overflow
        return np.clip(values - self.center, -reach, reach) / self.unit


def quantiles(values: np.ndarray, levels, weights: np.ndarray | None) -> np.ndarray:
    """Quantiles of weighted values: a row of weight two counts as two rows."""
    if weights is None:
        return np.quantile(values, levels, method="inverted_cdf")
    return np.quantile(values, levels, weights=weights, method="inverted_cdf")


def bin_edges(values: np.ndarray, weights: np.ndarray | None, n_bins: int) -> np.ndarray:
    """Edges of at most ``n_bins`` bins, half at quantiles of the rows, half at quantiles of the distinct values.

    Quantiles of the rows alone collapse where one value is frequent (a number that is zero in nine rows of ten).
    """
    distinct = np.unique(values)
    if len(distinct) <= n_bins:
        return distinct
    levels = np.linspace(0, 1, n_bins // 2 + 1)
    edges = np.concatenate([quantiles(values, levels, weights), quantiles(distinct, levels, None)])
    return np.unique(edges)


@dataclass
class Inputs:
    """The features of rows, or of the events of one history, with what was learned of their numbers."""

    schema: Schema
    origins: dict[str, int] = field(default_factory=dict)
    scales: list[Scale] = field(default_factory=list)

    def fit(self, events: Events, weights: np.ndarray | None, n_bins: int) -> Inputs:
        """Learn scales from training rows or events."""
        times = [f.column for f in self.schema.numbers if f.part]
        self.origins = {name: _origin(events.frame[name], name) for name in times}
        self.scales = [
            Scale.from_values(self._number(f, events), weights, n_bins) for f in self.schema.numbers
        ]
        return self

    def encode(
        self, events: Events, vocabularies: Sequence[Vocabulary]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Codes by the vocabulary of each categorical feature, and scaled numbers."""
        codes = np.empty((events.frame.num_rows, len(vocabularies)), np.int32)
        numbers = np.empty((events.frame.num_rows, len(self.scales)), np.float32)
        if not events.frame.num_rows:
            return codes, numbers
        for i, (feature, vocabulary) in enumerate(zip(self.schema.categorical, vocabularies)):
            codes[:, i] = vocabulary.codes(*_cells(feature, events.frame))
        for i, (feature, scale) in enumerate(zip(self.schema.numbers, self.scales)):
            numbers[:, i] = scale.apply(self._number(feature, events))
        return codes, numbers

    def _number(self, feature: Feature, events: Events) -> np.ndarray:
        column = events.frame[feature.column]
        if feature.part is None:
            return to_floats(column, feature.name)
        days = _elapsed_days(column, feature.column, self.origins[feature.column])
        if feature.part == "elapsed":
            return days
        return events.since_previous(days) if feature.part == "gap" else events.until_last(days)


class Encoder:
    """Learns vocabularies and number scales from training rows; turns any rows into arrays.

    Parameters
    ----------
    schema : Schema
    n_bins : int
        Largest number of bins of a number.
    min_count : float
        Categories with a smaller count are read as unknown, where their table does not say otherwise.
    max_events : int, optional
        Most events of a row in each history; the newest stay.
    """

    def __init__(
        self, schema: Schema, n_bins: int, min_count: float, max_events: int | None = None
    ) -> None:
        self.schema = schema
        self.n_bins = n_bins
        self.min_count = min_count
        self.max_events = max_events

    def fit(self, frame: pa.Table, weights: np.ndarray | None = None) -> Encoder:
        """Learn from training rows, each counting by its weight."""
        parts = [(self.schema, Events.single(frame)), *self._histories(frame)]
        own = [None if weights is None else np.repeat(weights, events.counts) for _, events in parts]
        self.vocabularies_ = {name: self._learn_table(name, parts, own) for name in self.schema.tables}
        self.inputs_ = [
            Inputs(schema).fit(events, w, self.n_bins) for (schema, events), w in zip(parts, own)
        ]
        return self

    def transform(self, frame: pa.Table) -> Encoded:
        """Encode rows, whatever the order of the columns; columns that were not there in ``fit`` are left alone.

        Raises
        ------
        ValueError
            A column is missing, holds values of another kind than in ``fit``, or an infinite number.
        """
        self._check_columns(frame)
        parts = [Events.single(frame), *(events for _, events in self._histories(frame))]
        (codes, numbers), *histories = [
            inputs.encode(events, self.vocabularies_of(inputs))
            for inputs, events in zip(self.inputs_, parts)
        ]
        return Encoded(
            codes,
            numbers,
            tuple(EncodedHistory(e.offsets, *arrays) for e, arrays in zip(parts[1:], histories)),
        )

    def vocabularies_of(self, inputs: Inputs) -> list[Vocabulary]:
        """The vocabulary that each categorical feature of rows or events reads."""
        return [self.vocabularies_[name] for name in self.schema.tables_of(inputs.schema.categorical)]

    @property
    def scales_(self) -> list[Scale]:
        """Scales of the rows' numbers."""
        return self.inputs_[0].scales

    def _histories(self, frame: pa.Table) -> list[tuple[Schema, Events]]:
        return [
            (own, _events(frame[name], name, own, self.max_events))
            for name, own in self.schema.histories.items()
        ]

    def _check_columns(self, frame: pa.Table) -> None:
        missing = [name for name in self.schema.used if name not in frame.schema.names]
        if missing:
            listed = ", ".join(repr(name) + near(name, frame.schema.names) for name in missing[:5])
            raise ValueError(f"X lacks column {listed}, which the model was fitted with.")

    def _learn_table(
        self, name: str, parts: Sequence[tuple[Schema, Events]], weights: Sequence[np.ndarray | None]
    ) -> Vocabulary:
        table = self.schema.tables[name]
        columns, own = {}, {}
        for (schema, events), w in zip(parts, weights):
            for feature in schema.categorical:
                if feature.name in table.columns:
                    columns[feature.name], own[feature.name] = _cells(feature, events.frame), w
        try:
            return Vocabulary.from_columns(
                columns, own, self.min_count if table.min_count is None else table.min_count
            )
        except ValueError as error:
            raise ValueError(f"Table {name!r}: {error}") from error


def _events(column: pa.ChunkedArray, name: str, schema: Schema, max_events: int | None) -> Events:
    """Events with the fields that the schema uses; where there is no event at all, a column need not name them."""
    if not is_list(column.type) and not pa.types.is_null(column.type):
        raise ValueError(f"Column {name!r} must hold lists of events; it holds {column.type}.")
    if pa.types.is_null(column.type):
        return Events(np.zeros(len(column) + 1, np.int64), pa.table({}))
    events = Events.of(column, name, max_events)
    missing = [used for used in schema.used if used not in events.frame.schema.names]
    if missing and events.frame.num_rows:
        raise ValueError(
            f"Column {name!r} lacks the field {missing[0].removeprefix(name + '.')!r} in its events."
        )
    frame = events.frame
    for lacking in missing:
        frame = frame.append_column(lacking, pa.nulls(0))
    return Events(events.offsets, frame)


def _cells(feature: Feature, frame: pa.Table) -> tuple[pa.ChunkedArray, pa.Field]:
    if feature.part is None:
        return frame[feature.column], frame.schema.field(feature.column)
    part = CALENDAR[feature.part](as_times(frame[feature.column], feature.column))
    return part, pa.field(feature.name, part.type)


def _microseconds(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    return as_times(column, name).cast(pa.timestamp("us"), safe=False).cast(pa.int64())


def _origin(column: pa.ChunkedArray, name: str) -> int:
    return pc.min(_microseconds(column, name)).as_py() or 0


def _elapsed_days(column: pa.ChunkedArray, name: str, origin: int) -> np.ndarray:
    """Days since the earliest training time; subtracted as integers, so that no digit is lost."""
    passed = pc.subtract(_microseconds(column, name), origin).cast(pa.float64(), safe=False)
    return passed.to_numpy() / 86_400e6


def _unread(column: pa.ChunkedArray) -> str:
    """The first value that is no number, and where it stands."""
    values = column.to_pandas()
    bad = values[values.notna() & pd.to_numeric(values, errors="coerce").isna()]
    return f"holds {bad.iloc[0]!r} in row {bad.index[0]}" if len(bad) else f"has the type {column.type}"


def to_floats(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """A column as float64 of shape (n_rows,), NaN where a value is missing; durations in seconds.

    Raises
    ------
    ValueError
        A value is infinite, or text that is not a number.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_duration(column.type):
        column = pc.divide(
            column.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64()), 1e6
        )
    elif pa.types.is_time(column.type):
        column = pc.divide(column.cast(pa.time64("us")).cast(pa.int64()).cast(pa.float64()), 1e6)
    try:  # a cast that changes nothing costs one row as much as all the rest
        values = (
            column if column.type == pa.float64() else column.cast(pa.float64(), safe=False)
        ).to_numpy()
    except pa.ArrowException as error:
        raise ValueError(f"Column {name!r} has the role 'number', but {_unread(column)}.") from error
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise ValueError(
            f"Column {name!r} holds {values[row]} in row {row}; a number must be finite or missing."
        )
    return values.astype(float)
