"""The classes that each entity has had, such as the items that a user has seen."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np


class SeenClasses:
    """The classes of each entity, in a list that new events are appended to.

    Each entry points to the previous entry of the same entity. The cost of a new event therefore does
    not depend on the number of earlier ones, and existing entries never change.

    Examples
    --------
    >>> seen = SeenClasses()
    >>> seen.add(np.array([0, 0, 1]), np.array([7, 8, 7]))
    >>> rows, classes = seen.of(np.array([1, 0, -1]))
    >>> sorted(zip(rows.tolist(), classes.tolist()))
    [(0, 7), (1, 7), (1, 8)]
    """

    def __init__(self) -> None:
        self.n = 0
        self.classes, self.before = np.zeros(0, np.int32), np.zeros(0, np.int64)
        self.last = np.zeros(0, np.int64)  # entry of each entity's last event, -1 without one

    def __getstate__(self) -> dict[str, Any]:
        spare = {name: getattr(self, name)[: self.n] for name in ("classes", "before")}
        return vars(self) | spare  # without space allocated for later events

    def check(self, n_entities: int, n_classes: int) -> None:
        """Raise ValueError if an entity or class is out of range or an entry does not point back."""
        n, before, classes = self.n, self.before[: self.n], self.classes[: self.n]
        is_whole = len(before) == len(classes) == n and all(
            array.dtype.kind == "i" and array.ndim == 1 for array in (before, classes, self.last)
        )
        if not (
            is_whole
            and (before < np.arange(n)).all()
            and (before >= -1).all()
            and ((classes >= 0) & (classes < n_classes)).all()
            and ((self.last[:n_entities] >= -1) & (self.last[:n_entities] < n)).all()
            and (self.last[n_entities:] == -1).all()
        ):
            raise ValueError("the classes that entities have had are damaged.")

    def add(self, entities: np.ndarray, classes: np.ndarray, undo: ExitStack | None = None) -> None:
        """Add events by entity.

        Parameters
        ----------
        entities : ndarray of int64 of shape (n,)
            Codes of the entities; the events of an entity are adjacent.
        classes : ndarray of int64 of shape (n,)
        undo : ExitStack, optional
            Receives a callback that reverses this, even after an interrupt halfway.
        """
        if not len(entities):
            return
        heads = np.flatnonzero(np.diff(entities, prepend=-1))
        ends, codes = np.append(heads[1:], len(entities)) - 1, entities[heads]
        if undo is not None:
            old = codes[codes < len(self.last)]
            arrays = self.classes, self.before, self.last
            undo.callback(self._restore, self.n, arrays, old, self.last[old])
        self._grow(self.n + len(entities), int(codes.max()) + 1)
        places = self.n + np.arange(len(entities))
        before = places - 1
        before[heads] = self.last[codes]
        self.classes[places], self.before[places] = classes, before
        self.last[codes] = places[ends]
        self.n += len(entities)

    def of(self, entities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes of some entities, -1 for an unknown one.

        Returns
        -------
        rows, classes : ndarray of int64
            The position of an entity in ``entities``, and a class that it has had; a class may be
            repeated.
        """
        rows = np.flatnonzero((entities >= 0) & (entities < len(self.last)))
        places = self.last[entities[rows]]
        owners, classes = [rows[:0]], [places[:0]]
        while len(rows := rows[places >= 0]):
            places = places[places >= 0]
            owners.append(rows)
            classes.append(self.classes[places].astype(np.int64))
            places = self.before[places]
        return np.concatenate(owners), np.concatenate(classes)

    def _grow(self, n_events: int, n_entities: int) -> None:
        """Allocate more space; sizes at least double, so that the cost per new event is constant."""
        self.classes = _grown(self.classes, n_events, 0)
        self.before = _grown(self.before, n_events, 0)
        self.last = _grown(self.last, n_entities, -1)

    def _restore(
        self, n: int, arrays: tuple[np.ndarray, ...], codes: np.ndarray, last: np.ndarray
    ) -> None:
        self.n = n
        self.classes, self.before, self.last = arrays
        self.last[codes] = last


def _grown(values: np.ndarray, n: int, fill: int) -> np.ndarray:
    if n <= len(values):
        return values
    more = np.full(max(n, 2 * len(values)) - len(values), fill, values.dtype)
    return np.concatenate([values, more])
