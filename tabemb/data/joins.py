"""From an event log and a cutoff to what each row may know: its history, or the aggregates that a boosted tree wants.

Both joiners cut alike: of the events of a row's entity they take those strictly before the row's cutoff, in time order.
An event at the cutoff or after it can never enter; events of one time keep the order that they have in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tabemb.data.frames import beside, to_arrow
from tabemb.data.histories import as_structs
from tabemb.data.schema import near
from tabemb.data.times import TimeAxis
from tabemb.data.vocabulary import N_SPECIAL, Vocabulary

CHUNK = 4_000_000
"""Events that are aggregated at a time, so that memory does not grow with the number of rows."""


@dataclass(frozen=True)
class Slices:
    """Events of each row: those from ``starts`` up to ``ends``, places in the sorted log, both int64 (n_rows,)."""

    starts: np.ndarray
    ends: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of events of each row."""
        return self.ends - self.starts

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where the events of each row begin, laid end to end, and where the last ones end: int64 (n_rows + 1,)."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @cached_property
    def places(self) -> np.ndarray:
        """Place in the sorted log of every event, laid end to end."""
        return np.arange(self.offsets[-1]) + np.repeat(self.starts - self.offsets[:-1], self.counts)

    def newest(self, n: int | None) -> Slices:
        """The last ``n`` events of each row."""
        return self if n is None else Slices(np.maximum(self.starts, self.ends - n), self.ends)

    def chunks(self) -> Iterator[tuple[slice, Slices]]:
        """Rows, some at a time, whose events are about :data:`CHUNK`."""
        start = 0
        while start < len(self.starts):
            stop = int(np.searchsorted(self.offsets, self.offsets[start] + CHUNK, side="right")) - 1
            rows = slice(start, max(stop, start + 1))
            yield rows, Slices(self.starts[rows], self.ends[rows])
            start = rows.stop


class EventLog:
    """A log sorted by entity and time, which finds the events of an entity within a span of time.

    Parameters
    ----------
    log : frame
    entity, time : str
        Columns of it.
    fields : sequence of str, optional
        Columns to keep beside the time; all but the entity when None.
    """

    def __init__(self, log: Any, entity: str, time: str, fields: Sequence[str] | None) -> None:
        frame = to_arrow(log)
        wanted = (
            [name for name in frame.schema.names if name != entity]
            if fields is None
            else [time, *fields]
        )
        names = list(dict.fromkeys([time, *wanted]))
        for name in (entity, *names):
            check_column(frame, name, "The log")
        self.entities = Vocabulary.from_columns({entity: (frame[entity], frame.schema.field(entity))})
        codes = self.entities.codes(frame[entity], frame.schema.field(entity))
        self.clock = TimeAxis.of(frame[time], time)
        moments = self.clock.read(frame[time], time)
        order = np.lexsort((moments, codes))
        self.times, ranks = np.unique(moments[order], return_inverse=True)
        self.moments = moments[order]
        self.keys = codes[order] * (len(self.times) + 1) + ranks
        self.events = _coded(frame.select(names)).take(pa.array(order)).combine_chunks()

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return self.events[name]

    @cached_property
    def days(self) -> np.ndarray:
        """When each event was, in days since the first entity's first one."""
        return self.clock.span(self.moments - self.moments[0])

    def slices(self, entities: np.ndarray, cutoffs: np.ndarray | None, window: Any = None) -> Slices:
        """Events of these entities (codes) before these moments, and not longer before them than the window."""
        stride = len(self.times) + 1
        last = len(self.times) if cutoffs is None else self._rank(cutoffs)
        first = (
            0 if window is None or cutoffs is None else self._rank(cutoffs - self.clock.length(window))
        )
        starts, ends = (np.searchsorted(self.keys, entities * stride + rank) for rank in (first, last))
        known = (
            entities >= N_SPECIAL
        )  # a missing or unknown entity has no events, whatever stands in the log
        return Slices(np.where(known, starts, 0), np.where(known, ends, 0))

    def _rank(self, moments: np.ndarray) -> np.ndarray:
        """How many of the log's times lie before each moment; whole and broken numbers are compared exactly."""
        times = self.times
        if times.dtype.kind == "i" and moments.dtype.kind == "f":
            moments = _whole(np.ceil(moments))  # a whole t < m where t < ceil(m)
        elif times.dtype.kind == "f" and moments.dtype.kind == "i":
            times = _whole(np.floor(times))  # t < a whole m where floor(t) < m
        return np.searchsorted(times, moments)


def _whole(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -(2.0**63), 2.0**63 - 1024).astype(np.int64)


def _coded(frame: pa.Table) -> pa.Table:
    """Text as dictionaries: an event then costs four bytes however often it is taken."""
    columns = [c.dictionary_encode() if _is_text(c.type) else c for c in frame.columns]
    return pa.table(
        columns, schema=pa.schema([f.with_type(c.type) for f, c in zip(frame.schema, columns)])
    )


def _is_text(dtype: pa.DataType) -> bool:
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype)


def check_column(frame: pa.Table, name: str, what: str) -> None:
    """Raise unless the frame has the column."""
    if name not in frame.schema.names:
        raise ValueError(f"{what} lacks column {name!r}{near(name, frame.schema.names)}.")


