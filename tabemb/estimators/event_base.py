"""The public methods that the estimators of events share: rows from a log, and events after a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import torch

from tabemb.estimators.base import RowEstimator
from tabemb.fitting.checks import align_columns, check_rows
from tabemb.fitting.event_source import EventSource
from tabemb.fitting.memory import memory_checked
from tabemb.training.threads import threads


class EventEstimator(RowEstimator):
    """Base class of the estimators of events: rows come from a log, through `EventSource`."""

    entity: str
    time: str
    outcome_fields: Sequence[str]
    encounters: bool
    ties: str
    example_age: bool
    trees: ClassVar[bool] = False  # trees cannot read earlier events

    source_: EventSource
    _grows: ClassVar[bool] = False

    def _new_source(self) -> EventSource:
        if isinstance(self.outcome_fields, str):
            raise ValueError(f"outcome_fields must be a list of columns; got {self.outcome_fields!r}.")
        return EventSource(
            self.entity,
            self.time,
            self.outcome_fields,
            count_encounters=self.encounters,
            roles=self.roles,
            numeric_target=self._numeric_target,
            ties=self.ties,
            example_age=self.example_age,
        )

    @memory_checked
    def update(self, X: Any, y: Any) -> Self:
        """Read new events with their targets, so that later predictions use them.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            No event may be earlier than the last event of its entity that ``fit`` or `update` has read.
        y : array-like of shape (n_events,) or (n_events, n_targets)

        Returns
        -------
        self
        """
        fitted = self._fitted
        frame, y = self._check_events(X, y)
        with threads(self.n_jobs):
            self.source_.update(fitted.encoder, fitted.network, frame, y, fitted.target)
        return self

    def forget(self) -> Self:
        """Forget the events of all entities, also those of training; the network does not change.

        Returns
        -------
        self
        """
        with threads(self.n_jobs):
            self.source_.forget(self._fitted.network)
        return self

    @memory_checked
    def _replayed(self, X: Any, y: Any) -> Any:
        """Return predictions for all events in the order of X, each from the events before it."""
        fitted = self._fitted
        frame, y = self._check_events(X, y)
        with threads(self.n_jobs):
            events, _, order = self.source_.after_kept(frame, y, fitted.target)
            inputs = self.source_.encode_sequences(fitted.encoder, events)
            outputs = fitted.outputs_of(inputs, lambda output: self.target_.average(output.outputs))
            back = torch.from_numpy(np.argsort(order)).to(outputs.device)
            return self.target_.predict(outputs[back])

    def _check_events(self, X: Any, y: Any) -> tuple[pa.Table, np.ndarray]:
        """Return events of the user as Arrow, and their targets."""
        target = check_rows(X, y, None, numeric=self._numeric_target, estimator=self).y
        frame = align_columns(self, X)
        self.source_.check_kinds(self.encoder_, frame)
        return frame, target
