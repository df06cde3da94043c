"""Joiners: build each row's history, a column of lists, from an event log and the row's cutoff.

All joiners take the events of the row's entity that are strictly before the row's cutoff, in time order.
They never use an event at or after the cutoff, so features contain nothing that was not known then.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Never, Self

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tabemb.data.frames import beside, to_arrow
from tabemb.data.histories import as_structs
from tabemb.data.logs import EventLog, Slices
from tabemb.data.schema import check_column
from tabemb.data.times import time_column
from tabemb.hints import NamesMisspelt, refuse_unknown


class Joiner(NamesMisspelt, TransformerMixin, BaseEstimator):
    """The base of all joiners: parameters, the sorted log, and the frame that is returned."""

    def __init__(
        self,
        log: Any,
        *,
        entity: str,
        time: str,
        cutoff: str | None,
        fields: Sequence[str] | None,
        max_events: int | None,
        name: str,
    ) -> None:
        self.log = log
        self.entity = entity
        self.time = time
        self.cutoff = cutoff
        self.fields = fields
        self.max_events = max_events
        self.name = name

    def fit(self, X: Any, y: Any = None, **unknown: Never) -> Self:
        """Sort the log.

        Parameters
        ----------
        X : frame of shape (n_rows, n_columns)
            Must contain the columns of the entity and, if one is given, of the cutoff.
        y : ignored

        Returns
        -------
        self
        """
        refuse_unknown(self, "fit", unknown)
        if self.max_events is not None and (isinstance(self.max_events, str) or self.max_events < 1):
            raise ValueError(f"max_events must be a whole number >= 1 or None; got {self.max_events!r}.")
        fitted = copy.copy(self)  # so that a failed fit leaves the joiner unchanged
        fitted.log_ = EventLog(self.log, self.entity, self.time, self.fields)
        frame = to_arrow(X)
        fitted.feature_names_in_ = np.asarray(frame.schema.names, dtype=object)
        fitted.n_features_in_ = frame.num_columns
        fitted._fit(frame)
        fitted._check_free(frame)
        self.__dict__.update(fitted.__dict__)
        return self

    def _fit(self, frame: pa.Table) -> None:
        """Check the parameters of the subclass, and fit what depends on the rows."""
        raise NotImplementedError

    def _check_window(self, window: Any) -> None:
        if window is None:
            return
        if self.cutoff is None:
            raise ValueError("A window is counted back from the cutoff; name the cutoff's column too.")
        self.log_.axis.length(window)

    def transform(self, X: Any) -> Any:
        """Add the new columns to X.

        Parameters
        ----------
        X : frame of shape (n_rows, n_columns)

        Returns
        -------
        frame
            X with the new columns appended, in the library of X (pandas if X is an array).
        """
        check_is_fitted(self)
        frame = to_arrow(X)
        self._check_free(frame)
        return beside(X, self._new_columns(frame))

    def _check_free(self, frame: pa.Table) -> None:
        taken = [name for name in self._new_names() if name in frame.schema.names]
        if taken:
            raise ValueError(
                f"X has a column {taken[0]!r} already, which is the name of a new one; choose another "
                f"name than {self.name!r}."
            )

    def _new_columns(self, frame: pa.Table) -> pa.Table:
        raise NotImplementedError

    def _entities_and_cutoffs(self, frame: pa.Table) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the code of each row's entity, and its cutoff on the log's axis."""
        check_column(frame, self.entity, "X")
        entities = self.log_.entities.codes(frame[self.entity], frame.schema.field(self.entity))
        if self.cutoff is None:
            return entities, None
        check_column(frame, self.cutoff, "X")
        return entities, self.log_.axis.read(time_column(frame, self.cutoff), self.cutoff, any_size=True)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns of X and of the new ones."""
        check_is_fitted(self)
        return np.concatenate([self.feature_names_in_, np.asarray(self._new_names(), dtype=object)])

    def _new_names(self) -> list[str]:
        raise NotImplementedError

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "log_")


class HistoryJoiner(Joiner):
    """Add each row's history: the events of its entity before the cutoff, as a column of lists.

    An event is a struct of its time, the other fields, and ``before_cutoff``: how long before the cutoff
    it was, in days, or in the unit of the times if these are numbers. The events are in time order.
    Values without an Arrow type, such as intervals or UUIDs, are text that the estimators read back.

    Parameters
    ----------
    log : frame
        One event per row, in any order.
    entity : str
        Column of the log and of X with the entity of an event or row; matched by value. An entity
        without events has an empty history.
    time : str
        Column of the log: timestamps, dates or numbers.
    cutoff : str, optional
        Column of X, of the same kind as ``time``; only events strictly before it are used. None: all
        events of the log are used, so the log must end before the rows' cutoffs.
    window : str, Timedelta or number, optional
        How long before the cutoff an event may be: "30d", or a number if times are numbers.
    fields : sequence of str, optional
        Columns of the log to keep in addition to the time; all but the entity when None.
    max_events : int, optional
        Largest number of events of a row, or of steps with "merge"; the newest are kept.
    simultaneous : {"keep", "merge"}, default="keep"
        "merge": simultaneous events are one step, and a history is a list of steps, each a list of
        events: ``[[{...}, {...}], [{...}]]``. The estimators pool the events of a step without regard to
        order, and read one vector per step. This is faster and often better if many events share a time.
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
        window: Any = None,
        fields: Sequence[str] | None = None,
        max_events: int | None = None,
        simultaneous: str = "keep",
        name: str = "history",
    ) -> None:
        super().__init__(
            log, entity=entity, time=time, cutoff=cutoff, fields=fields, max_events=max_events, name=name
        )
        self.window = window
        self.simultaneous = simultaneous

    def _fit(self, frame: pa.Table) -> None:
        self._check_window(self.window)
        if self.simultaneous not in ("keep", "merge"):
            raise ValueError(f"simultaneous must be 'keep' or 'merge'; got {self.simultaneous!r}.")

    def _new_columns(self, frame: pa.Table) -> pa.Table:
        entities, cutoffs = self._entities_and_cutoffs(frame)
        slices = self.log_.slices(entities, cutoffs, self.window)
        if self.simultaneous == "keep":
            slices = slices.newest(self.max_events)
            return pa.table({self.name: _lists(slices.offsets, self._events(slices, cutoffs))})
        log_steps = self.log_.steps  # a cutoff never splits a step
        starts, ends = (np.searchsorted(log_steps, end) for end in (slices.starts, slices.ends))
        steps = Slices(starts, ends).newest(self.max_events)
        events = self._events(Slices(log_steps[steps.starts], log_steps[steps.ends]), cutoffs)
        sizes = np.diff(log_steps)[steps.positions]
        inner = _lists(np.concatenate([[0], np.cumsum(sizes)]), events)
        return pa.table({self.name: _lists(steps.offsets, inner)})

    def _events(self, slices: Slices, cutoffs: np.ndarray | None) -> pa.StructArray:
        """Return the events of these slices of the log, concatenated."""
        events = self.log_.events.take(pa.array(slices.positions))
        if cutoffs is not None:
            now = np.repeat(cutoffs, slices.counts)
            elapsed = self.log_.axis.span(now, self.log_.moments[slices.positions])
            events = events.append_column("before_cutoff", pa.array(elapsed))
        return as_structs(events)

    def _new_names(self) -> list[str]:
        return [self.name]


def _lists(offsets: np.ndarray, values: pa.Array) -> pa.LargeListArray:
    return pa.LargeListArray.from_arrays(pa.array(offsets), values)
