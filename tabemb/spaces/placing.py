"""Vectors of new categories, computed from the vectors of similar known categories."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from tabemb.likeness.descriptions import Descriptions, described
from tabemb.likeness.nearest import MOST_TRIED, Likeness
from tabemb.likeness.spelling import Spellings
from tabemb.spaces.vectors import CategoryVectors, as_index


class PlacingVectors(CategoryVectors):
    """Category vectors that give vectors to new categories; `EmbeddingSpace` is the public class."""

    descriptions: Self | None = None
    """Vectors that describe these and other categories, if their table has ``describe``."""

    def by_text(self, categories: Any) -> Self:
        """Return vectors of new categories, computed from known categories with a similar spelling.

        The vector of a new category is the mean vector of the ten categories whose text is most similar
        by character n-grams, weighted by this similarity.

        Parameters
        ----------
        categories : sequence of str
            Those that the space already has keep their vectors.

        Returns
        -------
        EmbeddingSpace
            The space of these categories, in their order. The counts of new ones are 0. Their
            reliability is the share of variance explained when known vectors are predicted in the same
            way from the other known vectors: 0 if names are uninformative.

        Raises
        ------
        TypeError
            A category is not text, or the space has fewer than two text categories.

        Examples
        --------
        >>> from tabemb.spaces import EmbeddingSpace
        >>> jobs = ["senior engineer", "junior engineer", "senior nurse", "junior nurse"]
        >>> space = EmbeddingSpace([[5, 1], [5, 1], [0, 1], [0, 1]], jobs)
        >>> space.by_text(["lead engineer"])["lead engineer"].round().tolist()
        [5.0, 1.0]
        """
        for label in as_index(categories).tolist():
            if not isinstance(label, str):
                kind = type(label).__name__
                raise TypeError(f"by_text needs categories that are texts; {label!r} is an {kind}.")
        texts = [i for i, category in enumerate(self) if isinstance(category, str)]
        if len(texts) < 2:
            raise TypeError("by_text compares texts, but this space has no texts among its categories.")
        alike = Spellings([self.categories[i] for i in texts])
        return self._placed(categories, np.array(texts), alike)

    def by_description(self, categories: Any, describe: Any = None) -> Self:
        """Return vectors of new categories, computed from known categories with a similar description.

        Parameters
        ----------
        categories : sequence of hashables
            Those that the space already has keep their vectors.
        describe : DataFrame, Series, EmbeddingSpace or mapping, optional
            Descriptions of known and new categories, as for ``Table(describe=...)``. None: the attribute
            ``descriptions``, which spaces of a model have if their table has ``describe``.

        Returns
        -------
        EmbeddingSpace
            As for `by_text`.

        Raises
        ------
        KeyError
            A new category is not described.
        ValueError
            There are no descriptions, they break a rule, or fewer than two known categories have one.

        Examples
        --------
        >>> import pandas as pd
        >>> from tabemb.spaces import EmbeddingSpace
        >>> space = EmbeddingSpace([[5, 1], [5, 1], [0, 1]], ["Bonn", "Köln", "Rome"], name="city")
        >>> places = pd.DataFrame({"north": [50.7, 50.9, 41.9, 51.2]}, [*space, "Essen"])
        >>> space.by_description(["Essen"], places)["Essen"].round().tolist()
        [5.0, 1.0]
        """
        given = self.descriptions if describe is None else describe
        if given is None:
            raise ValueError("by_description needs describe=..., as this space has no descriptions.")
        alike = Descriptions(list(self), described(self.name, given))
        rows = np.flatnonzero(alike.known)
        if len(rows) < 2:
            raise ValueError(
                f"by_description needs descriptions of two known categories or more, but describe has "
                f"{len(rows)} of the {len(self)}; index it by category."
            )
        labels = as_index(categories).tolist()
        for label, is_described in zip(labels, alike.has(labels)):
            if not is_described and label not in self:
                raise KeyError(f"describe has no row for category {label!r}.")
        return self._placed(categories, rows, alike.of(rows))

    def _placed(self, categories: Any, rows: np.ndarray, alike: Likeness) -> Self:
        """Return the space of some categories; new ones get the mean of similar known ones in `rows`."""
        labels = as_index(categories).tolist()
        near, weights = alike.nearest(labels)
        vectors = np.einsum("nk,nkd->nd", weights, self.vectors[rows[near]])
        reliability, counts = np.full(len(labels), self._explained(rows, alike)), np.zeros(len(labels))
        known = np.array([self._position_or_minus_one(label) for label in labels], dtype=np.int64)
        is_known = known >= 0
        vectors[is_known] = self.vectors[known[is_known]]
        if self.counts is not None:
            counts[is_known] = self.counts[known[is_known]]
        reliability[is_known] = 1.0 if self.reliability is None else self.reliability[known[is_known]]
        return type(self)(vectors, categories, counts, self.name, reliability)

    def _explained(self, rows: np.ndarray, alike: Likeness) -> float:
        """Return the share of the variance of known vectors that the others predict, 0 to 1."""
        tried = np.random.default_rng(0).permutation(len(rows))[:MOST_TRIED]
        near, weights = alike.nearest_others(tried)
        predicted = np.einsum("nk,nkd->nd", weights, self.vectors[rows[near]])
        actual = self.vectors[rows[tried]]
        total = float(np.square(actual - self.vectors[rows].mean(axis=0)).sum())
        rest = float(np.square(actual - predicted).sum())
        return float(np.clip(1 - rest / total, 0, 1)) if total else 0.0
