"""AggregateJoiner: counts, means and trends of histories, which boosted trees read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tabemb.data.aggregates.fields import (
    N_OF_NUMBER,
    CategoryField,
    NamedColumns,
    NewColumn,
    as_number,
    cutoff_aggregates,
    number_aggregates,
    prefixed,
    time_aggregates,
)
from tabemb.data.aggregates.segments import Segments
from tabemb.data.aggregates.within import Within, check_by, choose_levels, note_levels
from tabemb.data.joins import Joiner
from tabemb.data.logs import Slices
from tabemb.data.notes import note_log
from tabemb.data.schema import infer_role
from tabemb.data.values import Column
from tabemb.names import safe_names
from tabemb.progress import progress


class AggregateJoiner(Joiner):
    """Adds to each row the aggregates of its history, which is cut as `HistoryJoiner` cuts it.

    There is one column for each window and aggregate:

    * of the events: their number, and how many a day; days since the last and since the first one; mean,
      standard deviation, smallest, largest and last gap between events;
    * of every number: its sum, mean, standard deviation, smallest, largest, first and last value, its
      trend, which is the slope of a least-squares line in units a day, the number of values, and the
      days since the last one. Missing values are skipped, so the last value may be older than the last
      event;
    * of every number within the levels of a category, the same: see ``by``;
    * of every category: the number of distinct ones, the last one, count and share of each of the most
      frequent ones, and the sum of every number over the events of each of these. The last one is the
      value of the log in pandas, and its text in a library that has no type for it.

    Counts and sums of no values are zero, all other aggregates of them are missing. Where times are
    numbers, a day is one of their units.

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
        of the log, without the days since the last and first event and the number of events a day; the
        days since the last value of a number are counted to the last event of the row.
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
    by : mapping of str to list of str, "auto" or None, default="auto"
        Numbers that are aggregated within each level of a category, for logs in which a category says
        what a number means: ``{"parameter": ["value"]}``. A level has columns if a row of ``fit`` has
        events of it with a number. "auto": every number within every category of 2 to 100 levels, where
        a level counts if 1 % of the rows that have events have it; columns that look like something else
        than their type says are left out. None: no number.
    max_columns : int, default=1000
        Largest number of columns that ``by`` adds, of all windows together; the levels that most rows
        have come first.
    name : str, default="history"
        Prefix of the new columns: ``{name}_{field}_{aggregate}``, or
        ``{name}_{category}_{level}_{number}_{aggregate}``, with ``_{window}`` after it. A character that
        boosted trees refuse in a name, such as a colon, becomes an underscore, and a name that is there
        already gets a number at its end.

    Attributes
    ----------
    log_ : EventLog
    levels_ : dict of field -> list
        The categories that have columns.
    by_ : dict of category -> dict of number -> list
        The levels within which a number is aggregated.

    Examples
    --------
    >>> import pandas as pd
    >>> log = pd.DataFrame({"who": ["a", "b", "a"], "day": [3, 1, 2], "paid": [5.0, 1.0, 3.0]})
    >>> rows = pd.DataFrame({"who": ["a", "a", "c"], "today": [3, 4, 4]})
    >>> joined = AggregateJoiner(log, entity="who", time="day", cutoff="today").fit_transform(rows)
    >>> joined[["history_count", "history_paid_sum"]].values.tolist()
    [[1.0, 3.0], [2.0, 8.0], [0.0, 0.0]]

    A long log, in which a category says what the number is:

    >>> log = pd.DataFrame(
    ...     {
    ...         "who": ["a", "a", "a", "b"],
    ...         "day": [1, 1, 2, 1],
    ...         "what": ["pulse", "weight", "pulse", "pulse"],
    ...         "value": [70.0, 81.5, 90.0, 65.0],
    ...     }
    ... )
    >>> joined = AggregateJoiner(log, entity="who", time="day").fit_transform(rows[["who"]].iloc[1:])
    >>> joined[["history_what_pulse_value_mean", "history_what_weight_value_last"]].values.tolist()
    [[80.0, 81.5], [nan, nan]]
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
        by: Mapping[str, Sequence[str]] | Literal["auto"] | None = "auto",
        max_columns: int = 1000,
        name: str = "history",
    ) -> None:
        super().__init__(
            log, entity=entity, time=time, cutoff=cutoff, fields=fields, max_events=max_events, name=name
        )
        self.windows = windows
        self.top_k = top_k
        self.by = by
        self.max_columns = max_columns

    def _fit(self, frame: pa.Table) -> None:
        self._check_windows()
        if isinstance(self.max_columns, str) or self.max_columns < 1:
            raise ValueError(f"max_columns must be a whole number >= 1; got {self.max_columns!r}.")
        note_log(self.log_.doubtful)
        schema = self.log_.events.schema
        fields = [field for field in schema if field.name != self.time]
        counted = [field for field in fields if infer_role(field) == "categorical"]
        self.numbers_ = {
            field.name: as_number(self.log_[field.name], field)
            for field in fields
            if field not in counted
        }
        self.categories_ = {
            field.name: CategoryField.of(self.log_[field.name], field, self.log_)
            for field in sorted(counted, key=lambda field: field.name)
        }
        entities, cutoffs = self._entities_and_cutoffs(frame)
        # the widest window holds the events of all others
        widest = None if None in self.windows else max(self.windows, key=self.log_.axis.length)
        slices = self.log_.slices(entities, cutoffs, widest).newest(self.max_events)
        n_uses = _uses(slices, len(self.log_))
        for category in self.categories_.values():
            category.choose_levels(n_uses, self.top_k)
        self._choose_within([field for field in fields if infer_role(field) == "number"], slices)

    def _choose_within(self, quantities: Sequence[pa.Field], slices: Slices) -> None:
        """Choose the levels within which numbers are aggregated; times are no quantities for "auto"."""
        check_by(self.by, self.categories_, self.numbers_)
        if not self.by:
            self.within_: dict[str, Within] = {}
            return
        by, is_auto = self.by, not isinstance(self.by, Mapping)
        if not isinstance(by, Mapping):
            unsure = {doubt.column for doubt in self.log_.doubtful}
            numbers = [field.name for field in quantities if field.name not in unsure]
            by = {name: numbers for name in self.categories_ if name not in unsure}
        n_each = N_OF_NUMBER * len(self.windows)
        self.within_, n_left = choose_levels(
            by,
            self.categories_,
            self.numbers_,
            slices,
            n_most=self.max_columns // n_each,
            few_only=is_auto,
        )
        note_levels(self.within_, self.numbers_, n_left, is_auto=is_auto, n_each=n_each, stacklevel=5)

    def _check_windows(self) -> None:
        if isinstance(self.windows, str) or not len(self.windows):
            raise ValueError(f"windows must be a list such as ['7d', None]; got {self.windows!r}.")
        for window in self.windows:
            self._check_window(window)

    @property
    def levels_(self) -> dict[str, list[Any]]:
        """The categories that have columns, by field."""
        return {name: category.levels for name, category in self.categories_.items()}

    @property
    def by_(self) -> dict[str, dict[str, list[Any]]]:
        """The levels within which numbers are aggregated, by category and number."""
        return {name: within.levels for name, within in self.within_.items()}

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
                parts.append(self._aggregate(Segments.of_rows(chunk), chunk_cutoffs, window))
                bar.update(len(chunk.starts))
        end = "" if window is None else f"_{window}"
        names = [name + end for name, _ in parts[0]]
        return [(name, _concatenate([part[i][1] for part in parts])) for i, name in enumerate(names)]

    def _aggregate(self, rows: Segments, cutoffs: np.ndarray | None, window: Any) -> NamedColumns:
        """Return all aggregates, without prefix and window; names of several fields may be equal."""
        axis, days = self.log_.axis, self.log_.days
        columns: NamedColumns = [*time_aggregates(rows, days).items()]
        if cutoffs is None:
            now = rows.last(rows.take(days))
        else:
            now = axis.span(cutoffs, self.log_.moments[0])
            width = None if window is None else float(axis.span(np.asarray(axis.length(window))))
            columns += cutoff_aggregates(rows, days, now, width).items()
        for name, category in self.categories_.items():
            within = self.within_.get(name)
            elsewhere = within.codes if within else {}
            aggregates = category.aggregates(rows, self.numbers_, elsewhere)
            columns += [(f"{name}_{aggregate}", values) for aggregate, values in aggregates]
        for name, values in self.numbers_.items():
            present = rows.where(~np.isnan(rows.take(values)))
            columns += prefixed(name, number_aggregates(present, values, days, now)).items()
        for name, within in self.within_.items():
            aggregates = within.aggregates(rows, self.numbers_, days, now)
            columns += [(f"{name}_{aggregate}", values) for aggregate, values in aggregates]
        return columns


def _uses(slices: Slices, n_events: int) -> np.ndarray:
    """Return the number of rows whose slice holds each event of the log, (n_events,)."""
    n_starts = np.bincount(slices.starts, minlength=n_events + 1)
    n_ends = np.bincount(slices.ends, minlength=n_events + 1)
    return np.cumsum(n_starts - n_ends)[:n_events]


def _concatenate(parts: list[Any]) -> NewColumn:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return Column(pa.chunked_array([part.array for part in parts]).combine_chunks(), parts[0].metadata)
