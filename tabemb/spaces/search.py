"""Exact search in a space: metrics, and the nearest of one or many categories in bounded memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from tabemb.forks import one_thread_after_fork
from tabemb.progress import progress
from tabemb.spaces.vectors import CategoryVectors, is_vector, to_unit_length

BLOCK = 2**23
"""Maximum number of scores in memory at once: 32 MB of float32."""
DOUBTFUL = 0.2
"""Reliability below which a category's neighbours are mostly chance."""

T = TypeVar("T")


@dataclass(frozen=True)
class Metric:
    """A comparison of vectors.

    Attributes
    ----------
    scores : callable
        Function from vectors of shapes (m, d) and (n, d) to scores of shape (m, n).
    column : str
        Name of the scores in a result: "similarity" or "distance".
    sign : int
        -1 if the largest score is the nearest, 1 if the smallest is.
    unit : bool, default=False
        Whether the scores compare vectors scaled to length one.
    """

    scores: Callable[[np.ndarray, np.ndarray], np.ndarray]
    column: str
    sign: int
    unit: bool = False

    def vectors_of(self, space: CategoryVectors) -> np.ndarray:
        """Return the vectors of a space as this metric compares them, (n_levels, d)."""
        return space.directions if self.unit else space.vectors

    def prepared(self, vectors: np.ndarray) -> np.ndarray:
        """Return other vectors, (..., d), as this metric compares them."""
        return to_unit_length(vectors) if self.unit else vectors


def _dot(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    products: np.ndarray = queries @ vectors.T
    return products


def _cosine(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    cosines: np.ndarray = np.clip(_dot(queries, vectors), -1, 1)
    return cosines


METRICS = {
    "cosine": Metric(_cosine, "similarity", -1, unit=True),
    # cdist subtracts vectors; in float32, the expanded square loses all digits for close vectors
    "euclidean": Metric(cdist, "distance", 1),
    "dot": Metric(_dot, "similarity", -1),
}


def choose(argument: str, name: str, choices: Mapping[str, T]) -> T:
    """Return the choice of this name, or raise a ValueError that lists the names."""
    if name not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, choices))}; got {name!r}.")
    return choices[name]


def check_k(k: int) -> None:
    """Raise a ValueError unless `k` is a whole number of at least one."""
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be an integer of at least 1; got {k!r}.")


def trusted(space: CategoryVectors, min_count: float, min_reliability: float) -> np.ndarray:
    """Return which categories have at least this count and this reliability, bool (n_levels,)."""
    kept = np.ones(len(space), dtype=bool)
    for name, values, least in (
        ("count", space.counts, min_count),
        ("reliability", space.reliability, min_reliability),
    ):
        most = 1 if name == "reliability" else np.inf
        is_number = isinstance(least, Real) and not isinstance(least, bool)
        if not (is_number and 0 <= least <= most):
            rule = "from 0 to 1" if most == 1 else "a number of at least 0"
            raise ValueError(f"min_{name} must be {rule}; got {least!r}.")
        if not least:
            continue
        if values is None:
            raise ValueError(
                f"min_{name} needs a space with a {name} of each category; {space!r} has none."
            )
        kept &= values >= least
    return kept


def warn_of_noise(space: CategoryVectors, *categories: Any) -> None:
    """Warn the caller of a public method about categories whose vectors are mostly noise."""
    if space.reliability is None:
        return
    positions = space.positions([one for one in categories if not is_vector(one)])
    for position in positions[space.reliability[positions] < DOUBTFUL].tolist():
        warnings.warn(
            f"The vector of {space.categories[position]!r} has reliability "
            f"{space.reliability[position]:.2f}: it is hardly different from the average, and its "
            "neighbours are mostly chance.",
            UserWarning,
            stacklevel=3,
        )


