"""Figures that say how far the vectors of a space can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from tabemb.spaces.search import METRICS, check_k, neighbors
from tabemb.spaces.space import EmbeddingSpace


class Stability(NamedTuple):
    """Overlap of the neighbours of several spaces, from 0 to 1, and the overlap that chance would give."""

    overlap: float
    chance: float
    n_categories: int


class Agreement(NamedTuple):
    """Rank correlation with given similarities, from -1 to 1, and the number of pairs that it rests on."""

    spearman: float
    n_pairs: int


def stability(spaces: Sequence[EmbeddingSpace], k: int = 10) -> Stability:
    """Tell how many nearest neighbours stay when a space is learned again, such as with another seed.

    Single neighbours are worth reading only where most of them stay (Antoniak & Mimno 2018,
    https://aclanthology.org/Q18-1008/).

    Parameters
    ----------
    spaces : sequence of EmbeddingSpace
        Two or more; they are compared over the categories that all of them hold.
    k : int, default=10
        Neighbours by cosine of each category that are compared.

    Returns
    -------
    Stability
        ``overlap``: share of the k nearest that two spaces have in common, a mean over categories and pairs of spaces;
        ``chance``: the same for neighbours drawn at random; ``n_categories``: how many categories were compared.

    Raises
    ------
    ValueError
        If there are fewer than two spaces, or not more than `k` shared categories.

    Examples
    --------
    >>> space = EmbeddingSpace([[1, 0], [2, 1], [1, 2], [0, 3]], ["a", "b", "c", "d"])
    >>> stability([space, space], k=1)
    Stability(overlap=1.0, chance=0.3333333333333333, n_categories=4)
    """
    check_k(k)
    if len(spaces) < 2:
        raise ValueError(f"spaces must be two or more, got {len(spaces)}")
    shared = spaces[0].categories
    for space in spaces[1:]:
        shared = shared[space.categories.get_indexer(shared) >= 0]
    if len(shared) <= k:
        raise ValueError(
            f"the spaces share {len(shared)} categories; k={k} neighbours need more than {k}"
        )
    found = [_nearest(space, shared, k) for space in spaces]
    overlaps = [_overlap(one, other) for one, other in combinations(found, 2)]
    return Stability(float(np.mean(overlaps)), k / (len(shared) - 1), len(shared))


def _nearest(space: EmbeddingSpace, categories: pd.Index, k: int) -> np.ndarray:
    vectors = space.normalized().vectors[space.categories.get_indexer(categories)]
    return neighbors(vectors, np.arange(len(vectors)), k, METRICS["cosine"])[0]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Share of equal entries of each row, (n, k), in any order; no row repeats one."""
    both = np.sort(np.hstack([one, other]), axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum() / one.size)


def agreement(
    space: EmbeddingSpace, similarities: pd.DataFrame | Iterable[tuple[Any, Any, float]]
) -> Agreement:
    """Compare the cosines of pairs of categories with similarities known from elsewhere.

    Parameters
    ----------
    space : EmbeddingSpace
    similarities : DataFrame, or sequence of (category, category, similarity)
        A symmetric square frame with categories as index and columns, or single pairs. Pairs of categories that the
        space lacks, pairs without a similarity and the diagonal are left out.

    Returns
    -------
    Agreement
        ``spearman``: Spearman's rank correlation of cosine and similarity; ``n_pairs``: how many pairs were compared.

    Raises
    ------
    ValueError
        If a frame is not square and symmetric, fewer than two pairs are left, or all of them are equally similar.

    Examples
    --------
    >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
    >>> agreement(space, [("oslo", "bergen", 0.9), ("oslo", "cairo", 0.1), ("bergen", "cairo", 0.2)])
    Agreement(spearman=1.0, n_pairs=3)
    """
    given = _square_pairs(similarities) if isinstance(similarities, pd.DataFrame) else list(similarities)
    firsts, seconds, scores = zip(*given) if given else ((), (), ())
    a, b = (
        space.categories.get_indexer(pd.Index(side, tupleize_cols=False)) for side in (firsts, seconds)
    )
    used = (a >= 0) & (b >= 0) & (a != b) & ~np.isnan(np.asarray(scores, dtype=float))
    if used.sum() < 2:
        raise ValueError(
            f"similarities must be of two or more pairs of categories of {space!r}, got {used.sum()}"
        )
    unit_vectors = space.normalized().vectors
    cosines = np.einsum("ij,ij->i", unit_vectors[a[used]], unit_vectors[b[used]])
    scores = np.asarray(scores, dtype=float)[used]
    if np.ptp(scores) == 0 or np.ptp(cosines) == 0:
        raise ValueError("all pairs are equally similar, which leaves nothing to correlate")
    return Agreement(float(spearmanr(cosines, scores).statistic), int(used.sum()))


def _square_pairs(frame: pd.DataFrame) -> list[tuple[Any, Any, float]]:
    if not frame.index.equals(frame.columns) or not np.allclose(frame, frame.T, equal_nan=True):
        raise ValueError(
            "a frame of similarities must be symmetric, with the same categories as index and columns"
        )
    rows, columns = np.triu_indices(len(frame), k=1)
    return list(zip(frame.index[rows], frame.index[columns], frame.to_numpy(dtype=float)[rows, columns]))


def lengths_by_count(space: EmbeddingSpace) -> pd.DataFrame:
    """Tell how far the vectors of rare categories are shrunk: their lengths, by bins of count.

    Parameters
    ----------
    space : EmbeddingSpace
        With counts.

    Returns
    -------
    pandas.DataFrame
        One row a bin that holds categories, the rarest first: `from` and `to` (counts of at least and less than),
        `n_categories` and `median_length`.

    Raises
    ------
    ValueError
        If the space has no counts.

    Examples
    --------
    >>> space = EmbeddingSpace([[0, 1], [0, 3], [6, 8]], ["a", "b", "c"], counts=[1, 2, 50])
    >>> lengths_by_count(space)
       from   to  n_categories  median_length
    0     1    3             2            2.0
    1    30  100             1           10.0
    """
    if space.counts is None:
        raise ValueError(f"{space!r} has no counts")
    edges = [
        0,
        *(step * 10**power for power in range(19) for step in (1, 3)),
    ]  # nearly even steps of the logarithm
    bins = np.searchsorted(edges, space.counts, side="right") - 1
    lengths = pd.Series(np.linalg.norm(space.vectors, axis=1, keepdims=False)).groupby(bins)
    table = pd.DataFrame({"n_categories": lengths.size(), "median_length": lengths.median()})
    table.insert(0, "from", [edges[i] for i in table.index])
    table.insert(1, "to", [edges[i + 1] for i in table.index])
    return table.reset_index(drop=True)
