"""Encounters: the earlier events of the same entity with the same category, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tabemb.data.states import Codebook, EntityStates, Past
from tabemb.data.times import TimeAxis


class Encounters:
    """What the earlier events of the same entity and category say, field by field, as numbers.

    A recurrent net would have to count the events of each category of each field apart; here they are counted: their
    number, the mean of their answers, the last of them and the time since. In knowledge tracing these are the
    successes and failures by skill (performance factors analysis, Pavlik et al. 2009).

    Parameters
    ----------
    entity : str
        Column of the entities.
    fields : sequence of str
        Categorical columns; a missing value is a category.
    clock : TimeAxis
        Tells days from the difference of two moments.
    mean : ndarray of shape (n_answers,)
        Mean answer, which stands for one event more.
    """

    def __init__(self, entity: str, fields: Sequence[str], clock: TimeAxis, mean: np.ndarray) -> None:
        self.entity, self.fields, self.clock, self.mean = entity, list(fields), clock, mean
        self.forget()

    def forget(self) -> None:
        """Nothing is known of any entity."""
        self.entities = Codebook()
        self.categories = [Codebook() for _ in self.fields]
        self.kept = [EntityStates(2 * len(self.mean), np.float64) for _ in self.fields]

    def known(self, frame: pa.Table, moments: np.ndarray) -> dict[str, np.ndarray]:
        """Before each event, of those alone that were taken in."""
        numbers: dict[str, np.ndarray] = {}
        entities = Coded.of(frame[self.entity])
        for field, book, kept in zip(self.fields, self.categories, self.kept):
            pairs = _pairs(entities.read_by(self.entities), Coded.of(frame[field]).read_by(book))
            numbers |= self._numbers(field, kept.read(pairs.tolist()), moments)
        return numbers

    def before(
        self, frame: pa.Table, moments: np.ndarray, answers: np.ndarray, keep: bool = False
    ) -> dict[str, np.ndarray]:
        """Before each of some sorted events, of those taken in and of these; these are taken in too with ``keep``."""
        numbers: dict[str, np.ndarray] = {}
        entities = Coded.of(frame[self.entity])
        for field, book, kept in zip(self.fields, self.categories, self.kept):
            categories = Coded.of(frame[field])
            if keep:
                self.entities.add(entities.values)
                book.add(categories.values)
            groups = _Groups.of(entities.codes * len(categories.values) + categories.codes)
            pairs = _pairs(entities.read_by(self.entities), categories.read_by(book))[
                groups.firsts
            ].tolist()
            past, after = groups.told(kept.read(pairs), moments, answers)
            numbers |= self._numbers(field, past, moments)
            if keep:
                kept.write(pairs, after)
        return numbers

    def _numbers(self, field: str, past: Past, moments: np.ndarray) -> dict[str, np.ndarray]:
        sums, last = np.split(past.states, 2, axis=1)
        means = (sums + self.mean) / (past.counts + 1)[:, None]
        ends = [""] if len(self.mean) == 1 else [f"_{i}" for i in range(len(self.mean))]
        told = {f"mean{end}": own for end, own in zip(ends, means.T)}
        told["since"] = past.since(self.clock, moments)
        told |= {f"last{end}": np.where(past.counts > 0, own, np.nan) for end, own in zip(ends, last.T)}
        return {f"{field}.count": past.counts, **{f"{field}.{name}": own for name, own in told.items()}}


class Coded(NamedTuple):
    """A column as its distinct values and the place of each row's value among them; missing is a value."""

    values: list[Any]
    codes: np.ndarray

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Coded:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if len(column) == 1:  # one row: finding its distinct values would take longer than all the rest
            return cls(column.to_pylist(), np.zeros(1, np.int64))
        coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        return cls(coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64))

    def read_by(self, book: Codebook) -> np.ndarray:
        """The code that the book gives to each row's value, -1 for one it has not learned."""
        return book.codes(self.values)[self.codes] if self.values else self.codes


def _pairs(entities: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """One whole number for an entity and a category, -1 where one of them is new."""
    return np.where((entities < 0) | (categories < 0), -1, entities << 32 | categories)


@dataclass
class _Groups:
    """Events laid group by group by ``order``, in each group in their own; a group starts at each of ``heads``."""

    order: np.ndarray
    heads: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray) -> _Groups:
        order = np.argsort(ids, kind="stable")
        return cls(order, np.flatnonzero(np.diff(ids[order], prepend=-1)))

    @property
    def firsts(self) -> np.ndarray:
        """The first event of each group."""
        return self.order[self.heads]

    def told(self, start: Past, moments: np.ndarray, answers: np.ndarray) -> tuple[Past, Past]:
        """What is known before each event, from what is known before each group, and after each group."""
        moments, answers = moments[self.order], answers[self.order]
        sizes = np.diff(self.heads, append=len(self.order))
        nth = np.arange(len(self.order)) - np.repeat(self.heads, sizes)
        first_sums, first_last = np.split(start.states, 2, axis=1)
        total = answers.cumsum(axis=0) - answers
        sums = total + np.repeat(first_sums - total[self.heads], sizes, axis=0)
        counts = nth + np.repeat(start.counts, sizes)
        last, latest = np.roll(answers, 1, axis=0), np.roll(moments, 1)
        last[self.heads], latest[self.heads] = first_last, start.moments
        ends = self.heads + sizes - 1
        states = np.concatenate([sums + answers, answers], axis=1)[ends]
        after = Past(states, counts[ends] + 1, moments[ends])
        return self._back(Past(np.concatenate([sums, last], axis=1), counts, latest)), after

    def _back(self, past: Past) -> Past:
        """In the order that the events had."""
        places = np.argsort(self.order)
        return Past(*(values[places] for values in past))
