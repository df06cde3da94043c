"""Expected effects: the effect that a category should have by its description, also if it is new.

The means of all categories are one Gaussian process over their likeness: similar categories have similar
means, and each category also varies on its own. The expected mean of a category is predicted from the
means of the other categories (kriging; Rasmussen & Williams 2006, chapter 2). A network reads it next to
the effect of the category, which is unknown for new categories and uncertain for rare ones. The quality
of the prediction is measured before it is used: each known category is left out once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import linalg

from tabemb.data.shrinkage import LevelSums
from tabemb.data.similar import MIN_GAIN
from tabemb.likeness.nearest import Likeness

MOST_PREDICTING = 1000
"""How many of the most frequent categories predict the others; the cost grows with the cube."""
MOST_LEVELS = 20_000
"""Largest number of levels of a term with expected effects: a fit keeps weights for each level."""
SHARES = (0.2, 0.4, 0.6, 0.8, 0.95)
"""Candidates for the share of the variance between categories that likeness explains."""
LEAST = 1e-9
AT_ONCE = 4096
"""Levels whose weights are computed at a time."""


class ExpectedEffects:
    """The expected effects of the levels of one term, predicted from the effects of similar levels.

    Attributes
    ----------
    term : int
        Position of the term in the effects.
    gain : float
        Share of the variance between levels that is predicted when each level is left out once.
    share : float
        Share of the variance between levels that the model attributes to likeness.
    predicting : ndarray of shape (n_predicting,)
        Positions, among the levels of the term, of the predicting levels.
    labels : ndarray of shape (n_predicting,)
        Positions of the predicting levels among the known labels.
    slopes : ndarray of shape (n_predicting, n_responses)
        Factors on the likeness of a new level to each predicting level.
    means : ndarray of shape (n_levels, n_responses)
        The expected effect of each level of the term.
    unit : ndarray of shape (n_responses,)
        Standard deviation of the expected effects over the training rows.
    is_described : ndarray of bool, shape (n_levels,)
    """

    slopes: np.ndarray
    means: np.ndarray
    unit: np.ndarray
    _weights: np.ndarray | None = None
    """Weights of the predicting levels for each level, which is left out itself; not saved."""
    _inverse: np.ndarray | None = None

    def __init__(self, term: int, alike: Likeness, labels: np.ndarray, sums: LevelSums) -> None:
        self.term = term
        has_rows = (labels >= 0) & (sums.counts > 0)
        has_rows[has_rows] = alike.known[labels[has_rows]]
        order = np.argsort(-np.where(has_rows, sums.counts, -1), kind="stable")
        self.predicting = np.sort(order[: min(int(has_rows.sum()), MOST_PREDICTING)])
        self.labels = labels[self.predicting]
        self.is_described = labels >= 0
        self.is_described[labels >= 0] = alike.known[labels[labels >= 0]]
        self.share, self.gain = 0.0, 0.0

    @classmethod
    def fit(
        cls, term: int, alike: Likeness, labels: np.ndarray, sums: LevelSums, strength: float
    ) -> ExpectedEffects | None:
        """Measure how well the levels predict each other; return None if they hardly do.

        Parameters
        ----------
        term : int
        alike : Likeness
            Compares the known labels.
        labels : ndarray of shape (n_levels,)
            Position of each level among the known labels; negative for levels without a label, such as
            missing values.
        sums : LevelSums
        strength : float
            Variance of the responses within levels, in units of the variance between them.
        """
        expected = cls(term, alike, labels, sums)
        if len(expected.predicting) < 2:
            return None
        counts = sums.counts[expected.predicting]
        means = sums.sums[expected.predicting] / counts[:, None]
        products = alike.products(expected.labels, expected.labels)
        trust = (counts / (counts + strength))[:, None]
        total = float((trust * means**2).sum())
        for share in SHARES:
            covariance = share * products + np.diag(1 - share + strength / counts)
            inverse = linalg.inv(covariance, check_finite=False)
            rest = (inverse @ means) / np.diag(inverse)[:, None]  # leave-one-out residuals
            gain = 1 - float((trust * rest**2).sum()) / total if total else 0.0
            if gain > expected.gain:
                expected.share, expected.gain, expected._inverse = share, gain, inverse
        if expected.gain < MIN_GAIN:
            return None
        expected._fit_weights(alike, labels)
        expected.refit(sums.sums, sums.counts)
        spread = expected.means[expected.is_described]
        weights = sums.counts[expected.is_described]
        center = np.average(spread, axis=0, weights=weights)
        variance = np.average(np.square(spread - center), axis=0, weights=weights)
        expected.unit = np.maximum(np.sqrt(variance), 1e-6)
        return expected

    def grown(
        self, alike: Likeness, labels: np.ndarray, sums: LevelSums, strength: float
    ) -> ExpectedEffects:
        """Return the expected effects of old and new levels, in the same unit.

        Parameters
        ----------
        alike, labels, sums, strength
            As in `fit`, for the old and the new levels.
        """
        expected = ExpectedEffects(self.term, alike, labels, sums)
        expected.share, expected.gain, expected.unit = self.share, self.gain, self.unit
        products = alike.products(expected.labels, expected.labels)
        noise = strength / np.maximum(sums.counts[expected.predicting], LEAST)
        covariance = self.share * products + np.diag(1 - self.share + noise)
        expected._inverse = linalg.inv(covariance, check_finite=False)
        expected._fit_weights(alike, labels)
        expected.refit(sums.sums, sums.counts)
        return expected

    def _fit_weights(self, alike: Likeness, labels: np.ndarray) -> None:
        """Compute the weights that predict each level without its own mean."""
        assert self._inverse is not None
        weights = np.zeros((len(labels), len(self.predicting)), np.float32)
        others = np.setdiff1d(np.flatnonzero(self.is_described), self.predicting)
        for start in range(0, len(others), AT_ONCE):
            part = others[start : start + AT_ONCE]
            products = alike.products(labels[part], self.labels)
            weights[part] = self.share * products @ self._inverse
        left_out = -self._inverse / np.diag(self._inverse)[:, None]
        np.fill_diagonal(left_out, 0)
        weights[self.predicting] = left_out
        self._weights = weights

    def refit(self, sums: np.ndarray, counts: np.ndarray) -> None:
        """Compute the expected effects from new sums (n_levels, n_responses); the weights stay."""
        assert self._weights is not None
        assert self._inverse is not None
        means = self._means(sums, counts)
        self.means = self._weights @ means
        self.slopes = self.share * self._inverse @ means

    def _means(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the means of the predicting levels, zero for levels whose rows are all left out."""
        sums, counts = sums[..., self.predicting, :], counts[..., self.predicting, None]
        return np.asarray(np.where(counts > LEAST, sums / np.maximum(counts, LEAST), 0.0))

    def out_of_fold(
        self, levels: np.ndarray, folds: np.ndarray, sums: np.ndarray, counts: np.ndarray
    ) -> np.ndarray:
        """Return the features of rows, from sums that leave out the rows of the same fold.

        Parameters
        ----------
        levels, folds : ndarray of shape (n_rows,)
        sums : ndarray of shape (n_folds, n_levels, n_responses)
        counts : ndarray of shape (n_folds, n_levels)
        """
        assert self._weights is not None
        means = self._means(sums, counts)
        of_rows = np.empty((len(levels), means.shape[2]))
        for fold, of_fold in enumerate(means):
            rows = folds == fold
            of_rows[rows] = self._weights[levels[rows]] @ of_fold
        return self.features(of_rows, self.is_described[levels])

    def of_levels(self, levels: np.ndarray) -> np.ndarray:
        """Return the features of levels of the term; -1 is a level without training rows."""
        known = np.append(self.is_described, False)[levels]
        return self.features(self.means[np.maximum(levels, 0)], known)

    def of_new(self, alike: Likeness, labels: Any) -> np.ndarray:
        """Return the expected effects of labels that were not in training, (n, n_responses)."""
        return np.asarray(alike.new_products(labels, self.labels) @ self.slopes)

    def features(self, expected: np.ndarray, is_described: np.ndarray) -> np.ndarray:
        """Return expected effects in their unit, and 1 if there are any, (n, n_responses + 1)."""
        both = np.column_stack([expected / self.unit, np.ones(len(expected))])
        return np.asarray(np.where(is_described[:, None], both, 0.0), np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
