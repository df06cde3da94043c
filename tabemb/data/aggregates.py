"""Aggregates of histories: counts, means and trends, which boosted trees read in place of the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from tabemb.data.floats import to_floats
from tabemb.data.joins import Joiner
from tabemb.data.logs import EventLog, Slices
from tabemb.data.notes import note_log
from tabemb.data.schema import infer_role
from tabemb.data.times import SECONDS_PER_DAY, TICKS_PER_SECOND, TimeAxis
from tabemb.data.values import Column, column_of
from tabemb.data.vocabulary import N_SPECIAL, Vocabulary, kind_of
from tabemb.labels import text_of
from tabemb.names import safe_names
from tabemb.progress import progress

NewColumn: TypeAlias = "np.ndarray | Column"
"""A new column; those of categories are Arrow dictionaries."""
NamedColumns: TypeAlias = "list[tuple[str, NewColumn]]"
"""New columns with their names, which need not differ yet."""


class AggregateJoiner(Joiner):
    """Adds to each row the aggregates of its history, which is cut as `HistoryJoiner` cuts it.

    There is one column for each window and aggregate:

    * of the events: their number, and how many a day; days since the last and since the first one; mean,
      standard deviation, smallest, largest and last gap between events;
    * of every number: its sum, mean, standard deviation, smallest, largest and last value, and its
      trend, the slope of a least-squares line in units a day;
    * of every category: the number of distinct ones, the last one, count and share of each of the most
      frequent ones, and the sum of every number over the events of each of these. The last one is the
      value of the log in pandas, and its text in a library that has no type for it.

    Where times are numbers, a day is one of their units.

    Parameters
    ----------
    log : frame
        One event a row, in any order.
    entity : str
        Column of the log and of X with the entity of an event or row; matched by value.
    time : str
        Column of the log: timestamps, dates or numbers.
    cutoff : str, optional
        Column of X, of the kind of ``time``; only events strictly before it are used. None: all events
        of the log, without the days since the last and first event and the number of events a day.
    windows : sequence of str, Timedelta, number or None, default=(None,)
        How long before the cutoff events are used: "30d", a number where times are numbers, or None for
        any time.
    fields : sequence of str, optional
        Columns of the log to aggregate; all but the entity and the time when None.
    max_events : int, optional
        Largest number of events of a row; the newest are used.
    top_k : int, default=10
        Largest number of categories of a field that have columns: the most frequent ones among the
        events before the cutoffs of ``fit``.
    name : str, default="history"
        Prefix of the new columns: ``{name}_{field}_{aggregate}``, with ``_{window}`` after it. A
        character that boosted trees refuse in a name, such as a colon, becomes an underscore, and a
        name that is there already gets a number at its end.

    Attributes
    ----------
    log_ : EventLog
    levels_ : dict of field -> list
        The categories that have columns.

    Examples
    --------
    >>> import pandas as pd
    >>> log = pd.DataFrame({"who": ["a", "b", "a"], "day": [3, 1, 2], "paid": [5.0, 1.0, 3.0]})
    >>> rows = pd.DataFrame({"who": ["a", "a", "c"], "today": [3, 4, 4]})
    >>> joined = AggregateJoiner(log, entity="who", time="day", cutoff="today").fit_transform(rows)
    >>> joined[["history_count", "history_paid_sum"]].values.tolist()
    [[1.0, 3.0], [2.0, 8.0], [0.0, 0.0]]
    """

    def __init__(
        self,
        log: Any,
        *,
        entity: str,
        time: str,
        cutoff: str | None = None,
        windows: Sequence[Any] = (None,),
        fields: Sequence[str] | None = None,
        max_events: int | None = None,
        top_k: int = 10,
        name: str = "history",
    ) -> None:
        super().__init__(
            log, entity=entity, time=time, cutoff=cutoff, fields=fields, max_events=max_events, name=name
        )
        self.windows = windows
        self.top_k = top_k

    def _fit(self, frame: pa.Table) -> None:
        self._check_windows()
        note_log(self.log_.doubtful)
        schema = self.log_.events.schema
        fields = [field for field in schema if field.name != self.time]
        counted = [field for field in fields if infer_role(field) == "categorical"]
        self.numbers_ = {
            field.name: _as_number(self.log_[field.name], field)
            for field in fields
            if field not in counted
        }
        self.categories_ = {
            field.name: _CategoryField.of(self.log_[field.name], field, self.log_)
            for field in sorted(counted, key=lambda field: field.name)
        }
        entities, cutoffs = self._entities_and_cutoffs(frame)
        # the widest window holds the events of all others
        widest = None if None in self.windows else max(self.windows, key=self.log_.axis.length)
        slices = self.log_.slices(entities, cutoffs, widest).newest(self.max_events)
        n_uses = _uses(slices, len(self.log_))
        for category in self.categories_.values():
            category.choose_levels(n_uses, self.top_k)

    def _check_windows(self) -> None:
        if isinstance(self.windows, str) or not len(self.windows):
            raise ValueError(f"windows must be a list such as ['7d', None]; got {self.windows!r}.")
        for window in self.windows:
            self._check_window(window)

    @property
    def levels_(self) -> dict[str, list[Any]]:
        """The categories that have columns, by field."""
        return {name: category.levels for name, category in self.categories_.items()}

    def _new_columns(self, frame: pa.Table) -> pa.Table:
        entities, cutoffs = self._entities_and_cutoffs(frame)
        columns: NamedColumns = []
        for window in self.windows:
            slices = self.log_.slices(entities, cutoffs, window).newest(self.max_events)
            columns += self._in_chunks(slices, cutoffs, window)
        arrays = [v if isinstance(v, Column) else Column(pa.array(v)) for _, v in columns]
        fields = [array.field(name) for array, name in zip(arrays, self._names(columns))]
        return pa.table([array.array for array in arrays], schema=pa.schema(fields))

    def _new_names(self) -> list[str]:
        # the names are those of the aggregates of one row without events
        no_events = Slices(np.zeros(1, np.int64), np.zeros(1, np.int64))
        cutoffs = None if self.cutoff is None else self.log_.moments[:1]
        columns: NamedColumns = []
        for window in self.windows:
            columns += self._in_chunks(no_events, cutoffs, window)
        return self._names(columns)

    def _names(self, columns: NamedColumns) -> list[str]:
        return safe_names(f"{self.name}_{aggregate}" for aggregate, _ in columns)

    def _in_chunks(self, slices: Slices, cutoffs: np.ndarray | None, window: Any) -> NamedColumns:
        """Return all aggregates by name, computed for some rows at a time."""
        parts = []
        with progress(len(slices.starts), unit="rows") as bar:
            for rows, chunk in slices.chunks():
                chunk_cutoffs = None if cutoffs is None else cutoffs[rows]
                parts.append(self._aggregate(Segments(chunk), chunk_cutoffs, window))
                bar.update(len(chunk.starts))
        end = "" if window is None else f"_{window}"
        names = [name + end for name, _ in parts[0]]
        return [(name, _concatenate([part[i][1] for part in parts])) for i, name in enumerate(names)]

    def _aggregate(self, segments: Segments, cutoffs: np.ndarray | None, window: Any) -> NamedColumns:
        """Return all aggregates, without prefix and window; names of several fields may be equal."""
        axis, days = self.log_.axis, self.log_.days
        columns: NamedColumns = [*_time_aggregates(segments, days).items()]
        if cutoffs is not None:
            now = axis.span(cutoffs, self.log_.moments[0])
            width = None if window is None else float(axis.span(np.asarray(axis.length(window))))
            columns += _cutoff_aggregates(segments, days, now, width).items()
        for name, values in self.numbers_.items():
            columns += _prefixed(name, _number_aggregates(segments, values, days)).items()
        for name, category in self.categories_.items():
            aggregates = category.aggregates(segments, self.numbers_)
            columns += [(f"{name}_{aggregate}", values) for aggregate, values in aggregates]
        return columns


class Segments:
    """Reductions over the events of each row, which lie end to end.

    Parameters
    ----------
    slices : Slices
        The events of each row.
    """

    def __init__(self, slices: Slices) -> None:
        self.slices, self.counts = slices, slices.counts
        self.filled = np.flatnonzero(self.counts)  # rows that have events
        self.heads = slices.offsets[:-1][self.filled]

    @cached_property
    def rows(self) -> np.ndarray:
        """The row of every event, laid end to end."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def take(self, values: np.ndarray) -> np.ndarray:
        """Return values of the log's events for the events of the rows, laid end to end."""
        taken: np.ndarray = values[self.slices.positions]
        return taken

    def reduce(self, how: np.ufunc, values: np.ndarray, empty: float) -> np.ndarray:
        """Reduce values of events, laid end to end, to float64 (n_rows,); ``empty`` without events."""
        reduced = np.full(len(self.counts), empty)
        if len(self.filled):
            reduced[self.filled] = how.reduceat(values, self.heads)
        return reduced

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the events of each row."""
        return self.reduce(np.add, values, 0.0)

    def at(self, values: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return the value of one event of each row, by its position in the log; no events give NaN."""
        taken = np.full(len(self.counts), np.nan)
        taken[self.filled] = values[positions[self.filled]]
        return taken

    def deviations(self, values: np.ndarray, present: np.ndarray) -> Deviations:
        """Return deviations from the row's mean of the values that are present, laid end to end."""
        n = self.sum(present.astype(np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.sum(np.where(present, values, 0.0)) / n
        deviations = np.where(present, values - mean[self.rows], 0.0)
        return Deviations(n, mean, self.sum(deviations**2), deviations)

    def summary(self, values: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
        """Return mean, standard deviation, smallest and largest of the present values, or NaN."""
        around = self.deviations(values, present)
        with np.errstate(invalid="ignore", divide="ignore"):
            std = np.sqrt(around.squares / around.n)
        low = self.reduce(np.fmin, np.where(present, values, np.nan), np.nan)
        high = self.reduce(np.fmax, np.where(present, values, np.nan), np.nan)
        return {"mean": around.mean, "std": std, "min": low, "max": high}


@dataclass
class Deviations:
    """Number, mean and squared deviations of each row's values, (n_rows,), and ``each`` deviation."""

    n: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    each: np.ndarray


def _time_aggregates(segments: Segments, days: np.ndarray) -> dict[str, np.ndarray]:
    """Return the number of events and the gaps between them in days."""
    at = segments.take(days)
    gaps = np.diff(at, prepend=0.0)
    has_gap = np.ones(len(at), dtype=bool)
    has_gap[segments.heads] = False  # the first event of a row has none before it
    ends = segments.slices.ends
    last_gap = segments.at(days, ends - 1) - segments.at(days, ends - 2)
    return {
        "count": segments.counts.astype(np.float64),
        **_prefixed("gap", segments.summary(gaps, has_gap)),
        "gap_last": np.where(segments.counts > 1, last_gap, np.nan),
    }


def _cutoff_aggregates(
    segments: Segments, days: np.ndarray, now: np.ndarray, width: float | None
) -> dict[str, np.ndarray]:
    """Return days since the last and first event, and events a day of the window or since the first."""
    since_last = now - segments.at(days, segments.slices.ends - 1)
    since_first = now - segments.at(days, segments.slices.starts)
    span = since_first if width is None else width
    frequency = np.where(segments.counts > 0, segments.counts / span, 0.0)
    return {"days_since_last": since_last, "days_since_first": since_first, "frequency": frequency}


def _number_aggregates(
    segments: Segments, values: np.ndarray, days: np.ndarray
) -> dict[str, np.ndarray]:
    event_values, at = segments.take(values), segments.take(days)
    present = ~np.isnan(event_values)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # sums of 1e300 saturate
        value, time = segments.deviations(event_values, present), segments.deviations(at, present)
        slope = segments.sum(value.each * time.each) / time.squares
        return {
            "sum": segments.sum(np.where(present, event_values, 0.0)),
            **segments.summary(event_values, present),
            "last": segments.at(values, segments.slices.ends - 1),
            "trend": np.where(time.squares > 0, slope, np.nan),
        }


@dataclass
class _CategoryField:
    """A categorical field of the log.

    Parameters
    ----------
    vocabulary : Vocabulary
    codes : ndarray of shape (n_events,)
    earlier : ndarray of shape (n_events,)
        Position of the entity's event of the same category before each event, -1 if there is none.
    labels : Column
        The categories as the user gave them.
    """

    vocabulary: Vocabulary
    codes: np.ndarray
    earlier: np.ndarray
    labels: Column

    @classmethod
    def of(cls, column: pa.ChunkedArray, field: pa.Field, log: EventLog) -> _CategoryField:
        vocabulary = Vocabulary.from_columns({field.name: (column, field)})
        codes, entities = vocabulary.codes(column, field), log.entity_codes
        order = np.lexsort((codes, entities))
        repeats = (np.diff(codes[order]) == 0) & (np.diff(entities[order]) == 0)
        earlier = np.full(len(codes), -1)
        earlier[order[1:][repeats]] = order[:-1][repeats]
        kept = vocabulary.kind not in ("object", "time")
        labels = None if kept else column_of(vocabulary.labels().tolist(), field.name)
        return cls(vocabulary, codes, earlier, labels or Column(vocabulary.categories))

    def choose_levels(self, n_uses: np.ndarray, top_k: int) -> None:
        """Choose the most frequent categories, which have columns; an event counts once for each use."""
        counts = np.bincount(self.codes, n_uses, len(self.vocabulary))[N_SPECIAL:]
        best = np.argsort(-counts, kind="stable")[:top_k]
        best = best[counts[best] > 0]
        self.levels = self.vocabulary.labels()[best].tolist()
        # The column of each code; the last column is for all other codes.
        self.column = np.full(len(self.vocabulary), len(best))
        self.column[best + N_SPECIAL] = np.arange(len(best))

    def aggregates(self, segments: Segments, numbers: Mapping[str, np.ndarray]) -> NamedColumns:
        """Return the aggregates of the field, with sums of the numbers by category."""
        codes = segments.take(self.codes)
        is_first = segments.take(self.earlier) < segments.slices.starts[segments.rows]
        distinct = (codes >= N_SPECIAL) & is_first
        columns: NamedColumns = [
            ("unique", segments.sum(distinct.astype(np.float64))),
            ("last", self._last(segments)),
        ]
        counts = self._by_level(segments, codes, None)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = counts / segments.counts[:, None]
        levels = list(map(text_of, self.levels))
        for i, level in enumerate(levels):
            columns += [(f"{level}_count", counts[:, i]), (f"{level}_share", shares[:, i])]
        for name, values in numbers.items():
            sums = self._by_level(segments, codes, np.nan_to_num(segments.take(values)))
            columns += [(f"{level}_{name}_sum", sums[:, i]) for i, level in enumerate(levels)]
        return columns

    def _by_level(self, segments: Segments, codes: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Return counts, or sums of weights, by row and chosen category: (n_rows, n_levels + 1)."""
        width = len(self.levels) + 1
        cells = segments.rows * width + self.column[codes]
        sums = np.bincount(cells, weights, width * len(segments.counts))
        return sums.astype(np.float64).reshape(-1, width)

    def _last(self, segments: Segments) -> Column:
        """Return the category of each row's last event, missing for a row without events."""
        codes = np.zeros(len(segments.counts), np.int64)
        codes[segments.filled] = self.codes[segments.slices.ends[segments.filled] - 1]
        missing = codes < N_SPECIAL
        indices = pa.array(np.where(missing, 0, codes - N_SPECIAL), mask=missing)
        array = pa.DictionaryArray.from_arrays(indices, self.labels.array)
        return Column(array, self.labels.metadata)


def _as_number(column: pa.ChunkedArray, field: pa.Field) -> np.ndarray:
    """Return a field as float64 with NaN where missing; times in days."""
    name = field.name
    if kind_of(field) == "time":
        unit = TimeAxis.of(column, name).unit or "us"
        ticks = column.cast(pa.timestamp(unit)).cast(pa.int64())
        return to_floats(ticks, name) / (SECONDS_PER_DAY * TICKS_PER_SECOND[unit])
    return to_floats(column, name, field)


def _uses(slices: Slices, n_events: int) -> np.ndarray:
    """Return the number of rows whose slice holds each event of the log, (n_events,)."""
    n_starts = np.bincount(slices.starts, minlength=n_events + 1)
    n_ends = np.bincount(slices.ends, minlength=n_events + 1)
    return np.cumsum(n_starts - n_ends)[:n_events]


def _prefixed(name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}_{aggregate}": values for aggregate, values in columns.items()}


def _concatenate(parts: list[Any]) -> NewColumn:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return Column(pa.chunked_array([part.array for part in parts]).combine_chunks(), parts[0].metadata)
