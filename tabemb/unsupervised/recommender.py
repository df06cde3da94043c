"""The interface of all recommenders of items to users: fit, recommend, predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, ClassVar, Never, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from tabemb.data.frames import to_arrow
from tabemb.fitting.recommending import blocks, places_of, ranking, top
from tabemb.fitting.settings import FLAG, Rule, check_parameters, whole
from tabemb.hints import NamesMisspelt, refuse_unknown
from tabemb.unsupervised.interactions import (
    Entities,
    Interactions,
    Lists,
    read_interactions,
)

COLUMN_NAME = Rule(lambda v: v is None or isinstance(v, str), lambda: "the name of a column, or None")


class Recommender(NamesMisspelt, BaseEstimator):
    """Base class of all recommenders: reads pairs, and ranks all items for users in batches.

    A subclass computes attributes from pairs (`_fit_pairs`) and the scores of all items for a few users
    (`_scores`). The scores of all users are never in memory at once.

    Attributes
    ----------
    users_, items_ : Entities
    seen_ : Lists
        The items of each user in the pairs of ``fit``.
    """

    rules: ClassVar[Mapping[str, Rule]] = {"user": COLUMN_NAME, "item": COLUMN_NAME}

    user: str | None
    item: str | None

    users_: Entities
    items_: Entities
    seen_: Lists

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **unknown: Never) -> Self:
        """Fit the recommender on pairs of user and item.

        A refused or interrupted call leaves the estimator as it was.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
            A pair in each row. Only the columns ``user`` and ``item`` are read; the two parameters are
            not needed if X has two columns.
        y : None
            Must be None: all pairs are positive.
        sample_weight : array-like of shape (n_rows,), optional
            Weight of each pair; the weights of a repeated pair are summed. Without weights, a repeated
            pair counts once.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter breaks its rule, or a user or an item is missing.
        """
        refuse_unknown(self, "fit", unknown)
        check_parameters(self, self.rules)
        if y is not None:
            raise ValueError(
                f"y must be None for {type(self).__name__}, to which all pairs are positive; pass how "
                "much each pair counts as sample_weight."
            )
        pairs = read_interactions(X, self.user, self.item, sample_weight, self)
        after = copy(self)
        after._remember(pairs)
        after._fit_pairs(pairs)
        self.__dict__ = after.__dict__  # in one assignment, safe if interrupted
        return self

    def _remember(self, pairs: Interactions) -> None:
        self.users_, self.items_ = pairs.users, pairs.items
        self.seen_ = Lists.of(pairs.user, pairs.item, len(pairs.users))

    def _fit_pairs(self, pairs: Interactions) -> None:
        """Compute all that `_scores` needs, and set it as attributes."""
        raise NotImplementedError

    def _scores(self, users: np.ndarray) -> np.ndarray:
        """Return the scores of all items, (n, n_items), for positions of users; -1 is an unknown user.

        The caller may change the array. A user about whom nothing is known has equal scores.
        """
        raise NotImplementedError

    def recommend(self, users: Any = None, k: int = 10, exclude_seen: bool = True) -> pd.DataFrame:
        """Return the items with the highest scores for each user.

        Parameters
        ----------
        users : array-like of shape (n,), optional
            By default all users of ``fit``. A user who was not in ``fit`` gets the most frequent items,
            or those that the recommender predicts for unknown users.
        k : int, default=10
            Number of items; fewer if a user has seen nearly all of them.
        exclude_seen : bool, default=True
            Whether to leave out the items that the user had in ``fit``.

        Returns
        -------
        pandas.DataFrame
            The column of users, ``rank`` (from 1), the column of items and ``score``. Items with equal
            scores are ordered by frequency.
        """
        check_is_fitted(self)
        whole(1).check("k", k)
        FLAG.check("exclude_seen", exclude_seen)
        labels, positions = self._users(users)
        blocks = [self._top(block, k, exclude_seen) for block in self._blocks(positions)]
        items, scores = (np.concatenate(arrays) for arrays in zip(*blocks))
        return self._as_frame(labels, items, scores)

    def _top(self, users: np.ndarray, k: int, exclude_seen: bool) -> tuple[np.ndarray, np.ndarray]:
        scores = self._scores(users)
        if exclude_seen:
            scores[self.seen_.cells(users)] = -np.inf
        return top(scores, k, self._places)

    def predict(self, X: Any) -> np.ndarray:
        """Return the score of each pair.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
            With the columns that ``fit`` read.

        Returns
        -------
        ndarray of shape (n_rows,)
            The score of an unknown item is 0, as for an item that no user has.
        """
        check_is_fitted(self)
        user, item = self._positions(to_arrow(X, self))
        distinct, place = np.unique(user, return_inverse=True)
        order = np.argsort(place, kind="stable")
        ends = np.cumsum(np.bincount(place))
        scores, first = np.zeros(len(user)), 0
        for block in self._blocks(distinct):
            of_block = self._scores(block)
            pairs = order[(ends[first - 1] if first else 0) : ends[first + len(block) - 1]]
            scores[pairs] = of_block[place[pairs] - first, item[pairs]]
            first += len(block)
        return np.where(item >= 0, scores, 0.0)

    def _positions(self, frame: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of both sides of pairs; -1 where unknown."""
        return self.users_.positions(frame), self.items_.positions(frame)

    def _blocks(self, users: np.ndarray) -> Iterator[np.ndarray]:
        """Split users into blocks whose scores fit into memory; show progress."""
        for start, stop in blocks(len(users), len(self.items_)):
            yield users[start:stop]

    def check_parts(self) -> None:
        """Score all items for the first, the last and an unknown user.

        Raises
        ------
        Exception
            Any exception, if the parts do not fit together; ValueError if a score is not finite.
        """
        n_users, n_items = len(self.users_), len(self.items_)
        if len(self.seen_) != n_users or not 0 <= self.seen_.values.max(initial=0) < max(n_items, 1):
            raise ValueError("the items that users have seen are of other users or items.")
        scores = self._scores(np.array([0, n_users - 1, -1]))
        if scores.shape != (3, n_items) or not np.isfinite(scores).all():
            raise ValueError("its scores are not finite, or of another number of items.")

    def _users(self, users: Any) -> tuple[pd.Series, np.ndarray]:
        """Return the labels of users, and their positions."""
        if users is None:
            return pd.Series(self.users_.labels(), name=self.users_.column), np.arange(len(self.users_))
        return self.users_.of_labels(users)

    @property
    def _places(self) -> np.ndarray:
        """The place of each item in the order of decreasing frequency, int64 (n_items,)."""
        return places_of(self.items_.counts)

    def _as_frame(self, labels: pd.Series, items: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
        return ranking(labels, self.items_.labels().rename(self.items_.column), items, scores)
