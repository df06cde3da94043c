"""Exact search: how two vectors are compared, and the nearest of many at once in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from tabemb.progress import progress

BLOCK = 2**23
"""Most similarities held at once: 32 MB of float32."""


@dataclass(frozen=True)
class Metric:
    """How vectors are compared: scores of (m, d) with (n, d) as (m, n), and sign -1 if the largest is nearest."""

    scores: Callable[[np.ndarray, np.ndarray], np.ndarray]
    column: str
    sign: int
    unit: bool = False
    """Whether the scores are of vectors scaled to length one."""


METRICS = {
    "cosine": Metric(
        lambda queries, vectors: np.clip(queries @ vectors.T, -1, 1), "similarity", -1, unit=True
    ),
    # true differences, not the expanded square: in float32 the latter loses all digits between close vectors
    "euclidean": Metric(cdist, "distance", 1),
    "dot": Metric(lambda queries, vectors: queries @ vectors.T, "similarity", -1),
}


def named(argument: str, name: str, choices: dict[str, Any]) -> Any:
    """Return the choice of this name."""
    if name not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, choices))}; got {name!r}")
    return choices[name]


def check_k(k: int) -> None:
    """Refuse what is no number of neighbours."""
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}")


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors, (..., d), to length one; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)


def first_k(costs: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k smallest costs in rising order, ties by position, without sorting all of them."""
    if k >= len(costs):
        return np.argsort(costs, kind="stable")
    reachable = np.flatnonzero(costs <= np.partition(costs, k - 1)[k - 1])
    return reachable[np.argsort(costs[reachable], kind="stable")[:k]]


def neighbors(
    vectors: np.ndarray, asked: np.ndarray, k: int, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest of the vectors at the positions `asked`, each without itself.

    Returns
    -------
    positions, scores : ndarray of shape (len(asked), k)
        The nearest first; k is smaller where there are not so many others.
    """
    k = max(min(k, len(vectors) - 1), 0)
    found = np.empty((len(asked), k), dtype=np.int64)
    scores = np.empty((len(asked), k), dtype=np.float32)
    size = max(BLOCK // max(len(vectors), 1), 1)
    with progress(len(asked)) as bar:
        for start in range(0, len(asked), size):
            block = asked[start : start + size]
            for row, own in enumerate(_scores_without_self(vectors, block, metric), start):
                found[row] = first_k(metric.sign * own, k)
                scores[row] = own[found[row]]
            bar.update(len(block))
    return found, scores


def _scores_without_self(vectors: np.ndarray, block: np.ndarray, metric: Metric) -> np.ndarray:
    scores = metric.scores(vectors[block], vectors)  # (len(block), n)
    scores[np.arange(len(block)), block] = metric.sign * np.inf
    return scores


def pairs(
    categories: pd.Index, asked: np.ndarray, found: np.ndarray, scores: np.ndarray, column: str
) -> pd.DataFrame:
    """List the (m, k) positions found as one row a pair; negative positions are left out."""
    there = found >= 0
    rows, ranks = np.nonzero(there)
    return pd.DataFrame(
        {
            "category": categories[asked[rows]],
            "rank": ranks + 1,
            "neighbor": categories[found[there]],
            column: scores[there],
        }
    )
