"""Similar levels: how well a category's effect is predicted by those of the ten most similar ones.

This is a kernel smoother over categories (Nadaraya 1964). Its quality is measured before it is used:
each known category is predicted from the others.
"""

from __future__ import annotations

import numpy as np

from tabemb.data.shrinkage import LevelSums
from tabemb.likeness.nearest import MOST_TRIED, Likeness

MIN_GAIN = 0.05
"""Least share of the variance between categories that likeness must explain, out of sample."""


def likeness_gain(
    labels: np.ndarray,
    sums: LevelSums,
    strength: float,
    alike: Likeness,
    generator: np.random.Generator,
) -> tuple[float, float] | None:
    """Return the slope of levels' means on the means of similar levels, and the share explained.

    Parameters
    ----------
    labels : ndarray of shape (n_levels,)
        Position of each level among the known labels, ascending; negative for levels without a label,
        such as missing values.
    sums : LevelSums
    strength : float
        Strength of the shrinkage to the mean of all rows.
    alike : Likeness
    generator : Generator
        Draws the levels that are predicted, if there are very many.

    Returns
    -------
    tuple of float, or None
        None if less than ``MIN_GAIN`` is explained.
    """
    effects = sums.sums / (sums.counts + strength)[:, None]
    has_rows = np.flatnonzero((labels >= 0) & (sums.counts > 0))
    tried = generator.permutation(has_rows)[:MOST_TRIED]
    tried = tried[alike.known[labels[tried]]]
    if not len(tried):
        return None
    near, weights = _nearest(labels, alike, tried)
    predicted = np.einsum("nk,nkr->nr", weights, effects[near])
    share, gain = explained(sums.sums[tried], sums.counts[tried], strength, predicted)
    return (share, gain) if gain >= MIN_GAIN else None


def explained(
    sums: np.ndarray, counts: np.ndarray, strength: float, predicted: np.ndarray
) -> tuple[float, float]:
    """Return the slope of levels' means on predictions, 0 to 1, and the share of variance explained.

    Levels are weighted by the reliability of their means.
    """
    means = sums / counts[:, None]
    trust = (counts / (counts + strength))[:, None]
    square = float((trust * predicted**2).sum())
    slope = float((trust * predicted * means).sum()) / square if square else 0.0
    share = float(np.clip(slope, 0, 1))
    rest, total = (float((trust * r**2).sum()) for r in (means - share * predicted, means))
    return share, 1 - rest / total if total else 0.0


def _nearest(labels: np.ndarray, alike: Likeness, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels most similar to these levels, and their weights."""
    near, weights = alike.nearest_others(labels[levels])
    places = np.minimum(np.searchsorted(labels, near), len(labels) - 1)
    return places, weights * (labels[places] == near)