class Joiner(TransformerMixin, BaseEstimator):
    """What the joiners share: the log, the cut, the frame that comes back."""

    log: Any
    entity: str
    time: str
    cutoff: str | None
    fields: Sequence[str] | None
    max_events: int | None
    name: str

    def fit(self, X: Any, y: Any = None) -> Any:
        """Sort the log.

        Parameters
        ----------
        X : frame of shape (n_rows, n_columns)
            With the entity and, if there is one, the cutoff of each row.
        y : ignored

        Returns
        -------
        self
        """
        if self.max_events is not None and (isinstance(self.max_events, str) or self.max_events < 1):
            raise ValueError(f"max_events must be a whole number >= 1 or None; got {self.max_events!r}.")
        self.log_ = EventLog(self.log, self.entity, self.time, self.fields)
        frame = to_arrow(X)
        self.feature_names_in_, self.n_features_in_ = (
            np.asarray(frame.schema.names, dtype=object),
            frame.num_columns,
        )
        self._learn(frame)
        return self

    def _learn(self, frame: pa.Table) -> None:
        """What only the rows of ``fit`` may teach."""
        if self.name in frame.schema.names:
            raise ValueError(f"X has a column {self.name!r} already; choose another name.")

    def _check_window(self, window: Any) -> None:
        if window is None:
            return
        if self.cutoff is None:
            raise ValueError("A window is counted back from the cutoff; name the cutoff's column too.")
        self.log_.clock.length(window)

    def transform(self, X: Any) -> Any:
        """Add what the rows may know.

        Parameters
        ----------
        X : frame of shape (n_rows, n_columns)

        Returns
        -------
        frame
            X, in the library that it came in (an array as pandas), with the new columns behind its own.
        """
        check_is_fitted(self)
        return beside(X, self._joined(to_arrow(X)))

    def _joined(self, frame: pa.Table) -> pa.Table:
        raise NotImplementedError

    def _asked(self, frame: pa.Table) -> tuple[np.ndarray, np.ndarray | None]:
        """Code of each row's entity, and its cutoff as the log's clock reads it."""
        for name in (self.entity, *([self.cutoff] if self.cutoff else [])):
            check_column(frame, name, "X")
        entities = self.log_.entities.codes(frame[self.entity], frame.schema.field(self.entity))
        return entities, self.log_.clock.read(frame[self.cutoff], self.cutoff) if self.cutoff else None

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of X and of those that were added."""
        check_is_fitted(self)
        empty = self._joined_names()
        return np.concatenate([self.feature_names_in_, np.asarray(empty, dtype=object)])

    def _joined_names(self) -> list[str]:
        return [self.name]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "log_")


class HistoryJoiner(Joiner):
    """Gives each row the events of its entity before the row's cutoff, in time order, as one column of lists.

    An event is a struct of its time, the other fields, and ``before_cutoff``: how long before the cutoff it was, in
    days or in the unit of times that are numbers.

    Parameters
    ----------
    log : frame
        One event a row, in any order.
    entity : str
        Column of the log and of X that says whose event, whose row it is; matched by value. An entity without events
        has an empty history.
    time : str
        Column of the log: timestamps, dates or numbers.
    cutoff : str, optional
        Column of X, of the kind of ``time``; only events strictly before it enter. None: the whole log, already cut.
    fields : sequence of str, optional
        Columns of the log to keep beside the time; all but the entity when None.
    max_events : int, optional
        Most events of a row; the newest stay.
    window : str, Timedelta or number, optional
        How long before the cutoff an event may lie: "30d", or a number where times are numbers.
    name : str, default="history"
        Name of the new column.

    Attributes
    ----------
    log_ : EventLog

    Examples
    --------
    >>> import pandas as pd
    >>> log = pd.DataFrame({"who": ["a", "b", "a"], "day": [3, 1, 2], "what": ["buy", "look", "look"]})
    >>> rows = pd.DataFrame({"who": ["a", "a", "c"], "today": [3, 4, 4]})
    >>> joiner = HistoryJoiner(log, entity="who", time="day", cutoff="today")
    >>> [[event["what"] for event in history] for history in joiner.fit_transform(rows)["history"]]
    [['look'], ['look', 'buy'], []]
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
        window: Any = None,
        name: str = "history",
    ) -> None:
        self.log = log
        self.entity = entity
        self.time = time
        self.cutoff = cutoff
        self.fields = fields
        self.max_events = max_events
        self.window = window
        self.name = name

    def _learn(self, frame: pa.Table) -> None:
        super()._learn(frame)
        self._check_window(self.window)

    def _joined(self, frame: pa.Table) -> pa.Table:
        entities, cutoffs = self._asked(frame)
        slices = self.log_.slices(entities, cutoffs, self.window).newest(self.max_events)
        events = self.log_.events.take(pa.array(slices.places))
        if cutoffs is not None:
            passed = np.repeat(cutoffs, slices.counts) - self.log_.moments[slices.places]
            events = events.append_column("before_cutoff", pa.array(self.log_.clock.span(passed)))
        return pa.table(
            {self.name: pa.LargeListArray.from_arrays(pa.array(slices.offsets), as_structs(events))}
        )
