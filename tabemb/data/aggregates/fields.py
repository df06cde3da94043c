"""The aggregates of times, of a number and of a category."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from tabemb.data.aggregates.segments import Segments
from tabemb.data.floats import to_floats
from tabemb.data.logs import EventLog
from tabemb.data.times import SECONDS_PER_DAY, TICKS_PER_SECOND, TimeAxis
from tabemb.data.values import Column, column_of
from tabemb.data.vocabulary import N_SPECIAL, Vocabulary, kind_of
from tabemb.labels import text_of

NewColumn: TypeAlias = "np.ndarray | Column"
"""A new column; those of categories are Arrow dictionaries."""
NamedColumns: TypeAlias = "list[tuple[str, NewColumn]]"
"""New columns with their names, which need not differ yet."""


def time_aggregates(rows: Segments, days: np.ndarray) -> dict[str, np.ndarray]:
    """Return the number of events of each row and the gaps between them in days."""
    gaps = np.diff(rows.take(days), prepend=0.0)
    has_gap = np.ones(len(gaps), dtype=bool)
    has_gap[rows.heads] = False  # the first event of a row has none before it
    return {
        "count": rows.counts.astype(np.float64),
        **prefixed("gap", rows.where(has_gap).summary(gaps[has_gap])),
        "gap_last": np.where(rows.counts > 1, rows.last(gaps), np.nan),
    }


def cutoff_aggregates(
    rows: Segments, days: np.ndarray, now: np.ndarray, width: float | None
) -> dict[str, np.ndarray]:
    """Return days since the last and first event, and events a day of the window or since the first."""
    at = rows.take(days)
    since_first = now - rows.first(at)
    span = since_first if width is None else width
    frequency = np.where(rows.counts > 0, rows.counts / span, 0.0)
    return {
        "days_since_last": now - rows.last(at),
        "days_since_first": since_first,
        "frequency": frequency,
    }


N_OF_NUMBER = 10
"""Number of aggregates of a number."""


def number_aggregates(
    present: Segments, values: np.ndarray, days: np.ndarray, now: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the aggregates of a number, NaN for a group without values but its count and sum.

    Parameters
    ----------
    present : Segments
        The events of each group in which the number is present.
    values, days : ndarray of shape (n_events_of_the_log,)
        The number, and the time in days.
    now : ndarray of shape (n_groups,)
        The moment to which the time since the last value is counted, in days.
    """
    of_group, at = present.take(values), present.take(days)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # sums of 1e300 saturate
        value = present.deviations(of_group)
        time = present.deviations(present.since_first(at))  # exactly 0 at equal times
        slope = present.sum(value.each * time.each) / time.squares
        return {
            "sum": present.sum(of_group),
            **present.summary(of_group, value),
            "first": present.first(of_group),
            "last": present.last(of_group),
            "trend": np.where(time.squares > 0, slope, np.nan),
            "count": present.counts.astype(np.float64),
            "days_since_last": now - present.last(at),
        }


