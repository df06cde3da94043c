"""Recommenders that have a vector for each user and item: scores, neighbours and spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from tabemb.data.frames import to_arrow
from tabemb.data.vocabulary import N_SPECIAL
from tabemb.spaces.space import EmbeddingSpace
from tabemb.unsupervised.interactions import Entities
from tabemb.unsupervised.recommender import Recommender


class FactorRecommender(Recommender):
    """Base class of recommenders whose score is a dot product plus an offset of each side.

    Attributes
    ----------
    user_vectors_, item_vectors_ : ndarray of shape (n, dim), float32
    user_offsets_, item_offsets_ : ndarray of shape (n,), float32
    unknown_user_, unknown_item_ : ndarray of shape (dim + 1,), float32
        The vector and the offset of an unknown user or item.
    scale_ : float
        Factor on the dot product.
    """

    user_vectors_: np.ndarray
    item_vectors_: np.ndarray
    user_offsets_: np.ndarray
    item_offsets_: np.ndarray
    unknown_user_: np.ndarray
    unknown_item_: np.ndarray
    scale_: float

    def _scores(self, users: np.ndarray) -> np.ndarray:
        vectors, offsets = _rows(self.user_vectors_, self.user_offsets_, self.unknown_user_, users)
        scores = self.scale_ * (vectors @ self.item_vectors_.T)
        return self._in_unit(scores + offsets[:, None] + self.item_offsets_)

    def _in_unit(self, scores: np.ndarray) -> np.ndarray:
        """Return scores in the unit of the user."""
        return scores

    def predict(self, X: Any) -> np.ndarray:
        """Return the score of each pair, or its predicted number.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
            With the two columns that ``fit`` read.

        Returns
        -------
        ndarray of shape (n_rows,)
            All unknown users share one vector, and so do all unknown items.
        """
        check_is_fitted(self)
        user, item = self._positions(to_arrow(X, self))
        users = _rows(self.user_vectors_, self.user_offsets_, self.unknown_user_, user)
        items = _rows(self.item_vectors_, self.item_offsets_, self.unknown_item_, item)
        dots = np.einsum("nd,nd->n", users[0], items[0])
        return self._in_unit(self.scale_ * dots + users[1] + items[1])

    def similar(self, items: Any, k: int = 10, min_count: float = 0) -> pd.DataFrame:
        """Return the nearest items of each item, by the cosine of their vectors.

        Parameters
        ----------
        items : array-like of shape (n,)
        k : int, default=10
        min_count : float, default=0
            Items with fewer pairs are left out.

        Returns
        -------
        pandas.DataFrame
            As `EmbeddingSpace.neighbors` returns it.

        Raises
        ------
        KeyError
            An item is unknown; the message names close spellings.
        """
        check_is_fitted(self)
        space = self.spaces_[self.items_.column]
        return space.neighbors(pd.Index(items), k=k, min_count=min_count)

    @property
    def spaces_(self) -> dict[str, EmbeddingSpace]:
        """The vectors of users and of items by the names of their columns; offsets are left out."""
        check_is_fitted(self)
        return {
            self.users_.column: _space(self.users_, self.user_vectors_),
            self.items_.column: _space(self.items_, self.item_vectors_),
        }


def _space(entities: Entities, vectors: np.ndarray) -> EmbeddingSpace:
    counts = entities.vocabulary.counts[N_SPECIAL:]
    whole = counts.astype(np.int64)  # weights may make counts fractions
    exact = whole if np.array_equal(whole, counts) else counts
    return EmbeddingSpace(vectors, entities.labels(), exact, entities.column)


def _rows(
    vectors: np.ndarray, offsets: np.ndarray, unknown: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors (n, dim) and offsets (n,) of positions; -1 is unknown."""
    known = positions >= 0
    return (
        np.where(known[:, None], vectors[positions], unknown[:-1]),
        np.where(known, offsets[positions], unknown[-1]),
    )
