"""Measures of how far the vectors of a space can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from tabemb.spaces.search import METRICS, check_k, k_nearest
from tabemb.spaces.vectors import CategoryVectors, to_unit_length

FEWEST_ROWS = 10
"""Minimum number of rows of a category that enters the expected overlap."""
MOST_COMPARED, MOST_QUERIES = 5000, 300
"""Maximum number of categories in the expected overlap, and of those whose neighbours are compared."""
NOISE_OF_HALVES = 2.0
"""Noise variance of a model fitted on half of the rows, relative to a model fitted on all rows."""


class Stability(NamedTuple):
    """Overlap of the neighbours of several spaces, from 0 to 1, and the overlap expected by chance."""

    overlap: float
    chance: float
    n_categories: int


class Agreement(NamedTuple):
    """Rank correlation with given similarities, from -1 to 1, and the number of pairs it is based on."""

    spearman: float
    n_pairs: int


def stability(spaces: Sequence[CategoryVectors], k: int = 10) -> Stability:
    """Measure how many nearest neighbours stay the same in another training, such as with a new seed.

    Single neighbours are worth reading only if most of them stay (Antoniak & Mimno 2018,
    https://aclanthology.org/Q18-1008/).

    Parameters
    ----------
    spaces : sequence of EmbeddingSpace
        At least two; the categories common to all of them are compared.
    k : int, default=10
        Number of neighbours to compare for each category, as `EmbeddingSpace.nearest` lists them.

    Returns
    -------
    Stability
        ``overlap``: share of the k nearest that two spaces have in common, a mean over categories and
        pairs of spaces; ``chance``: the same for random neighbours; ``n_categories``: the number of
        categories compared.

    Raises
    ------
    ValueError
        If there are fewer than two spaces, or at most `k` shared categories.

    Examples
    --------
    >>> from tabemb.spaces import EmbeddingSpace
    >>> space = EmbeddingSpace([[1, 0], [2, 1], [1, 2], [0, 3]], ["a", "b", "c", "d"])
    >>> stability([space, space], k=1)
    Stability(overlap=1.0, chance=0.3333333333333333, n_categories=4)
    """
    check_k(k)
    if len(spaces) < 2:
        raise ValueError(f"spaces must hold at least two spaces; got {len(spaces)}.")
    shared = spaces[0].categories
    for space in spaces[1:]:
        shared = shared[space.categories.get_indexer(shared) >= 0]
    if len(shared) <= k:
        raise ValueError(
            f"k must be less than the number of categories shared by the spaces, {len(shared)}; got {k}."
        )
    neighbors = [_nearest(space, shared, k) for space in spaces]
    overlaps = [_overlap(first, second) for first, second in combinations(neighbors, 2)]
    return Stability(float(np.mean(overlaps)), k / (len(shared) - 1), len(shared))


def _nearest(space: CategoryVectors, categories: pd.Index, k: int) -> np.ndarray:
    vectors = space.directions[space.categories.get_indexer(categories)]
    return k_nearest(vectors, np.arange(len(vectors)), k, METRICS["cosine"])[0]


def expected_overlap(space: CategoryVectors, k: int = 5) -> float | None:
    """Return the expected overlap of the k nearest in two models fitted on disjoint halves of the rows.

    Noise is added to the vectors twice, with the variance that their reliability implies, and the
    nearest categories are compared. Only categories with ten rows or more are used, the most frequent
    if there are many.

    Parameters
    ----------
    space : EmbeddingSpace
        A space with reliability.
    k : int, default=5

    Returns
    -------
    float or None
        None if the space has no reliability or fewer than k + 2 such categories.

    Examples
    --------
    >>> from tabemb.spaces import EmbeddingSpace
    >>> vectors, names = np.eye(8) + np.eye(8)[::-1] / 2, list("abcdefgh")
    >>> sure = EmbeddingSpace(vectors, names, reliability=np.ones(8))
    >>> unsure = EmbeddingSpace(vectors, names, reliability=np.full(8, 0.1))
    >>> expected_overlap(sure, k=1), expected_overlap(unsure, k=1) < 0.5
    (1.0, True)
    """
    if space.reliability is None:
        return None
    counts = np.full(len(space), np.inf) if space.counts is None else space.counts
    chosen = np.argsort(-counts, kind="stable")[:MOST_COMPARED]
    chosen = chosen[(counts[chosen] >= FEWEST_ROWS) & (space.reliability[chosen] > 0)]
    if len(chosen) < k + 2:
        return None
    vectors, reliability = space.vectors[chosen], space.reliability[chosen]
    noise = np.square(vectors).sum(1) * (1 - reliability) / reliability
    deviation = np.sqrt(NOISE_OF_HALVES * noise / vectors.shape[1])[:, None]
    generator = np.random.default_rng(0)
    queries = np.sort(generator.permutation(len(chosen))[:MOST_QUERIES])
    first, second = (
        _nearest_directions(
            vectors + deviation * generator.standard_normal(vectors.shape), reliability, queries, k
        )
        for _ in range(2)
    )
    return _overlap(first, second)


def overlap_in_words(space: CategoryVectors) -> str:
    """Return the expected overlap as a sentence for a caption; empty if it is not known."""
    overlap = expected_overlap(space)
    if overlap is None:
        return ""
    return f"Of five neighbours, a model of other rows would share {overlap:.0%}."


def _nearest_directions(
    vectors: np.ndarray, reliability: np.ndarray, queries: np.ndarray, k: int
) -> np.ndarray:
    directions = to_unit_length(vectors) * np.sqrt(reliability)[:, None]
    return k_nearest(directions, queries, k, METRICS["cosine"])[0]


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of equal entries of the rows, (n, k), in any order; no row repeats an entry."""
    both = np.sort(np.hstack([first, second]), axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum() / first.size)


def agreement(
    space: CategoryVectors, similarities: pd.DataFrame | Iterable[tuple[Any, Any, float]]
) -> Agreement:
    """Compare the similarities of pairs of categories in a space with given similarities.

    The similarities of a space are those of `EmbeddingSpace.similarity`: cosines, times the square root
    of the reliability of both categories if the space has it.

    Parameters
    ----------
    space : EmbeddingSpace
    similarities : DataFrame, or sequence of (category, category, similarity)
        A symmetric square frame with categories as index and columns, or single pairs. Pairs with a
        category that the space lacks, pairs without a similarity and the diagonal are left out.

    Returns
    -------
    Agreement
        ``spearman``: Spearman's rank correlation of the cosines and the given similarities;
        ``n_pairs``: the number of pairs compared.

    Raises
    ------
    ValueError
        If a frame is not square and symmetric, fewer than two pairs are left, or all of them are equally
        similar.

    Examples
    --------
    >>> from tabemb.spaces import EmbeddingSpace
    >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
    >>> agreement(space, [("oslo", "bergen", 0.9), ("oslo", "cairo", 0.1), ("bergen", "cairo", 0.2)])
    Agreement(spearman=1.0, n_pairs=3)
    """
    rows = _upper_pairs(similarities) if isinstance(similarities, pd.DataFrame) else list(similarities)
    first, second, given = zip(*rows) if rows else ((), (), ())
    a, b = (
        space.categories.get_indexer(pd.Index(side, tupleize_cols=False)) for side in (first, second)
    )
    scores = np.asarray(given, dtype=float)
    used = (a >= 0) & (b >= 0) & (a != b) & ~np.isnan(scores)
    if used.sum() < 2:
        raise ValueError(
            f"similarities must hold at least two pairs of categories of {space!r}; got {used.sum()}."
        )
    cosines = np.einsum("ij,ij->i", space.directions[a[used]], space.directions[b[used]])
    if np.ptp(scores[used]) == 0 or np.ptp(cosines) == 0:
        raise ValueError(
            "similarities and cosines must both differ between pairs; all pairs are equally similar."
        )
    return Agreement(float(spearmanr(cosines, scores[used]).statistic), int(used.sum()))


def _upper_pairs(frame: pd.DataFrame) -> list[tuple[Any, Any, float]]:
    """Return the pairs above the diagonal of a symmetric frame."""
    if not frame.index.equals(frame.columns) or not np.allclose(frame, frame.T, equal_nan=True):
        raise ValueError(
            "similarities must be a symmetric frame with the same categories as index and columns; "
            "this one is not."
        )
    rows, columns = np.triu_indices(len(frame), k=1)
    return list(zip(frame.index[rows], frame.index[columns], frame.to_numpy(dtype=float)[rows, columns]))


def lengths_by_count(space: CategoryVectors) -> pd.DataFrame:
    """Return median vector lengths by bins of count, which show how much rare categories are shrunk.

    Parameters
    ----------
    space : EmbeddingSpace
        A space with counts.

    Returns
    -------
    pandas.DataFrame
        One row for each non-empty bin, the rarest first: `from` and `to` (``from <= count < to``),
        `n_categories` and `median_length`.

    Raises
    ------
    ValueError
        If the space has no counts.

    Examples
    --------
    >>> from tabemb.spaces import EmbeddingSpace
    >>> space = EmbeddingSpace([[0, 1], [0, 3], [6, 8]], ["a", "b", "c"], counts=[1, 2, 50])
    >>> lengths_by_count(space)
       from   to  n_categories  median_length
    0     1    3             2            2.0
    1    30  100             1           10.0
    """
    if space.counts is None:
        raise ValueError(f"space must have counts; {space!r} has none.")
    # 0, 1, 3, 10, 30, ...: nearly even steps of the logarithm
    edges = [0, *(step * 10**power for power in range(19) for step in (1, 3))]
    bins = np.searchsorted(edges, space.counts, side="right") - 1
    lengths = pd.Series(np.linalg.norm(space.vectors, axis=1, keepdims=False)).groupby(bins)
    table = pd.DataFrame({"n_categories": lengths.size(), "median_length": lengths.median()})
    table.insert(0, "from", [edges[i] for i in table.index])
    table.insert(1, "to", [edges[i + 1] for i in table.index])
    return table.reset_index(drop=True)
