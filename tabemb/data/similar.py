"""Similar levels: what a level that is rare, or new, has in common with those that it resembles.

The text or the description of a category says which others it resembles. Its effect is predicted by
those of the ten most similar, a smoother over categories (Nadaraya 1964). How well that works is
measured before it is used: each known category is predicted from the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tabemb.data.shrinkage import LevelSums
from tabemb.likeness.nearest import MOST_TRIED, Likeness

MIN_GAIN = 0.05
"""Share of the variance between categories that their likeness must explain, out of sample."""
MOST_LEVELS = 10_000
"""Most levels that are shrunken to similar ones: to compare more with each other takes long."""


@dataclass
class SimilarLevels:
    """What the levels of one term resemble, and how their effects follow from it.

    Parameters
    ----------
    term : int
        Position of the term in the effects.
    share : float
        The slope of the levels' means on what similar levels predict, at most one.
    gain : float
        Share of the variance between levels that is explained so, out of sample.
    near : ndarray of shape (n_levels, n_near)
        Positions of the levels that each level resembles; (0, 0) where levels are not shrunken to them.
    weights : ndarray of shape (n_levels, n_near)
        Of sum ``share``, or zero where nothing is alike.
    strength : float
        Of the shrinkage of the similar levels themselves, to the mean of all rows.
    """

    term: int
    share: float
    gain: float
    near: np.ndarray
    weights: np.ndarray
    strength: float

    @property
    def leads(self) -> bool:
        """Whether the levels are shrunken to similar ones."""
        return len(self.near) > 0

    def leave(self) -> None:
        """Leave the levels shrunken to the mean of all rows."""
        self.near, self.weights = np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)

    def means(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the mean effect of the levels similar to each level, (n_levels, n_responses)."""
        if not self.leads:
            return np.zeros_like(sums)
        effects = sums / (counts + self.strength)[:, None]
        return np.asarray(np.einsum("nk,nkr->nr", self.weights, effects[self.near]))

    def means_of(
        self, levels: np.ndarray, folds: np.ndarray, sums: np.ndarray, counts: np.ndarray
    ) -> np.ndarray:
        """Return the same for the level of each row, without its fold, (n_rows, n_responses).

        Parameters
        ----------
        levels, folds : ndarray of shape (n_rows,)
        sums : ndarray of shape (n_folds, n_levels, n_responses)
        counts : ndarray of shape (n_folds, n_levels)
        """
        effects = sums / (counts + self.strength)[..., None]
        near = effects[folds[:, None], self.near[levels]]
        return np.asarray(np.einsum("nk,nkr->nr", self.weights[levels], near))


def similar_levels(
    term: int,
    labels: np.ndarray,
    sums: LevelSums,
    strength: float,
    alike: Likeness,
    generator: np.random.Generator,
) -> SimilarLevels | None:
    """Return what the levels of a term resemble; None where their effects hardly follow from it.

    Parameters
    ----------
    term : int
    labels, sums, strength, alike, generator
        As in `likeness_gain`.
    """
    found = likeness_gain(labels, sums, strength, alike, generator)
    if found is None:
        return None
    nothing = np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)
    similar = SimilarLevels(term, *found, *nothing, strength)
    if len(labels) <= MOST_LEVELS:
        kept = np.flatnonzero(labels >= 0)
        near, weights = _nearest(labels, alike, kept)
        similar.near = np.zeros((len(labels), near.shape[1]), np.int32)
        similar.weights = np.zeros(similar.near.shape, np.float32)
        similar.near[kept], similar.weights[kept] = near, similar.share * weights
    return similar


def likeness_gain(
    labels: np.ndarray,
    sums: LevelSums,
    strength: float,
    alike: Likeness,
    generator: np.random.Generator,
) -> tuple[float, float] | None:
    """Return the slope of the levels' means on those of similar ones, and the share explained.

    Parameters
    ----------
    labels : ndarray of shape (n_levels,)
        Position of each level among the labels that are compared, in rising order; negative for levels
        that are none, such as missing values.
    sums : LevelSums
    strength : float
        Of the shrinkage to the mean of all rows.
    alike : Likeness
    generator : Generator
        Draws the levels that are predicted, where there are very many.

    Returns
    -------
    tuple of float, or None
        None where less than ``MIN_GAIN`` is explained.
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

    Levels count by how well their means are known.
    """
    means = sums / counts[:, None]
    trust = (counts / (counts + strength))[:, None]
    square = float((trust * predicted**2).sum())
    slope = float((trust * predicted * means).sum()) / square if square else 0.0
    share = float(np.clip(slope, 0, 1))
    rest, total = (float((trust * r**2).sum()) for r in (means - share * predicted, means))
    return share, 1 - rest / total if total else 0.0


def _nearest(labels: np.ndarray, alike: Likeness, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels that these levels resemble, and their weights."""
    near, weights = alike.nearest_others(labels[levels])
    places = np.minimum(np.searchsorted(labels, near), len(labels) - 1)
    return places, weights * (labels[places] == near)
