"""Encounters: numbers that sum up an entity's earlier events with the same category."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tabemb.data.states import Codebook, EntityStates, Past
from tabemb.data.times import TimeAxis
from tabemb.data.values import hashable_values


class Encounters:
    """Numbers that sum up an entity's earlier events with the same category, field by field.

    They are the number of these events, the mean of their targets, the last target, and the time since
    the last event. Without them, a recurrent network would have to count the events of each category of
    each field. In knowledge tracing these numbers are the successes and failures by skill
    (performance factors analysis, Pavlik et al. 2009).

    Parameters
    ----------
    entity : str
        Column of the entities.
    fields : sequence of str
        Categorical columns; a missing value is a category.
    axis : TimeAxis
        The time axis of the moments.
    mean : ndarray of shape (n_targets,)
        Overall mean of the targets, which counts as one more event in every mean.
    hide_ties : bool, default=False
        Whether simultaneous events of an entity are left out of each other's numbers.
    """

    hide_ties = False  # in files of tabemb 0.2

    def __init__(
        self,
        entity: str,
        fields: Sequence[str],
        axis: TimeAxis,
        mean: np.ndarray,
        hide_ties: bool = False,
    ) -> None:
        self.entity, self.fields, self.axis, self.mean = entity, list(fields), axis, mean
        self.hide_ties = hide_ties
        self.forget()

    def forget(self) -> None:
        """Forget the events of all entities."""
        self.entities = Codebook()
        self.categories = [Codebook() for _ in self.fields]
        # for each field, by entity and category: the sums of the targets, then the last targets
        self.states = [EntityStates(2 * len(self.mean), np.float64) for _ in self.fields]

    def known(self, frame: pa.Table, moments: np.ndarray) -> dict[str, np.ndarray]:
        """Return the numbers of each event, from the stored events only.

        Parameters
        ----------
        frame : pyarrow.Table
            Events, with the entity and the fields.
        moments : ndarray of shape (n_events,)

        Returns
        -------
        dict of str -> ndarray of shape (n_events,)
            ``{field}.count``, ``{field}.mean``, ``{field}.since`` and ``{field}.last``; with several
            targets there is a ``mean_{i}`` and a ``last_{i}`` for each.
        """
        numbers: dict[str, np.ndarray] = {}
        entities = Coded.of(frame, self.entity)
        for field, book, states in zip(self.fields, self.categories, self.states):
            pairs = _pair_keys(entities.read_by(self.entities), Coded.of(frame, field).read_by(book))
            numbers |= self._numbers(field, states.read(pairs.tolist()), moments)
        return numbers

    def before(
        self,
        frame: pa.Table,
        moments: np.ndarray,
        targets: np.ndarray,
        undo: ExitStack | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the numbers of each event, from the stored events and the earlier ones of the frame.

        Parameters
        ----------
        frame : pyarrow.Table
            Events; within each entity they are in order of time.
        moments : ndarray of shape (n_events,)
        targets : ndarray of shape (n_events, n_targets)
        undo : ExitStack, optional
            Given, these events are stored, and this receives callbacks that remove them again.

        Returns
        -------
        dict of str -> ndarray of shape (n_events,)
            As in `known`.
        """
        numbers: dict[str, np.ndarray] = {}
        entities = Coded.of(frame, self.entity)
        for field, book, states in zip(self.fields, self.categories, self.states):
            categories = Coded.of(frame, field)
            if undo is not None:
                self.entities.add(entities.values, undo)
                book.add(categories.values, undo)
            groups = _Groups.of(entities.codes * len(categories.values) + categories.codes)
            pairs = _pair_keys(entities.read_by(self.entities), categories.read_by(book))
            keys = pairs[groups.firsts].tolist()
            past, after = groups.before_and_after(states.read(keys), moments, targets)
            if self.hide_ties:
                past = past.take(groups.firsts_of_ties(moments))
            numbers |= self._numbers(field, past, moments)
            if undo is not None:
                states.write(keys, after, undo)
        return numbers

    def _numbers(self, field: str, past: Past, moments: np.ndarray) -> dict[str, np.ndarray]:
        sums, last = np.split(past.states, 2, axis=1)
        means = (sums + self.mean) / (past.counts + 1)[:, None]
        last = np.where(past.counts[:, None] > 0, last, np.nan)
        ends = [""] if len(self.mean) == 1 else [f"_{i}" for i in range(len(self.mean))]
        return {
            f"{field}.count": past.counts,
            **{f"{field}.mean{end}": column for end, column in zip(ends, means.T)},
            f"{field}.since": past.since(self.axis, moments),
            **{f"{field}.last{end}": column for end, column in zip(ends, last.T)},
        }


