"""Recommendations from scores: the best items of each user, for a few users at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tabemb.progress import progress

MOST_SCORES = 2**22
"""Scores that are computed at a time."""


def blocks(n_users: int, n_items: int) -> Iterator[tuple[int, int]]:
    """Yield start and stop of blocks of users whose scores fit into memory; show progress.

    Without users, there is one empty block.

    Examples
    --------
    >>> list(blocks(3, 2**21))
    [(0, 2), (2, 3)]
    """
    size = max(1, MOST_SCORES // max(n_items, 1))
    with progress(n_users, unit=" users") as bar:
        for start in range(0, max(n_users, 1), size):
            stop = min(start + size, n_users)
            yield start, stop
            bar.update(stop - start)


def places_of(counts: np.ndarray) -> np.ndarray:
    """Return the position of each item if the most frequent comes first, int64 (n_items,)."""
    place = np.empty(len(counts), np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return place


def ranking(users: pd.Series, labels: pd.Index, items: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Return recommendations as a frame.

    Parameters
    ----------
    users : pandas.Series of length n
        With the name of their column.
    labels : pandas.Index of length n_items
        Labels of the items, with the name of their column.
    items, scores : ndarray of shape (n, k)
        As `top` returns them.

    Returns
    -------
    pandas.DataFrame
        The column of users, ``rank`` (from 1), the column of items and ``score``.
    """
    rows, ranks = np.nonzero(items >= 0)
    return pd.DataFrame(
        {
            users.name: users.iloc[rows].reset_index(drop=True),
            "rank": ranks + 1,
            labels.name: labels.take(items[rows, ranks]),
            "score": scores[rows, ranks],
        }
    )


def top(scores: np.ndarray, k: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of the k highest scores of each row, best first, and these scores.

    Parameters
    ----------
    scores : ndarray of shape (n, n_items)
        -inf where an item may not be recommended.
    k : int
    places : ndarray of int64 of shape (n_items,)
        Among items with equal scores, the one with the smaller place comes first.

    Returns
    -------
    items : ndarray of int64 of shape (n, k)
        -1 where a row has fewer items.
    scores : ndarray of shape (n, k)

    Examples
    --------
    >>> top(np.array([[1.0, 3.0, 3.0, -np.inf]]), 2, np.array([0, 2, 1, 3]))
    (array([[2, 1]]), array([[3., 3.]]))
    """
    n, n_items = scores.shape
    n_kept = min(k, n_items)
    items, best = np.full((n, k), -1), np.full((n, k), -np.inf)
    if n and n_items:
        smallest = np.partition(scores, n_items - n_kept, axis=1)[:, n_items - n_kept]
        rows, columns = np.nonzero((scores >= smallest[:, None]) & (scores > -np.inf))
        values = scores[rows, columns]
        order = np.lexsort((places[columns], -values, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = rank < n_kept
        items[rows[kept], rank[kept]] = columns[kept]
        best[rows[kept], rank[kept]] = values[kept]
    return items, best