@dataclass
class CategoryField:
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
    def of(cls, column: pa.ChunkedArray, field: pa.Field, log: EventLog) -> CategoryField:
        """Return a field of the log."""
        vocabulary = Vocabulary.from_columns({field.name: (column, field)})
        codes, entities = vocabulary.codes(column, field), log.entity_codes
        # the log is sorted by entity and time, and a stable sort leaves it so within each code
        order = np.argsort(codes.astype(np.min_scalar_type(len(vocabulary))), kind="stable")
        repeats = (np.diff(codes[order]) == 0) & (np.diff(entities[order]) == 0)
        earlier = np.full(len(codes), -1)
        earlier[order[1:][repeats]] = order[:-1][repeats]
        kept = vocabulary.kind not in ("object", "time")
        labels = None if kept else column_of(vocabulary.labels().tolist(), field.name)
        return cls(vocabulary, codes, earlier, labels or Column(vocabulary.categories))

    def choose_levels(self, n_uses: np.ndarray, top_k: int) -> None:
        """Choose the most frequent categories, which have columns; an event counts once for each use."""
        counts = np.bincount(self.codes, n_uses, len(self.vocabulary))
        best = N_SPECIAL + np.argsort(-counts[N_SPECIAL:], kind="stable")[:top_k]
        self.chosen = best[counts[best] > 0]
        self.levels = self.labels_of(self.chosen)
        self.column = self.places_of(self.chosen)

    def labels_of(self, codes: np.ndarray) -> list[Any]:
        """Return the categories of codes."""
        labels: list[Any] = self.vocabulary.labels()[codes - N_SPECIAL].tolist()
        return labels

    def places_of(self, chosen: np.ndarray) -> np.ndarray:
        """Return the place of every code among chosen ones; ``len(chosen)`` for all others."""
        places = np.full(len(self.vocabulary), len(chosen))
        places[chosen] = np.arange(len(chosen))
        return places

    def aggregates(
        self, rows: Segments, numbers: Mapping[str, np.ndarray], elsewhere: Mapping[str, Container[int]]
    ) -> NamedColumns:
        """Return the aggregates of the field, with sums of the numbers by category.

        Parameters
        ----------
        rows : Segments
        numbers : mapping of str to ndarray of shape (n_events_of_the_log,)
        elsewhere : mapping of str to container of int
            The codes, by number, whose sum is among other columns.
        """
        codes = rows.take(self.codes)
        starts = np.repeat(rows.positions[rows.heads], rows.counts[rows.filled])
        distinct = (codes >= N_SPECIAL) & (rows.take(self.earlier) < starts)
        columns: NamedColumns = [
            ("unique", rows.sum(distinct.astype(np.float64))),
            ("last", self._last(rows)),
        ]
        counts = self._by_level(rows, codes, None)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = counts / rows.counts[:, None]
        levels = list(map(text_of, self.levels))
        for i, level in enumerate(levels):
            columns += [(f"{level}_count", counts[:, i]), (f"{level}_share", shares[:, i])]
        for name, values in numbers.items():
            left = [i for i, code in enumerate(self.chosen) if code not in elsewhere.get(name, ())]
            if left:
                sums = self._by_level(rows, codes, np.nan_to_num(rows.take(values)))
                columns += [(f"{levels[i]}_{name}_sum", sums[:, i]) for i in left]
        return columns

    def _by_level(self, rows: Segments, codes: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Return counts, or sums of weights, by row and chosen category: (n_rows, n_levels + 1)."""
        width = len(self.levels) + 1
        cells = rows.groups * width + self.column[codes]
        sums = np.bincount(cells, weights, width * len(rows.counts))
        return sums.astype(np.float64).reshape(-1, width)

    def _last(self, rows: Segments) -> Column:
        """Return the category of each row's last event, missing for a row without events."""
        codes = np.zeros(len(rows.counts), np.int64)
        codes[rows.filled] = self.codes[rows.positions[rows.tails]]
        missing = codes < N_SPECIAL
        indices = pa.array(np.where(missing, 0, codes - N_SPECIAL), mask=missing)
        array = pa.DictionaryArray.from_arrays(indices, self.labels.array)
        return Column(array, self.labels.metadata)


def as_number(column: pa.ChunkedArray, field: pa.Field) -> np.ndarray:
    """Return a field as float64 with NaN where missing; times in days."""
    name = field.name
    if kind_of(field) == "time":
        unit = TimeAxis.of(column, name).unit or "us"
        ticks = column.cast(pa.timestamp(unit)).cast(pa.int64())
        return to_floats(ticks, name) / (SECONDS_PER_DAY * TICKS_PER_SECOND[unit])
    return to_floats(column, name, field)


def prefixed(name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns with a prefix to their names."""
    return {f"{name}_{aggregate}": values for aggregate, values in columns.items()}
