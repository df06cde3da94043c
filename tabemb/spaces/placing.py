"""Vectors of new categories, from those of the known ones that are spelt alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from tabemb.spaces.vectors import CategoryVectors, as_index
from tabemb.spelling import MOST_TRIED, N_NEIGHBOURS, Spellings, weights_of


def by_text(space: CategoryVectors, categories: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors, counts and reliabilities, as `EmbeddingSpace.by_text` describes them."""
    labels = as_index(categories).tolist()
    for label in labels:
        if not isinstance(label, str):
            kind = type(label).__name__
            raise TypeError(f"by_text needs categories that are texts; {label!r} is an {kind}.")
    texts = [i for i, category in enumerate(space) if isinstance(category, str)]
    if len(texts) < 2:
        raise TypeError("by_text compares texts, but this space has no texts among its categories.")
    rows = np.array(texts)
    spellings = Spellings([space.categories[i] for i in texts])
    near, products = spellings.nearest(labels, N_NEIGHBOURS)
    vectors = np.einsum("nk,nkd->nd", weights_of(products), space.vectors[rows[near]])
    explained = _explained(space, rows, spellings)
    reliability, counts = np.full(len(labels), explained), np.zeros(len(labels))
    known = np.array([space._position_or_minus_one(label) for label in labels], dtype=np.int64)
    is_known = known >= 0
    vectors[is_known] = space.vectors[known[is_known]]
    if space.counts is not None:
        counts[is_known] = space.counts[known[is_known]]
    reliability[is_known] = 1.0 if space.reliability is None else space.reliability[known[is_known]]
    return vectors, counts, reliability


def _explained(space: CategoryVectors, rows: np.ndarray, spellings: Spellings) -> float:
    """Return the share of the variance of known vectors that the others predict, 0 to 1."""
    tried = np.random.default_rng(0).permutation(len(rows))[:MOST_TRIED]
    labels = [space.categories[i] for i in rows[tried]]
    near, products = spellings.nearest(labels, N_NEIGHBOURS, but=tried)
    predicted = np.einsum("nk,nkd->nd", weights_of(products), space.vectors[rows[near]])
    actual = space.vectors[rows[tried]]
    total = float(np.square(actual - space.vectors[rows].mean(axis=0)).sum())
    rest = float(np.square(actual - predicted).sum())
    return float(np.clip(1 - rest / total, 0, 1)) if total else 0.0
