"""Turn an Arrow table into the arrays that a network reads: codes of categories and scaled numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tabemb.data.counted import Counted, has_missing
from tabemb.data.dates import check_python_times
from tabemb.data.event_columns import events_in
from tabemb.data.floats import to_floats
from tabemb.data.histories import Events
from tabemb.data.sampling import sampled_rows
from tabemb.data.scales import Scale, apply_scales
from tabemb.data.schema import BINS, WITHIN, Feature, Schema, Table, near, with_parts
from tabemb.data.text import with_words
from tabemb.data.times import (
    CALENDAR,
    as_times,
    days_since,
    earliest,
    in_zones,
    zones_of,
)
from tabemb.data.values import column_of, is_keys, python_values
from tabemb.data.vectors import VectorScale, read_vectors
from tabemb.data.vocabulary import Vocabulary
from tabemb.data.within import Within, find_within

AT_ONCE = 2**16
"""Numbers that are scaled at a time."""


class EncodedHistory(NamedTuple):
    """Events of all rows, concatenated into arrays.

    ``codes`` and ``numbers`` are as in `Encoded`, one row per event; the offsets are as in `Events`.
    """

    offsets: np.ndarray
    codes: np.ndarray
    numbers: np.ndarray
    step_offsets: np.ndarray | None = None


class Encoded(NamedTuple):
    """Rows as arrays.

    ``codes`` are int32 (n_rows, n_categorical), ``numbers`` float32 (n_rows, n_numbers) with NaN where
    missing. ``vectors`` has a float32 array (n_rows, width) for each column of vectors, NaN in rows
    without a vector.
    """

    codes: np.ndarray
    numbers: np.ndarray
    histories: tuple[EncodedHistory, ...]
    vectors: tuple[np.ndarray, ...] = ()


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
        Time zone of the training times; None in files of tabemb 0.2.
    within : dict of column -> Within
        The numbers of events that are also scaled within the levels of a categorical feature.
    """

    schema: Schema
    origins: dict[str, int] = field(default_factory=dict)
    scales: list[Scale] = field(default_factory=list)
    zones: dict[str, str | None] | None = None
    within: dict[str, Within] = field(default_factory=dict)

    def fit(self, events: Events, weights: np.ndarray | None, n_bins: int) -> Inputs:
        """Measure the origins and scales of training rows or events, with their weights (n_events,)."""
        times = [f.column for f in self.schema.numbers if f.part]
        self.origins = {name: earliest(events.frame[name], name) for name in times}
        self.zones = zones_of(events.frame.select(self.schema.used), self._datetimes)
        self.scales = [
            Scale.from_values(self._number(f, events), weights, n_bins) for f in self.schema.numbers
        ]
        return self

    def fit_within(
        self,
        events: Events,
        vocabularies: Sequence[Vocabulary],
        weights: np.ndarray | None,
        n_bins: int,
        prefix: str,
        known: Mapping[str, Within | None],
        taken: Iterable[str],
    ) -> dict[Feature, np.ndarray]:
        """Find the numbers to scale within a categorical feature, and add features for them.

        Parameters
        ----------
        events : Events
        vocabularies : sequence of Vocabulary
            One for each categorical feature.
        weights : ndarray of shape (n_events,), optional
        n_bins : int
            Largest number of bins of a number of the new features.
        prefix : str
            Prefix of the names of all fields.
        known : mapping of column -> Within or None
            Numbers for which this is decided already.
        taken : iterable of str
            Names of tables, which new features must not have.

        Returns
        -------
        dict of Feature -> ndarray
            The sum of the weights by code, for each new categorical feature.
        """
        codes = {
            f.name: (v.codes(*_categories(f, events.frame)), len(v))
            for f, v in zip(self.schema.categorical, vocabularies)
            if f.part is None
        }
        counts = {}
        for feature, scale in zip(self.schema.numbers, list(self.scales)):
            if feature.part is not None or not codes:
                continue
            values, column = self._number(feature, events), feature.column
            within = known.get(column)
            if column not in known and not events.are_clock(values):
                within = find_within(values, codes, weights, scale)
            if within is None:
                continue
            self.within[column], levels = within, codes[within.by][0]
            self.schema = with_parts(self.schema, column, within.by, prefix, within.n_codes > 0, taken)
            self.scales.append(Scale.from_values(within.scaled(levels, values), weights, n_bins))
            if within.n_codes:
                bins = within.bins(levels, values)
                counts[self.schema.categorical[-1]] = np.bincount(bins, weights, within.n_codes) + 0.0
        return counts

    def encode(
        self, events: Events, vocabularies: Sequence[Vocabulary]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return codes (one vocabulary for each categorical feature) and scaled numbers."""
        codes = np.empty((len(events), len(vocabularies)), np.int32)
        numbers = np.empty((len(events), len(self.scales)), np.float32)
        if not len(events):
            return codes, numbers
        events = self.aligned(events)
        levels: dict[str, np.ndarray] = {}
        for i, (feature, vocabulary) in enumerate(zip(self.schema.categorical, vocabularies)):
            if feature.part == BINS:
                within = self.within[feature.column]
                values = self._number(feature, events, strict=False)
                codes[:, i] = within.bins(levels[within.by], values)
            else:
                codes[:, i] = vocabulary.codes(*_categories(feature, events.frame))
                levels[feature.name] = codes[:, i]
        columns = max(1, AT_ONCE // len(events))  # many rows: column by column
        for start in range(0, len(self.scales), columns):
            part = slice(start, start + columns)
            features = self.schema.numbers[part]
            unscaled = [self._unscaled(feature, events, levels) for feature in features]
            numbers[:, part] = apply_scales(self.scales[part], np.stack(unscaled, axis=1))
        return codes, numbers

    def _unscaled(
        self, feature: Feature, events: Events, levels: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Return the values of a number before its scale, which may be values within a level."""
        values = self._number(feature, events, strict=False)
        if feature.part != WITHIN:
            return values
        within = self.within[feature.column]
        return within.scaled(levels[within.by], values)

    def aligned(self, events: Events) -> Events:
        """Return later events with times as in ``fit``: in the same time zone, and never as text."""
        if not len(events):
            return events
        events = replace(events, frame=self._with_times(events))
        if self.zones:
            events = replace(events, frame=in_zones(events.frame, self.zones, self._datetimes))
        return events

    @property
    def _datetimes(self) -> set[str]:
        return {name for name, role in self.schema.roles.items() if role == "datetime"}

    def _with_times(self, events: Events) -> pa.Table:
        """Return the frame with nothing but times in datetime columns that mix several kinds."""
        frame = events.frame
        for name, role in self.schema.roles.items():
            if role == "datetime" and is_keys(frame.schema.field(name)):
                times = _times_among(frame[name], frame.schema.field(name), events.row_of)
                frame = frame.set_column(frame.schema.get_field_index(name), name, times)
        return frame

    def _number(self, feature: Feature, events: Events, strict: bool = True) -> np.ndarray:
        """Return the unscaled values of a number, float64 (n_events,)."""
        column = events.frame[feature.column]
        if feature.part in (None, WITHIN, BINS):
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
        Categories with a smaller count are read as unknown, unless their table sets another limit.
    max_events : int, optional
        Largest number of events or steps of a row in each history; the newest are kept.
    earlier : str, optional
        The history of earlier rows, if the rows are events themselves.
    clocks : sequence of str, optional
        Numbers of events that mean the same in every category, such as the time since the last event.

    Attributes
    ----------
    vocabularies_ : dict of str -> Vocabulary
        One for each table of the schema.
    inputs_ : list of Inputs
        For the rows first, then for the events of each history.
    vectors_ : list of VectorScale
        One for each column of vectors.
    """

    vectors_: Sequence[VectorScale] = ()  # in files without vectors

    def __init__(
        self,
        schema: Schema,
        n_bins: int,
        min_count: float,
        max_events: int | None = None,
        earlier: str | None = None,
        clocks: Sequence[str] = (),
    ) -> None:
        self.schema = schema
        self.n_bins = n_bins
        self.min_count = min_count
        self.max_events = max_events
        self.earlier = earlier
        self.clocks = list(clocks)

    def fit(self, frame: pa.Table, weights: np.ndarray | None = None) -> Encoder:
        """Collect the categories and measure the numbers of weighted training rows.

        Parameters
        ----------
        frame : pyarrow.Table
        weights : ndarray of shape (n_rows,), optional

        Returns
        -------
        self
        """
        chosen = None if self.schema.histories else sampled_rows(frame.num_rows)
        if chosen is None:
            return self.measure(frame, weights)
        self.measure(frame.take(pa.array(chosen)), None if weights is None else weights[chosen])
        missing = {feature.column for feature in self.schema.numbers}
        missing = {name for name in missing if has_missing(frame[name])}
        return self.count(counted_of([(self.schema, Events.single(frame))], [weights]), missing)

    def measure(self, frame: pa.Table, weights: np.ndarray | None) -> Encoder:
        """Fit everything on these rows, which may be a sample."""
        frame = with_words(frame, self.schema.texts)
        parts = [(self.schema, Events.single(frame)), *self._histories(frame)]
        part_weights = _of_events([events for _, events in parts], weights)
        self.vocabularies_ = self._vocabularies(counted_of(parts, part_weights), {})
        self.inputs_ = [
            Inputs(schema).fit(events, w, self.n_bins)
            for (schema, events), w in zip(parts, part_weights)
        ]
        self._fit_within([events for _, events in parts], part_weights)
        self.vectors_ = [
            VectorScale.fit(read_vectors(frame[name], frame.schema.field(name)), weights)
            for name in self.schema.vectors
        ]
        return self

    def count(self, columns: Mapping[str, Counted], missing: Container[str]) -> Encoder:
        """Count the categories of all rows after `measure` has seen a sample.

        Parameters
        ----------
        columns : mapping of categorical feature -> Counted
        missing : container of str
            Names of the columns with missing values.
        """
        self.vocabularies_ = self._vocabularies(columns, {})
        for feature, scale in zip(self.schema.numbers, self.scales_):
            scale.has_missing |= feature.column in missing
        return self

    def grown(self, frame: pa.Table, weights: np.ndarray | None = None) -> Encoder:
        """Return an encoder that has also counted later rows; old codes stay, new categories follow.

        Scales and bins of numbers stay: a number outside their range is in the outermost bin. A missing
        column, or one with values of another kind, raises a ValueError.
        """
        self.check_columns(frame)
        within = next((name for inputs in self.inputs_ for name in inputs.within), None)
        if within is not None:
            raise ValueError(
                f"A model whose events have the number {within!r} scaled within a category cannot grow; "
                "fit a new one on all rows."
            )
        frame = with_words(frame, self.schema.texts)
        all_events = [Events.single(frame), *(events for _, events in self._histories(frame))]
        parts = [(inputs.schema, inputs.aligned(e)) for inputs, e in zip(self.inputs_, all_events)]
        encoder = copy(self)
        part_weights = _of_events(all_events, weights)
        encoder.vocabularies_ = self._vocabularies(counted_of(parts, part_weights), self.vocabularies_)
        return encoder

    def _fit_within(self, parts: list[Events], weights: list[np.ndarray | None]) -> None:
        """Find the numbers of events to scale within a categorical feature, and add their features.

        If rows are events themselves, they and the history of earlier rows are scaled in the same way.
        """
        self.schema = replace(self.schema, tables=dict(self.schema.tables))
        names = [None if self.earlier is None else "", *self.schema.histories]
        for name, inputs, events, w in zip(names, self.inputs_, parts, weights):
            if name is None:  # rows that are not events
                continue
            prefix = name and f"{name}."
            known = {**dict.fromkeys(self.clocks), **self._known(name)}
            counts = inputs.fit_within(
                events, self.vocabularies_of(inputs), w, self.n_bins, prefix, known, self.schema.tables
            )
            for feature, of_bins in counts.items():
                table = feature.name.removeprefix(prefix) if feature.column in known else feature.name
                self._add_bins(table, feature, inputs.within[feature.column], of_bins)
        rows, *histories = self.inputs_
        by_name = {name: part.schema for name, part in zip(self.schema.histories, histories)}
        rows.schema = replace(rows.schema, histories=by_name, tables=self.schema.tables)
        self.schema = rows.schema

    def _add_bins(self, table: str, feature: Feature, within: Within, counts: np.ndarray) -> None:
        """Add a table for the bins of a number within a category, or let a feature read that table."""
        if table in self.schema.tables:
            self.schema.tables[table].columns.append(feature.name)
            self.vocabularies_[table].counts += counts
            return
        levels = self.vocabularies_[self.schema.tables_of([Feature(within.by, within.by)])[0]]
        self.vocabularies_[table] = Vocabulary("text", within.labels(levels), counts)
        self.schema.tables[table] = Table([feature.name])

    def _known(self, name: str) -> dict[str, Within | None]:
        """Return how the rows' numbers are scaled, by their names in the history of earlier rows.

        Other histories have no such number. If the category of a number reads another table in the
        earlier rows, the number is left out, so that it is decided again there.
        """
        rows, prefix = self.inputs_[0], f"{name}."
        if not name or name != self.earlier:
            return {}
        columns = [f.column for f in rows.schema.numbers if f.part is None]
        known: dict[str, Within | None] = {}
        for column in columns:
            within = rows.within.get(column)
            if within is not None:
                tables = [t for t in self.schema.tables.values() if within.by in t.columns]
                if f"{prefix}{within.by}" not in tables[0].columns:
                    continue
                within = replace(within, by=f"{prefix}{within.by}")
            known[f"{prefix}{column}"] = within
        return known

    def transform(self, frame: pa.Table) -> Encoded:
        """Encode rows; columns are matched by name, and columns that ``fit`` did not have are ignored.

        Raises
        ------
        ValueError
            A column is missing, or contains values of another kind than in ``fit`` or infinite numbers.
        """
        self.check_columns(frame)
        frame = with_words(frame, self.schema.texts)
        parts = [Events.single(frame), *(events for _, events in self._histories(frame))]
        (codes, numbers), *encoded = [
            inputs.encode(events, self.vocabularies_of(inputs))
            for inputs, events in zip(self.inputs_, parts)
        ]
        histories = [
            EncodedHistory(part.offsets, *arrays, part.step_offsets)
            for part, arrays in zip(parts[1:], encoded)
        ]
        vectors = [
            scale.apply(read_vectors(frame[name], frame.schema.field(name), scale.width))
            for name, scale in zip(self.schema.vectors, self.vectors_)
        ]
        return Encoded(codes, numbers, tuple(histories), tuple(vectors))

    def vocabularies_of(self, inputs: Inputs) -> list[Vocabulary]:
        """Return the vocabulary that each categorical feature of rows or events reads."""
        return [self.vocabularies_[name] for name in self.schema.tables_of(inputs.schema.categorical)]

    @property
    def hashed_from(self) -> tuple[int, ...]:
        """The first hashed code of each categorical input of rows; empty without hashed codes."""
        vocabularies = self.vocabularies_of(self.inputs_[0])
        firsts = [v.kept.stop if v.n_hashed else np.iinfo(np.int32).max for v in vocabularies]
        return tuple(firsts) if any(v.n_hashed for v in vocabularies) else ()

    @property
    def scales_(self) -> list[Scale]:
        """Scales of the rows' numbers."""
        return self.inputs_[0].scales

    def _histories(self, frame: pa.Table) -> list[tuple[Schema, Events]]:
        return [
            (schema, events_in(frame, name, schema, self.max_events))
            for name, schema in self.schema.histories.items()
        ]

    def check_columns(self, frame: pa.Table) -> None:
        present = set(frame.schema.names)
        missing = [name for name in self.schema.used if name not in present]
        if missing:
            listed = ", ".join(repr(name) + near(name, frame.schema.names) for name in missing[:5])
            raise ValueError(f"X lacks column {listed}, which the model was fitted with.")

    def _vocabularies(
        self, columns: Mapping[str, Counted], known: Mapping[str, Vocabulary]
    ) -> dict[str, Vocabulary]:
        """Return the vocabulary of each table, grown from the known one if there is one."""
        return {
            name: self._vocabulary(name, table, columns, known.get(name))
            for name, table in self.schema.tables.items()
        }

    def _vocabulary(
        self, name: str, table: Table, columns: Mapping[str, Counted], known: Vocabulary | None
    ) -> Vocabulary:
        """Return the vocabulary of one table, whose columns may be in rows and in events."""
        of_table = {column: columns[column] for column in table.columns if column in columns}
        values = {column: (counted.values, counted.field) for column, counted in of_table.items()}
        weights = {column: counted.weights for column, counted in of_table.items()}
        try:
            fit = Vocabulary.from_columns if known is None else known.grown
            return fit(values, weights, table.limit(self.min_count))
        except ValueError as error:
            reason = str(error).removesuffix(".")
            raise ValueError(f"Table {name!r}: {reason}.") from error


def counted_of(
    parts: Sequence[tuple[Schema, Events]], weights: Sequence[np.ndarray | None]
) -> dict[str, Counted]:
    """Return the values of each categorical feature of rows and of events."""
    return {
        feature.name: Counted(*_categories(feature, events.frame), w)
        for (schema, events), w in zip(parts, weights)
        for feature in schema.categorical
    }


def _of_events(parts: Sequence[Events], weights: np.ndarray | None) -> list[np.ndarray | None]:
    """Return the weights of the rows and of each history's events; an event has its row's weight."""
    return [None if weights is None else np.repeat(weights, events.counts) for events in parts]


def _times_among(
    column: pa.ChunkedArray, source: pa.Field, row_of: Callable[[int], int]
) -> pa.ChunkedArray:
    """Return a column as times; values that are neither times nor ISO 8601 text become missing."""
    times = [
        pd.to_datetime(value, format="ISO8601", errors="coerce")
        if isinstance(value, (dt.date, str))
        else None
        for value in python_values(column, source)
    ]
    rows = list(map(row_of, range(len(times))))
    check_python_times(pd.Series(times, rows, object), f"Column {source.name!r}")
    return pa.chunked_array([column_of(times, source.name).array])


def _categories(feature: Feature, frame: pa.Table) -> tuple[pa.ChunkedArray, pa.Field]:
    """Return the values of a categorical feature and their field: a column or a calendar part."""
    if feature.part is None:
        return frame[feature.column], frame.schema.field(feature.column)
    part = CALENDAR[feature.part](as_times(frame[feature.column], feature.column))
    return part, pa.field(feature.name, part.type)
