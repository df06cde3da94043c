"""The core of `tabemb.spaces`: the vectors of one embedding table and the look-up of a category in them.

The other files of the package build on this one, which imports none of them. It needs no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from tabemb.labels import as_objects

# Comparing spellings takes 20 microseconds a category: minutes for one error in a space of millions.
MAX_SPELLINGS = 50_000

MapKey = tuple[str, str, int | None]
"""Method, metric and seed of a map."""


class Parts(NamedTuple):
    """The arguments that make a space, in their order."""

    vectors: Any
    categories: Any
    counts: Any = None
    name: str = ""
    reliability: Any = None
    ancestry: Any = ()


class CategoryVectors:
    """Vectors with the categories they stand for, their counts and a name.

    `EmbeddingSpace`, the public class, describes the parameters and adds search, maps and file formats.

    Parameters
    ----------
    vectors : array-like of shape (n_levels, d)
    categories : sequence of n_levels hashables
    counts : array-like of shape (n_levels,), optional
    name : str, default=""
    reliability : array-like of shape (n_levels,), optional
    ancestry : sequence of str, optional

    Attributes
    ----------
    vectors : ndarray of shape (n_levels, d), float32, read-only
    categories : pandas.Index of length n_levels
    counts : ndarray of shape (n_levels,) or None
    name : str
    reliability : ndarray of shape (n_levels,) or None
    ancestry : tuple of str
    directions : ndarray of shape (n_levels, d)
    unit_vectors : ndarray of shape (n_levels, d)
    maps : dict from (method, metric, random_state) to ndarray of shape (n_levels, 2)

    Raises
    ------
    ValueError
        If shapes disagree, a category occurs twice, a vector is not finite, a count is negative or a
        reliability is not from 0 to 1.
    """

    def __init__(
        self,
        vectors: Any,
        categories: Any,
        counts: Any = None,
        name: str = "",
        reliability: Any = None,
        ancestry: Iterable[str] = (),
    ) -> None:
        self.categories = as_index(categories)
        self.vectors = _checked_vectors(vectors, self.categories)
        self.counts = None if counts is None else checked_counts(counts, self.categories)
        self.name, self.ancestry = name, tuple(ancestry)
        self.reliability = (
            None if reliability is None else checked_reliability(reliability, self.categories)
        )

    def __repr__(self) -> str:
        return f"{self._title})"

    @property
    def _title(self) -> str:
        """The name and the size, the start of the repr."""
        size = f"{len(self)} categories, {self.vectors.shape[1]} dimensions"
        return f"{type(self).__name__}({self.name!r}, {size}"

    def __len__(self) -> int:
        return len(self.categories)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.categories)

    def __contains__(self, category: Hashable) -> bool:
        return self._position_or_minus_one(category) >= 0

    def __getitem__(self, category: Hashable) -> np.ndarray:
        vector: np.ndarray = self.vectors[self.position(category)]
        return vector

    def __getstate__(self) -> dict[str, Any]:
        # the unit vectors take as much memory as the vectors and are quickly computed again
        quick = {"unit_vectors", "directions"}
        return {name: value for name, value in vars(self).items() if name not in quick}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"reliability": None, "ancestry": (), **state})  # tabemb 0.2 had none

    @cached_property
    def unit_vectors(self) -> np.ndarray:
        """The vectors scaled to length one, (n_levels, d); vectors of zeros stay zero."""
        return to_unit_length(self.vectors)

    @cached_property
    def directions(self) -> np.ndarray:
        """The unit vectors times the square root of their reliability, (n_levels, d).

        Their products are cosines, which are smaller for less reliable vectors.
        """
        if self.reliability is None:
            return self.unit_vectors
        roots = np.sqrt(self.reliability, dtype=np.float32)
        directions: np.ndarray = self.unit_vectors * roots[:, None]
        return directions

    @property
    def maps(self) -> dict[MapKey, np.ndarray]:
        """The maps computed so far, each (n_levels, 2), by method, metric and seed."""
        return self._maps

    @cached_property
    def _maps(self) -> dict[MapKey, np.ndarray]:
        # saved files store the maps under this name
        return {}

    @property
    def named_categories(self) -> pd.Index:
        """The categories as an index that has the name of the space."""
        return self.categories.rename(self.name or None)

    def position(self, category: Hashable) -> int:
        """Return the position of a category, its row in `vectors`.

        None, NaN and NaT all stand for the one missing category.

        Parameters
        ----------
        category : hashable

        Raises
        ------
        KeyError
            If the category is unknown; the message names close spellings.
        """
        position = self._position_or_minus_one(category)
        if position < 0:
            raise KeyError(
                f"{category!r} is not a category of {self._title}){self._close_spellings(category)}."
            )
        return position

    def positions(self, categories: Iterable[Hashable] | None = None) -> np.ndarray:
        """Return the positions of several categories.

        Parameters
        ----------
        categories : iterable of hashables, optional
            None: all categories.

        Raises
        ------
        KeyError
            If a category is unknown; the message names close spellings.
        """
        if categories is None:
            return np.arange(len(self))
        index = as_index(categories, unique=False)
        positions = self.categories.get_indexer(index)
        # pandas does not find a missing value of another kind, nor unknown categories
        for i in np.flatnonzero(positions < 0).tolist():
            positions[i] = self.position(index[i])
        return positions

    def as_vector(self, category_or_vector: Any) -> np.ndarray:
        """Return the vector of a category, or a given vector after a check of its shape.

        Parameters
        ----------
        category_or_vector : hashable, or array-like of shape (d,)

        Raises
        ------
        KeyError
            If the category is unknown; the message names close spellings.
        ValueError
            If the shape of a vector is not (d,).
        """
        if not is_vector(category_or_vector):
            return self[category_or_vector]
        vector = np.asarray(category_or_vector, dtype=np.float32)
        shape = self.vectors.shape[1:]
        if vector.shape != shape:
            raise ValueError(
                f"A vector to compare with {self._title}) must have shape {shape}; got {vector.shape}."
            )
        return vector

    def similarity(self, a: Any, b: Any) -> float:
        """Return the cosine of the angle between two categories, two vectors, or one of each.

        If the space has reliability, the cosine is multiplied by the square root of the reliability of
        each category, as in `EmbeddingSpace.nearest`. The cosine of the vectors alone is
        ``similarity(space[a], space[b])``.

        Parameters
        ----------
        a, b : hashable, or array-like of shape (d,)

        Examples
        --------
        >>> from tabemb.spaces import EmbeddingSpace
        >>> space = EmbeddingSpace([[3, 4], [4, 3], [-3, -4]], ["a", "b", "c"])
        >>> round(space.similarity("a", "b"), 2), round(space.similarity("a", "c"), 2)
        (0.96, -1.0)
        """
        cosine = float(self._direction(a) @ self._direction(b))
        return min(max(cosine, -1.0), 1.0)

    def _direction(self, category_or_vector: Any) -> np.ndarray:
        """Return the row of `directions` of a category, or a given vector scaled to length one."""
        unit = to_unit_length(self.as_vector(category_or_vector))
        if self.reliability is None or is_vector(category_or_vector):
            return unit
        direction: np.ndarray = unit * np.sqrt(self.reliability[self.position(category_or_vector)])
        return direction

    def normalized(self) -> Self:
        """Return the same categories with vectors scaled to length one; vectors of zeros stay zero.

        Examples
        --------
        >>> from tabemb.spaces import EmbeddingSpace
        >>> EmbeddingSpace([[3, 4], [0, 0]], ["a", "b"]).normalized().vectors
        array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
        """
        parts = self.categories, self.counts, self.name, self.reliability
        return type(self)(self.unit_vectors, *parts)

    def subset(self, categories: Iterable[Hashable] | int) -> Self:
        """Return the space of the given categories only.

        Parameters
        ----------
        categories : sequence of hashables, or int
            The categories in their new order; an int keeps that many of the most frequent.

        Raises
        ------
        KeyError
            If a category is unknown; the message names close spellings.
        ValueError
            If an int is given and the space has no counts.

        Examples
        --------
        >>> from tabemb.spaces import EmbeddingSpace
        >>> cities = ["oslo", "bergen", "cairo"]
        >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], cities, counts=[50, 20, 90])
        >>> space.subset(2).categories.tolist()
        ['cairo', 'oslo']
        """
        if not isinstance(categories, int):
            return self._take(self.positions(categories))
        if self.counts is None:
            raise ValueError(
                f"categories can be a number only where the space has counts; {self._title}) has none, "
                f"so list the categories in place of {categories}."
            )
        return self._take(self._most_frequent_first()[:categories])

    def _take(self, positions: np.ndarray) -> Self:
        counts = None if self.counts is None else self.counts[positions]
        reliability = None if self.reliability is None else self.reliability[positions]
        parts = self.categories[positions], counts, self.name, reliability, self.ancestry
        return type(self)(self.vectors[positions], *parts)

    def _most_frequent_first(self) -> np.ndarray:
        """Return all positions by decreasing count, or in the order of the space without counts."""
        if self.counts is None:
            return np.arange(len(self))
        return np.argsort(-self.counts, kind="stable")

    def _position_or_minus_one(self, category: Any) -> int:
        if is_missing(category):
            # categories are unique, so at most one is missing
            return int(np.append(np.flatnonzero(self.categories.isna()), -1)[0])
        # tupleize_cols: a tuple is a category here, not the key of several index levels
        is_object = self.categories.dtype == object
        alone = as_objects([category])
        sought = pd.Index(alone, dtype=object, tupleize_cols=False) if is_object else _index(alone)
        return int(self.categories.get_indexer(sought)[0])

    def _close_spellings(self, category: Hashable) -> str:
        """Return a hint for the end of an error message; empty if no category has a similar spelling."""
        candidates = self.categories[self._most_frequent_first()[:MAX_SPELLINGS]]
        by_text = {str(candidate).casefold(): candidate for candidate in candidates}
        wanted = str(category).casefold()
        close = difflib.get_close_matches(wanted, by_text, n=3)
        close += [t for t in by_text if wanted and t.startswith(wanted) and t not in close]
        names = " or ".join(repr(by_text[text]) for text in close[:3])
        return f" (did you mean {names}?)" if names else ""


def to_unit_length(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors of shape (..., d) to length one; vectors of zeros stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = vectors / np.where(lengths == 0, 1, lengths)
    return scaled


def is_vector(category_or_vector: Any) -> bool:
    """Return whether an argument that may be a category or a vector is a vector."""
    # a list has no hash, so it cannot be a category; a tuple can
    return isinstance(category_or_vector, np.ndarray | list)


def is_missing(category: Any) -> bool:
    """Return whether a category is None, NaN or NaT."""
    return bool(pd.api.types.is_scalar(category) and pd.isna(category))


def as_index(categories: Any, unique: bool = True) -> pd.Index:
    """Return categories in any container as an index without a name.

    Raises
    ------
    TypeError
        If `categories` is a single string.
    ValueError
        If a category repeats, and all must be unique.
    """
    if isinstance(categories, str):
        raise TypeError(f"categories must be a sequence of categories; got the text {categories!r}.")
    if np.ma.is_masked(categories):
        categories = categories.tolist()  # None where masked
    if isinstance(categories, pa.Array | pa.ChunkedArray):
        categories = categories.to_pylist()
    elif not isinstance(categories, pd.Index | pd.Series | np.ndarray):
        categories = list(categories)
    index = _index(categories)
    if isinstance(index, pd.CategoricalIndex):
        # only the values count here, not the codes behind them
        index = index.astype(index.categories.dtype)
    if unique and not _is_unique(index):
        repeated = index[index.duplicated()][0]
        raise ValueError(f"categories must be unique; {repeated!r} occurs more than once.")
    return index


def _index(categories: Any) -> pd.Index:
    try:
        index: pd.Index = pd.Index(categories, tupleize_cols=False, name=None)
    except UnicodeEncodeError:  # pandas' text cannot store a lone surrogate
        index = pd.Index(as_objects(categories), dtype=object, tupleize_cols=False)
    return index


def _is_unique(index: pd.Index) -> bool:
    try:
        if len(index):  # pandas does not hash a single value, nor lists in Arrow
            hash(index[0])
        return index.is_unique
    except (TypeError, pa.ArrowException):
        unhashable = next(category for category in index if not isinstance(category, Hashable))
        raise TypeError(
            f"categories must be hashable, such as text, numbers or tuples; got {unhashable!r:.60}."
        ) from None


def checked_counts(counts: Any, categories: pd.Index) -> np.ndarray:
    """Return counts as a read-only array with one number of at least zero for each category."""
    checked = np.array(_filled(counts))
    if checked.shape != categories.shape:
        raise ValueError(
            f"counts must have shape {categories.shape}, one for each category; got {checked.shape}."
        )
    wrong = np.flatnonzero(~(checked >= 0))  # also where NaN
    if len(wrong):
        category, count = categories[wrong[0]], checked[wrong[0]]
        raise ValueError(f"counts must not be negative or missing; {category!r} has {count}.")
    checked.setflags(write=False)
    return checked


def _filled(values: Any) -> Any:
    """Return numbers with NaN in place of masked cells, which the checks then refuse."""
    return np.ma.filled(values.astype(float), np.nan) if np.ma.is_masked(values) else values


def checked_reliability(reliability: Any, categories: pd.Index) -> np.ndarray:
    """Return reliabilities as a read-only array with one number from 0 to 1 for each category."""
    checked = np.array(reliability, dtype=np.float64)
    if checked.shape != categories.shape:
        raise ValueError(
            f"reliability must have shape {categories.shape}, one number for each category; "
            f"got {checked.shape}."
        )
    wrong = np.flatnonzero(~((checked >= 0) & (checked <= 1)))  # also where NaN
    if len(wrong):
        category, value = categories[wrong[0]], checked[wrong[0]]
        raise ValueError(f"reliability must be from 0 to 1; {category!r} has {value}.")
    checked.setflags(write=False)
    return checked


def _checked_vectors(vectors: Any, categories: pd.Index) -> np.ndarray:
    checked = np.array(_filled(vectors), dtype=np.float32)
    if checked.ndim != 2 or checked.shape[1] == 0:
        raise ValueError(
            f"vectors must have shape (n_levels, d) with d of at least 1; got {checked.shape}."
        )
    if len(checked) != len(categories):
        raise ValueError(
            "vectors and categories must have the same length; "
            f"got {len(checked)} and {len(categories)}."
        )
    wrong = np.flatnonzero(~np.isfinite(checked).all(axis=1))
    if len(wrong):
        category, vector = categories[wrong[0]], checked[wrong[0]]
        raise ValueError(f"vectors must be finite; the vector of {category!r} is {vector}.")
    checked.setflags(write=False)  # unit_vectors is cached, and would go stale if a vector changed
    return checked
