"""Aggregates of histories: what a boosted tree wants to know of the events before a cutoff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from tabemb.data.encoding import to_floats
from tabemb.data.joins import EventLog, Joiner, Slices
from tabemb.data.schema import infer_role
from tabemb.data.times import SECOND, TimeAxis
from tabemb.data.vocabulary import N_SPECIAL, Vocabulary, kind_of
from tabemb.progress import progress


class AggregateJoiner(Joiner):
    """Gives each row the aggregates of its history that a boosted tree wants, cut as `HistoryJoiner` cuts.

    For every window: the number of events and how many a day; days since the last and since the first; mean, standard
    deviation, smallest, largest and last gap between events. Of every number its sum, mean, standard deviation,
    smallest, largest and last value, and its trend, the slope of a least-squares line a day. Of every category the
    number of distinct ones, the last one, the count and share of the most frequent ones, and the sum of every number
    over each of these. Where times are numbers, a day is one of their units.

    Parameters
    ----------
    log, entity, time, cutoff, fields, max_events
        As for `HistoryJoiner`. Without a cutoff nothing is said of the days since the last and first event.
    windows : sequence of str, Timedelta, number or None, default=(None,)
        How long before the cutoff events are counted; None: since ever.
    top_k : int, default=10
        Most categories of a field with columns of their own: the most frequent ones before the cutoffs in ``fit``.
    name : str, default="history"
        What the new columns begin with: ``{name}_{field}_{aggregate}``, and the window behind it.

    Attributes
    ----------
    log_ : EventLog
    levels_ : dict of field -> list
        The categories that have columns of their own.

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
        fields: Sequence[str] | None = None,
        max_events: int | None = None,
        windows: Sequence[Any] = (None,),
        top_k: int = 10,
        name: str = "history",
    ) -> None:
        self.log = log
        self.entity = entity
        self.time = time
        self.cutoff = cutoff
        self.fields = fields
        self.max_events = max_events
        self.windows = windows
        self.top_k = top_k
        self.name = name

    def _learn(self, frame: pa.Table) -> None:
        self._check_windows()
        schema = self.log_.events.schema
        columns = {name: self.log_[name] for name in schema.names if name != self.time}
        counted = {name for name in columns if infer_role(schema.field(name)) == "categorical"}
        self.numbers_ = {n: _as_number(column, n) for n, column in columns.items() if n not in counted}
        self.categories_ = {
            n: _Category.of(columns[n], schema.field(n), self.log_) for n in sorted(counted)
        }
        asked = self._asked(frame)
        widest = None if None in self.windows else max(self.windows, key=self.log_.clock.length)
        seen = _coverage(self.log_.slices(*asked, widest).newest(self.max_events), len(self.log_.keys))
        for category in self.categories_.values():
            category.choose(seen, self.top_k)

    def _check_windows(self) -> None:
        if isinstance(self.windows, str) or not len(self.windows):
            raise ValueError(f"windows must be a list such as ['7d', None]; got {self.windows!r}.")
        for window in self.windows:
            self._check_window(window)

    @property
    def levels_(self) -> dict[str, list]:
        """The categories that have columns of their own, by field."""
        return {name: category.levels for name, category in self.categories_.items()}

    def _joined(self, frame: pa.Table) -> pa.Table:
        entities, cutoffs = self._asked(frame)
        columns: dict[str, Any] = {}
        for window in self.windows:
            slices = self.log_.slices(entities, cutoffs, window).newest(self.max_events)
            behind = "" if window is None else f"_{window}"
            for name, values in self._in_chunks(slices, cutoffs, window).items():
                columns[f"{self.name}_{name}{behind}"] = values
        return pa.table(columns)

    def _in_chunks(self, slices: Slices, cutoffs: np.ndarray | None, window: Any) -> dict[str, Any]:
        parts = []
        with progress(len(slices.starts), unit="rows") as bar:
            for rows, chunk in slices.chunks():
                parts.append(
                    self._aggregate(Segments(chunk), None if cutoffs is None else cutoffs[rows], window)
                )
                bar.update(len(chunk.starts))
        return {name: _joined_parts([part[name] for part in parts]) for name in parts[0]}

    def _aggregate(self, segments: Segments, cutoffs: np.ndarray | None, window: Any) -> dict[str, Any]:
        """All aggregates of some rows, by name without prefix and window."""
        days = self.log_.days
        found = _of_times(segments, days)
        if cutoffs is not None:
            now = self.log_.clock.span(cutoffs - self.log_.moments[0])
            found |= _of_cutoffs(segments, days, now, None if window is None else self._days(window))
        for name, values in self.numbers_.items():
            found |= {
                f"{name}_{what}": value for what, value in _of_number(segments, values, days).items()
            }
        for name, category in self.categories_.items():
            found |= {
                f"{name}_{what}": value
                for what, value in category.aggregates(segments, self.numbers_).items()
            }
        return found

    def _days(self, window: Any) -> float:
        return float(self.log_.clock.span(np.asarray(self.log_.clock.length(window))))

    def _joined_names(self) -> list[str]:
        entities = np.zeros(1, np.int64)
        cutoffs = None if self.cutoff is None else self.log_.moments[:1]
        slices = Slices(entities, entities)
        return [
            f"{self.name}_{name}" + ("" if window is None else f"_{window}")
            for window in self.windows
            for name in self._in_chunks(slices, cutoffs, window)
        ]