class Coded(NamedTuple):
    """A column as distinct values (missing is one) and the position of each row's value."""

    values: list[Any]
    codes: np.ndarray

    @classmethod
    def of(cls, frame: pa.Table, name: str) -> Coded:
        """Encode a column of a frame."""
        column, field = frame[name], frame.schema.field(name)
        if pa.types.is_nested(column.type):
            raise ValueError(f"Column {name!r} must hold single values; it holds {column.type}.")
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if len(column) == 1:  # one row: finding distinct values would be the slowest step
            return cls(hashable_values(column, field), np.zeros(1, np.int64))
        coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        values = hashable_values(coded.dictionary, field)
        return cls(values, coded.indices.to_numpy().astype(np.int64))

    def read_by(self, book: Codebook) -> np.ndarray:
        """Return the book's code of each row's value, -1 if the book does not have the value."""
        return book.codes(self.values)[self.codes] if self.values else self.codes


def _pair_keys(entities: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """Return one whole number for each entity and category, -1 if one of them is new."""
    return np.where((entities < 0) | (categories < 0), -1, entities << 32 | categories)


@dataclass
class _Groups:
    """Events in groups, one for each pair of an entity and a category.

    Parameters
    ----------
    order : ndarray of shape (n_events,)
        Positions of the events, group by group; within a group they keep their order.
    heads : ndarray of shape (n_groups,)
        Where each group starts in ``order``.
    """

    order: np.ndarray
    heads: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray) -> _Groups:
        order = np.argsort(ids, kind="stable")
        return cls(order, np.flatnonzero(np.diff(ids[order], prepend=-1)))

    @property
    def firsts(self) -> np.ndarray:
        """Position of the first event of each group."""
        firsts: np.ndarray = self.order[self.heads]
        return firsts

    def before_and_after(
        self, start: Past, moments: np.ndarray, targets: np.ndarray
    ) -> tuple[Past, Past]:
        """Return the past before each event and after each group, given the past before each group."""
        moments, targets = moments[self.order], targets[self.order]
        sizes = np.diff(self.heads, append=len(self.order))
        position = np.arange(len(self.order)) - np.repeat(self.heads, sizes)  # within the group
        first_sums, first_last = np.split(start.states, 2, axis=1)
        # one running sum over all events; within a group, the sum before the group is subtracted
        total = targets.cumsum(axis=0) - targets
        sums = total + np.repeat(first_sums - total[self.heads], sizes, axis=0)
        counts = position + np.repeat(start.counts, sizes)
        last, last_moments = np.roll(targets, 1, axis=0), np.roll(moments, 1)
        last[self.heads], last_moments[self.heads] = first_last, start.moments
        ends = self.heads + sizes - 1
        after_states = np.concatenate([sums + targets, targets], axis=1)[ends]
        after = Past(after_states, counts[ends] + 1, moments[ends])
        before = Past(np.concatenate([sums, last], axis=1), counts, last_moments)
        return self._in_given_order(before), after

    def firsts_of_ties(self, moments: np.ndarray) -> np.ndarray:
        """Return for each event the first event of its group at the same time."""
        sizes = np.diff(self.heads, append=len(self.order))
        groups = np.repeat(np.arange(len(self.heads)), sizes)
        firsts: np.ndarray = self.order[run_starts(groups, moments[self.order])]
        return firsts[np.argsort(self.order)]

    def _in_given_order(self, past: Past) -> Past:
        positions = np.argsort(self.order)
        return past.take(positions)


def run_starts(groups: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return for each sorted event the position of the first event of its group at the same time."""
    is_first = np.ones(len(groups), dtype=bool)
    is_first[1:] = (groups[1:] != groups[:-1]) | (moments[1:] != moments[:-1])
    starts: np.ndarray = np.maximum.accumulate(np.where(is_first, np.arange(len(groups)), 0))
    return starts
