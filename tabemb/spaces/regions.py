"""Regions of a map and the word for each, such as "Terrier" where most breeds nearby are terriers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.stats import binom

from tabemb.forks import one_thread_after_fork

N_REGIONS = (4, 16, 64, 256)
"""Regions of each level, from the whole map to a close look."""
MIN_SIZE = 8
"""Fewest categories per region of a level, on average."""
MIN_SHARE = 2 / 3
"""Smallest share of a region's categories that have its word."""
MIN_ODDS_RATIO = 4.0
"""How many times the odds of the word among all categories its odds in the region must be."""
MOST_CHANCE = 0.01
"""Largest probability that any word of a level has so large a share by chance."""
WORD = r"[^\W\d_]{3,}"
"""Three letters or more; digits of ids are no words."""
MAX_EXACT = 10_000
"""Most categories for k-means that looks at all of them in each step."""


class Classes(NamedTuple):
    """A column that describes the categories."""

    codes: np.ndarray
    """Position in ``levels`` of each category's class, (n,); -1 if missing."""
    levels: Sequence[str]


@dataclass(frozen=True)
class Region:
    """A part of a map that one word describes."""

    text: str
    row: int
    """The category that marks its place: the most frequent one with the word near the middle."""
    radius: float
    """Root of the mean squared distance from the middle, in units of the coordinates."""


@one_thread_after_fork()
def regions(
    xy: np.ndarray,
    texts: Sequence[str],
    classes: Sequence[Classes],
    counts: np.ndarray | None,
) -> list[Region]:
    """Return the regions of a map that a word describes, the largest first.

    Regions come from k-means on the coordinates, at several numbers of clusters. The word of a region
    is one that two thirds of its categories have or more, with odds at least four times those among all
    categories, which chance alone would hardly bring about. Of several words it is the one with the
    largest product of share and log odds ratio. A region without such a word is left out, so a map of
    ids or of noise has none.

    Parameters
    ----------
    xy : ndarray of shape (n, 2)
    texts : sequence of n str
        Names of the categories; their words of three letters or more are tried.
    classes : sequence of Classes
        Columns that describe the categories; their levels are tried too.
    counts : ndarray of shape (n,), or None
    """
    if len(xy) < N_REGIONS[0] * MIN_SIZE:
        return []
    words, has_word = _words(texts, classes)
    if not words:
        return []
    described = [
        _region(xy, np.flatnonzero(labels == label), has_word[:, [word]], words[word], counts)
        for labels in _levels(xy)
        for label, word in _described(labels, has_word)
    ]
    return sorted(described, key=lambda region: -region.radius)


def _words(texts: Sequence[str], classes: Sequence[Classes]) -> tuple[list[str], sparse.csc_matrix]:
    """Return all words, and which category has which, (n, n_words)."""
    from sklearn.feature_extraction.text import CountVectorizer  # takes long to import

    counter = CountVectorizer(binary=True, lowercase=False, token_pattern=WORD)
    levels = [level for column in classes for level in column.levels]
    has_level = [_one_hot(column) for column in classes]
    try:
        has_word = counter.fit_transform(texts)
    except ValueError:  # no text has a word
        names, has_word = [], sparse.csr_matrix((len(texts), 0))
    else:
        names = counter.get_feature_names_out().tolist()
    return [*names, *levels], sparse.csc_matrix(sparse.hstack([has_word, *has_level]))


def _one_hot(column: Classes) -> sparse.csr_matrix:
    known = np.flatnonzero(column.codes >= 0)
    shape = len(column.codes), len(column.levels)
    return sparse.csr_matrix((np.ones(len(known)), (known, column.codes[known])), shape)


def _levels(xy: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the cluster of each category, (n,), for each number of regions that is not too large."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    k_means = KMeans if len(xy) <= MAX_EXACT else MiniBatchKMeans
    n_places = len(np.unique(xy, axis=0))
    for n_regions in N_REGIONS:
        if n_regions <= min(len(xy) / MIN_SIZE, n_places):
            yield k_means(n_regions, n_init=1, random_state=0).fit_predict(xy)


def _described(labels: np.ndarray, has_word: sparse.csc_matrix) -> Iterator[tuple[int, int]]:
    """Yield the clusters that a word describes, with the number of the word."""
    sizes, of_all = np.bincount(labels), np.asarray(has_word.sum(axis=0)).ravel()
    in_cluster = sparse.csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))))
    counts = sparse.coo_matrix(in_cluster @ has_word)
    size, of_word = sizes[counts.row], of_all[counts.col]
    share = counts.data / size
    ratio = _odds(counts.data, size) / _odds(of_word, len(labels))
    chance = counts.nnz * binom.sf(counts.data - 1, size, of_word / len(labels))
    fits = (share >= MIN_SHARE) & (ratio >= MIN_ODDS_RATIO) & (chance <= MOST_CHANCE)
    clusters, words = counts.row[fits], counts.col[fits]
    score = (share * np.log(ratio))[fits]
    best_first = np.argsort(-score, kind="stable")
    described, first = np.unique(clusters[best_first], return_index=True)
    yield from zip(described.tolist(), words[best_first][first].tolist())


def _odds(n_with: np.ndarray, n: np.ndarray | int) -> np.ndarray:
    """Return the odds of a word; a half more on both sides keeps them finite."""
    return (n_with + 0.5) / (n - n_with + 0.5)


def _region(
    xy: np.ndarray, rows: np.ndarray, has_word: sparse.csc_matrix, text: str, counts: np.ndarray | None
) -> Region:
    places = xy[rows]
    squares = np.square(places - places.mean(axis=0)).sum(axis=1)
    with_word = np.isin(rows, has_word.indices)
    near = with_word & (squares <= np.median(squares[with_word]))
    order = squares if counts is None else -counts[rows]
    row = rows[near][np.argmin(order[near])]
    return Region(text, int(row), float(np.sqrt(squares.mean())))