class Segments:
    """Reductions over the events of each row; a row without events gives what is named ``empty``."""

    def __init__(self, slices: Slices) -> None:
        self.slices, self.counts = slices, slices.counts
        self.filled = np.flatnonzero(self.counts)
        self.heads = slices.offsets[:-1][self.filled]

    @cached_property
    def rows(self) -> np.ndarray:
        """The row of every event, laid end to end."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def take(self, values: np.ndarray) -> np.ndarray:
        """Values of the log's events, laid end to end."""
        return values[self.slices.places]

    def reduce(self, how: np.ufunc, values: np.ndarray, empty: float) -> np.ndarray:
        """From values of the events, laid end to end, to float64 (n_rows,)."""
        reduced = np.full(len(self.counts), empty)
        if len(self.filled):
            reduced[self.filled] = how.reduceat(values, self.heads)
        return reduced

    def sum(self, values: np.ndarray) -> np.ndarray:
        return self.reduce(np.add, values, 0.0)

    def at(self, values: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Values of one event of each row, NaN where the row has none."""
        found = np.full(len(self.counts), np.nan)
        found[self.filled] = values[places[self.filled]]
        return found

    def spread(
        self, values: np.ndarray, present: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Number of the values present, their mean, their squared deviations from it, and every deviation."""
        n = self.sum(present.astype(np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.sum(np.where(present, values, 0.0)) / n
        away = np.where(present, values - mean[self.rows], 0.0)
        return n, mean, self.sum(away**2), away

    def summary(self, values: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
        """Mean, standard deviation, smallest and largest of the values present; NaN where there is none."""
        n, mean, squares, _ = self.spread(values, present)
        with np.errstate(invalid="ignore", divide="ignore"):
            std = np.sqrt(squares / n)
        low = self.reduce(np.fmin, np.where(present, values, np.nan), np.nan)
        high = self.reduce(np.fmax, np.where(present, values, np.nan), np.nan)
        return {"mean": mean, "std": std, "min": low, "max": high}


def _of_times(segments: Segments, days: np.ndarray) -> dict[str, np.ndarray]:
    """How many events there are, and the gaps between them in days."""
    at = segments.take(days)
    gaps = np.diff(at, prepend=0.0)
    inner = np.ones(len(at), dtype=bool)
    inner[segments.heads] = False  # the first event of a row has none before it
    found = {"count": segments.counts.astype(np.float64)}
    found |= {f"gap_{what}": value for what, value in segments.summary(gaps, inner).items()}
    last = segments.at(days, segments.slices.ends - 1) - segments.at(days, segments.slices.ends - 2)
    return found | {"gap_last": np.where(segments.counts > 1, last, np.nan)}


def _of_cutoffs(
    segments: Segments, days: np.ndarray, now: np.ndarray, window: float | None
) -> dict[str, np.ndarray]:
    """Days since the last and the first event, and events a day: of the window, or since the first."""
    since_last = now - segments.at(days, segments.slices.ends - 1)
    since_first = now - segments.at(days, segments.slices.starts)
    span = since_first if window is None else window
    frequency = np.where(segments.counts > 0, segments.counts / span, 0.0)
    return {"days_since_last": since_last, "days_since_first": since_first, "frequency": frequency}


def _of_number(segments: Segments, values: np.ndarray, days: np.ndarray) -> dict[str, np.ndarray]:
    own, at = segments.take(values), segments.take(days)
    present = ~np.isnan(own)
    found = {"sum": segments.sum(np.where(present, own, 0.0)), **segments.summary(own, present)}
    found["last"] = segments.at(values, segments.slices.ends - 1)
    _, _, _, away = segments.spread(own, present)
    _, _, squares, late = segments.spread(at, present)
    with np.errstate(invalid="ignore", divide="ignore"):
        found["trend"] = np.where(squares > 0, segments.sum(away * late) / squares, np.nan)
    return found


@dataclass
class _Category:
    """A categorical field of the log: code of every event, the event before it with the same code, frequent codes."""

    vocabulary: Vocabulary
    codes: np.ndarray
    earlier: np.ndarray  # place of the entity's last event of the same category, -1 if there is none

    @classmethod
    def of(cls, column: pa.ChunkedArray, field: pa.Field, log: EventLog) -> _Category:
        vocabulary = Vocabulary.from_columns({field.name: (column, field)})
        codes = vocabulary.codes(column, field)
        entities = log.keys // (len(log.times) + 1)
        order = np.lexsort((codes, entities))
        same = (np.diff(codes[order]) == 0) & (np.diff(entities[order]) == 0)
        earlier = np.full(len(codes), -1)
        earlier[order[1:][same]] = order[:-1][same]
        return cls(vocabulary, codes, earlier)

    def choose(self, seen: np.ndarray, top_k: int) -> None:
        """Let the categories have columns that stand most often in what was seen: how often each event was."""
        counts = np.bincount(self.codes, seen, len(self.vocabulary))[N_SPECIAL:]
        best = np.argsort(-counts, kind="stable")[:top_k]
        best = best[counts[best] > 0]
        self.levels = self.vocabulary.labels()[best].tolist()
        self.column = np.full(
            len(self.vocabulary), len(best)
        )  # of each code; the last one is of all others
        self.column[best + N_SPECIAL] = np.arange(len(best))

    def aggregates(self, segments: Segments, numbers: Mapping[str, np.ndarray]) -> dict[str, Any]:
        codes = segments.take(self.codes)
        present = codes >= N_SPECIAL
        is_first = present & (segments.take(self.earlier) < segments.slices.starts[segments.rows])
        found: dict[str, Any] = {
            "unique": segments.sum(is_first.astype(np.float64)),
            "last": self._last(segments),
        }
        counts = self._by_level(segments, codes, None)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = counts / segments.counts[:, None]
        for i, level in enumerate(self.levels):
            found |= {f"{level}_count": counts[:, i], f"{level}_share": shares[:, i]}
        for name, values in numbers.items():
            sums = self._by_level(segments, codes, np.nan_to_num(segments.take(values)))
            found |= {f"{level}_{name}_sum": sums[:, i] for i, level in enumerate(self.levels)}
        return found

    def _by_level(self, segments: Segments, codes: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Counts, or sums of weights, by row and frequent category: (n_rows, n_levels + 1)."""
        width = len(self.levels) + 1
        cells = segments.rows * width + self.column[codes]
        return (
            np.bincount(cells, weights, width * len(segments.counts))
            .astype(np.float64)
            .reshape(-1, width)
        )

    def _last(self, segments: Segments) -> pa.Array:
        codes = np.zeros(len(segments.counts), np.int64)
        codes[segments.filled] = self.codes[segments.slices.ends[segments.filled] - 1]
        missing = codes < N_SPECIAL
        indices = pa.array(np.where(missing, 0, codes - N_SPECIAL), mask=missing)
        return pa.DictionaryArray.from_arrays(indices, self.vocabulary.categories)


def _as_number(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """A field as float64 with NaN where missing; times in days."""
    if kind_of(pa.field(name, column.type)) == "time":
        clock = TimeAxis.of(column, name)
        ticks = column.cast(pa.timestamp(clock.unit)).cast(pa.int64())
        return to_floats(ticks, name) / (86_400 * SECOND[clock.unit or "us"])
    return to_floats(column, name)


def _coverage(slices: Slices, n_events: int) -> np.ndarray:
    """In how many rows' slices each event of the log lies, (n_events,)."""
    edges = np.bincount(slices.starts, minlength=n_events + 1) - np.bincount(
        slices.ends, minlength=n_events + 1
    )
    return np.cumsum(edges)[:n_events]


def _joined_parts(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return pa.chunked_array(parts).combine_chunks()