@one_thread_after_fork()
def nearest(
    space: CategoryVectors,
    category: Any,
    k: int,
    metric: str,
    min_count: float = 0,
    min_reliability: float = 0,
) -> pd.DataFrame:
    """Return the nearest of a category or a vector, as `EmbeddingSpace.nearest` describes."""
    measure = choose("metric", metric, METRICS)
    vector, position = query(space, category)
    kept = trusted(space, min_count, min_reliability)
    if position >= 0:
        kept[position] = False
    vector = measure.prepared(vector) if position < 0 else measure.vectors_of(space)[position]
    return _ranked(space, vector, measure, k, np.flatnonzero(kept))


@one_thread_after_fork()
def analogy(space: CategoryVectors, a: Any, b: Any, c: Any, k: int) -> pd.DataFrame:
    """Return the nearest to a - b + c, as `EmbeddingSpace.analogy` describes."""
    positions = [space.position(category) for category in (a, b, c)]
    first, second, third = space.unit_vectors[positions]
    vector = to_unit_length(first - second + third)
    candidates = np.delete(np.arange(len(space)), positions)
    return _ranked(space, vector, METRICS["cosine"], k, candidates)


def neighbors(
    space: CategoryVectors, positions: np.ndarray, k: int, metric: str, kept: np.ndarray
) -> pd.DataFrame:
    """Return the nearest of each category at `positions`, as `EmbeddingSpace.neighbors` describes.

    Only categories in the mask `kept`, (n_levels,), can be neighbours.
    """
    measure = choose("metric", metric, METRICS)
    check_k(k)
    vectors, candidates = measure.vectors_of(space), np.flatnonzero(kept)
    nearest_positions, scores = k_nearest(vectors, positions, k, measure, candidates)
    return pairs(space, positions, nearest_positions, scores, measure.column)


def query(space: CategoryVectors, category_or_vector: Any) -> tuple[np.ndarray, int]:
    """Return the query vector, (d,), and the position to leave out of the result, -1 for none."""
    if is_vector(category_or_vector):
        return space.as_vector(category_or_vector), -1
    position = space.position(category_or_vector)
    return space.vectors[position], position


@one_thread_after_fork()
def nearest_to(space: CategoryVectors, vectors: Any, k: int, metric: str) -> pd.DataFrame:
    """Return the nearest of each of many vectors, as `EmbeddingSpace.nearest_to` describes."""
    measure = choose("metric", metric, METRICS)
    check_k(k)
    labels, given = queries(space, vectors)
    nobody, everybody = np.full(len(given), -1), np.arange(len(space))
    compared = measure.prepared(given)
    nearest_positions, scores = k_nearest_to(
        compared, nobody, measure.vectors_of(space), everybody, k, measure
    )
    return found(space, labels, nearest_positions, scores, measure.column)


def queries(space: CategoryVectors, vectors: Any) -> tuple[pd.Index, np.ndarray]:
    """Return the labels of query vectors, and the vectors as float32 (m, d).

    Raises
    ------
    ValueError
        If the vectors are not finite, or differ in width from those of the space.
    """
    labels = vectors.index if isinstance(vectors, pd.DataFrame) else pd.RangeIndex(len(vectors))
    given = np.asarray(vectors, dtype=np.float32)
    width = space.vectors.shape[1]
    if given.ndim != 2 or given.shape[1] != width:
        raise ValueError(
            f"vectors must have shape (m, {width}), as those of {space!r}; got {given.shape}."
        )
    wrong = np.flatnonzero(~np.isfinite(given).all(axis=1))
    if len(wrong):
        raise ValueError(f"vectors must be finite; row {wrong[0]} holds {given[wrong[0]].tolist()}.")
    return labels, given


def found(
    space: CategoryVectors, labels: pd.Index, positions: np.ndarray, scores: np.ndarray, column: str
) -> pd.DataFrame:
    """Return one row for each of m vectors and its k nearest, given as (m, k); -1 stands for none."""
    rows, ranks = np.nonzero(positions >= 0)
    return pd.DataFrame(
        {
            labels.name if labels.name is not None else "vector": labels[rows],
            "rank": ranks + 1,
            "category": space.categories[positions[rows, ranks]],
            column: scores[rows, ranks],
        }
    )


