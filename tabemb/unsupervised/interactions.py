"""Pairs of users and items: from a frame to codes, and to the items of each user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from tabemb.data.frames import to_arrow
from tabemb.data.schema import check_column
from tabemb.data.vocabulary import MISSING, N_SPECIAL, Vocabulary
from tabemb.fitting.weights import check_weights

UNKNOWN_ENTITY = -1
"""Position of a user or item that is not in the vocabulary."""


class PairColumns(NamedTuple):
    """The names of the columns that hold users and items."""

    user: str
    item: str

    @classmethod
    def of(cls, frame: pa.Table, user: str | None, item: str | None) -> Self:
        """Find the two columns of a frame; without names, the frame must have two columns, user first.

        Raises
        ------
        ValueError
            A column is missing, one is named twice, or names are needed.
        """
        names = frame.schema.names
        if user is None and item is None and len(names) == 2:
            return cls(names[0], names[1])
        if user is None or item is None:
            raise ValueError(
                f"user and item must name the two columns of a pair, as X has {len(names)} columns "
                f"({', '.join(names[:8])}); got user={user!r} and item={item!r}."
            )
        if user == item:
            raise ValueError(f"user and item must name two columns; both are {user!r}.")
        for name in (user, item):
            check_column(frame, name, "X")
        return cls(user, item)


class Entities:
    """The users or the items of a fit, with a position from 0 for each.

    Parameters
    ----------
    column : str
        Name of the column.
    vocabulary : Vocabulary
    """

    def __init__(self, column: str, vocabulary: Vocabulary) -> None:
        self.column, self.vocabulary = column, vocabulary

    def __len__(self) -> int:
        """Return the number of users or items."""
        return len(self.vocabulary.categories)

    @property
    def counts(self) -> np.ndarray:
        """Number of rows of each, float64 (n,)."""
        return np.asarray(self.vocabulary.counts[N_SPECIAL:])

    def labels(self) -> pd.Index:
        """Return the original labels, in the order of their positions."""
        return self.vocabulary.labels()

    def positions(self, frame: pa.Table) -> np.ndarray:
        """Return the position of each cell, int64 (n_rows,); -1 where it is unknown or missing."""
        check_column(frame, self.column, "X")
        codes = self.vocabulary.codes(frame[self.column], frame.schema.field(self.column))
        return np.asarray(np.maximum(codes - N_SPECIAL, UNKNOWN_ENTITY))

    def of_labels(self, labels: Any) -> tuple[pd.Series, np.ndarray]:
        """Return labels as a Series, and the position of each, int64 (n,)."""
        series = pd.Series(labels, name=self.column).reset_index(drop=True)
        if not len(series):
            return series, np.zeros(0, np.int64)
        return series, self.positions(to_arrow(series.to_frame()))


@dataclass(frozen=True)
class Interactions:
    """The pairs of a fit as positions.

    Parameters
    ----------
    users, items : Entities
    user, item : ndarray of int64 of shape (n,)
        Positions of the two sides of each pair.
    weight : ndarray of float64 of shape (n,), optional
        None if no weights were passed.
    """

    users: Entities
    items: Entities
    user: np.ndarray
    item: np.ndarray
    weight: np.ndarray | None

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.user)

    def matrix(self) -> sp.csr_array:
        """Return the sparse float64 matrix of users x items: 1 for a pair, even if it is repeated.

        With weights, a cell is the sum of the weights of its pair.
        """
        values = np.ones(len(self)) if self.weight is None else self.weight
        shape = (len(self.users), len(self.items))
        matrix = sp.coo_array((values, (self.user, self.item)), shape=shape).tocsr()
        matrix.sum_duplicates()
        if self.weight is None:
            matrix.data[:] = 1.0
        return matrix


def read_interactions(
    X: Any, user: str | None, item: str | None, sample_weight: Any = None, estimator: Any = None
) -> Interactions:
    """Read the pairs of a frame.

    Parameters
    ----------
    X : frame or array-like of shape (n_rows, n_columns)
    user, item : str or None
        Names of the two columns, as `PairColumns.of` takes them.
    sample_weight : array-like of shape (n_rows,), optional
        Pairs of weight zero are left out.
    estimator : object, optional
        Named in errors.

    Raises
    ------
    ValueError
        A user or an item is missing; the message names the row.
    """
    frame = to_arrow(X, estimator)
    names = PairColumns.of(frame, user, item)
    weights = check_weights(sample_weight, frame.num_rows)
    if weights is not None and not weights.all():
        rows = np.flatnonzero(weights)
        frame, weights = frame.take(pa.array(rows)), weights[rows]
    users, items = (entities_of(frame, name) for name in names)
    return Interactions(
        users, items, known_positions(users, frame), known_positions(items, frame), weights
    )


def entities_of(frame: pa.Table, name: str) -> Entities:
    """Collect the users or the items of a column."""
    return Entities(name, Vocabulary.from_columns({name: (frame[name], frame.schema.field(name))}))


def known_positions(entities: Entities, frame: pa.Table) -> np.ndarray:
    """Return the position of each cell of a column, none of which may be missing or unknown.

    Raises
    ------
    ValueError
        A cell is missing; the message names the row.
    """
    values, field = frame[entities.column], frame.schema.field(entities.column)
    codes = entities.vocabulary.codes(values, field)
    missing = np.flatnonzero(codes == MISSING)
    if len(missing):
        raise ValueError(
            f"Column {entities.column!r} must not have missing values; {len(missing)} rows have none, "
            f"the first is row {missing[0]}; leave such rows out."
        )
    return codes - N_SPECIAL


class Lists:
    """Concatenated lists of positions, one for each of n users, such as the items that a user has seen.

    Parameters
    ----------
    offsets : ndarray of int64 of shape (n + 1,)
        User i has the values from ``offsets[i]`` up to ``offsets[i + 1]``.
    values : ndarray of int64
    """

    def __init__(self, offsets: np.ndarray, values: np.ndarray) -> None:
        self.offsets, self.values = offsets, values

    @classmethod
    def of(cls, user: np.ndarray, item: np.ndarray, n_users: int) -> Self:
        """Collect the distinct items of each user, in the order of their positions."""
        order = np.lexsort((item, user))
        user, item = user[order], item[order]
        first = np.ones(len(user), dtype=bool)
        first[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
        counts = np.bincount(user[first], minlength=n_users)
        return cls(np.concatenate([[0], np.cumsum(counts)]), item[first])

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> np.ndarray:
        """Length of each list, int64 (n,)."""
        return np.diff(self.offsets)

    def __getitem__(self, user: int) -> np.ndarray:
        """Return the list of one user."""
        return self.values[self.offsets[user] : self.offsets[user + 1]]

    def cells(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the index in ``users`` and the value of each entry of their lists; none if unknown."""
        known = np.flatnonzero(users >= 0)
        counts = self.counts[users[known]]
        rows = np.repeat(known, counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, self.values[np.repeat(self.offsets[users[known]], counts) + within]

    def contain(self, user: np.ndarray, item: np.ndarray, n_items: int) -> np.ndarray:
        """Return whether the lists contain each pair, bool (n,); False if a side is unknown."""
        owner = np.repeat(np.arange(len(self)), self.counts)
        keys = owner * n_items + self.values
        wanted = np.where((user >= 0) & (item >= 0), user * n_items + item, -1)
        places = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        return (keys[places] == wanted) if len(keys) else np.zeros(len(user), dtype=bool)