def _ranked(
    space: CategoryVectors, vector: np.ndarray, measure: Metric, k: int, candidates: np.ndarray
) -> pd.DataFrame:
    check_k(k)
    scores = measure.scores(vector[None], measure.vectors_of(space))[0]  # (n_levels,)
    order = candidates[first_k(measure.sign * scores[candidates], k)]
    return listing(space, order, scores[order], measure.column)


def first_k(costs: np.ndarray, k: int) -> np.ndarray:
    """Return the positions of the k smallest costs in rising order, ties by position.

    Only the k smallest are sorted.
    """
    if k >= len(costs):
        return np.argsort(costs, kind="stable")
    # all costs up to the k-th smallest, so that ties are decided by the stable sort below
    reachable = np.flatnonzero(costs <= np.partition(costs, k - 1)[k - 1])
    return reachable[np.argsort(costs[reachable], kind="stable")[:k]]


def k_nearest(
    vectors: np.ndarray,
    positions: np.ndarray,
    k: int,
    metric: Metric,
    candidates: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Search the k nearest neighbours of the vectors at m positions, without the vectors themselves.

    Returns
    -------
    nearest_positions, scores : ndarray of shape (m, at most k)
        The nearest first; the position is -1 if there are fewer other candidates.
    """
    candidates = np.arange(len(vectors)) if candidates is None else candidates
    return k_nearest_to(vectors[positions], positions, vectors, candidates, k, metric)


@one_thread_after_fork()
def k_nearest_to(
    queries: np.ndarray,
    excluded: np.ndarray,
    vectors: np.ndarray,
    candidates: np.ndarray,
    k: int,
    metric: Metric,
) -> tuple[np.ndarray, np.ndarray]:
    """Search the k nearest of m queries, (m, d), among the vectors at `candidates`, sorted positions.

    `excluded`, (m,), contains the position that each query leaves out, -1 for none. The results are
    those of `k_nearest`.
    """
    k = min(k, len(candidates))
    nearest_positions = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    compared = vectors if len(candidates) == len(vectors) else vectors[candidates]
    size = max(BLOCK // max(len(candidates), 1), 1)  # rows of a block of scores
    with progress(len(queries)) as bar:
        for start in range(0, len(queries), size):
            block = slice(start, start + size)
            block_scores = metric.scores(queries[block], compared)  # (at most size, n_candidates)
            columns = np.searchsorted(candidates, excluded[block])
            rows = np.flatnonzero(np.append(candidates, -2)[columns] == excluded[block])
            block_scores[rows, columns[rows]] = metric.sign * np.inf
            for i, row in enumerate(block_scores, start):
                first = first_k(metric.sign * row, k)
                scores[i] = row[first]
                nearest_positions[i] = np.where(candidates[first] == excluded[i], -1, candidates[first])
            bar.update(len(block_scores))
    return nearest_positions, scores


def listing(
    space: CategoryVectors, positions: np.ndarray, scores: np.ndarray, column: str
) -> pd.DataFrame:
    """Return the categories at some positions with their scores, counts and reliability, where known."""
    table = pd.DataFrame({"category": space.categories[positions], column: scores})
    if space.counts is not None:
        table["count"] = space.counts[positions]
    if space.reliability is not None:
        table["reliability"] = space.reliability[positions]
    return table


def pairs(
    space: CategoryVectors,
    positions: np.ndarray,
    nearest_positions: np.ndarray,
    scores: np.ndarray,
    column: str,
) -> pd.DataFrame:
    """Return one row for each of m categories and its k nearest, given as (m, k); -1 stands for none."""
    known = nearest_positions >= 0
    rows, ranks = np.nonzero(known)
    table = pd.DataFrame(
        {
            "category": space.categories[positions[rows]],
            "rank": ranks + 1,
            "neighbor": space.categories[nearest_positions[known]],
            column: scores[known],
        }
    )
    if space.reliability is not None:
        table["reliability"] = space.reliability[nearest_positions[known]]
    return table
