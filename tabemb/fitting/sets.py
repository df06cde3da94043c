"""Prediction sets: the classes that a row may have, by the counts of its levels.

The method is split conformal prediction (Vovk et al. 2005) with the score of Sadinle, Lei & Wasserman
(2019): a class is in the set if its probability is above a threshold. The threshold is a quantile
regression (Koenker & Bassett 1978) on the buckets of the counts of the row's levels. In each bucket of
each column, such a regression leaves the same share of rows above it, so the coverage holds in every
bucket (Gibbs, Cherian & Candès 2025). A ridge penalty shrinks the steps between buckets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabemb.fitting.calibration import Calibration, conformal_quantile, count_features
from tabemb.labels import codes_of
from tabemb.targets import MultilabelTarget, Target

MOST_ROWS = 5000
"""Largest number of validation rows that calibrate; of more rows, evenly spaced ones are taken."""
MOST_OUTPUTS = 2**26
"""Outputs that are kept until the scores are known: with very many classes, fewer rows calibrate."""
RIDGE = 1.0
"""Prior precision of a step or slope, in units of the quantile of all rows."""
SMALLEST_CURVATURE = 1e-6
MARGIN = 0.05
"""Added to all thresholds: rows may have few distinct probabilities, and the final network, which has
also trained on the validation rows, predicts slightly different ones."""
N_FOLDS = 5
WIDTHS = (0.5, 0.1, 0.02, 0.005)
"""Widths of the smoothing of the kink in the quantile loss, in the same unit, used one after another."""
MOST_STEPS = 50
"""Largest number of Newton steps at each width."""


@dataclass(frozen=True, eq=False)
class ClassSets:
    """Scores of validation rows, and of copies with hidden levels, from which thresholds are fitted.

    Parameters
    ----------
    columns : tuple of int
        Positions of the columns whose counts the threshold reads, among the categorical columns.
    scores : ndarray of shape (n_rows, n_targets)
        Negative log probability of the true class; zero if this class is the most probable one.
    counts : ndarray of shape (n_rows, len(columns))
        Count of each row's levels in the rows that trained; copies keep the count of their hidden level.
    is_unseen : bool ndarray of shape (n_rows, len(columns))
    weights : ndarray of shape (n_rows,)
    copies : ndarray of shape (n_rows,)
        Position of the row that each row copies, or its own position if it is no copy.
    share : float
        See `Intervals`.
    """

    columns: tuple[int, ...]
    scores: np.ndarray
    counts: np.ndarray
    is_unseen: np.ndarray
    weights: np.ndarray
    copies: np.ndarray
    share: float

    def __post_init__(self) -> None:
        n_rows = len(self.scores)
        arrays = self.counts, self.is_unseen, self.weights, self.copies
        shapes = [(n_rows, len(self.columns))] * 2 + [(n_rows,)] * 2
        if self.scores.ndim != 2 or [array.shape for array in arrays] != shapes or not n_rows:
            raise ValueError("the sets have arrays of other shapes than their columns and scores.")

    def thresholds(self, counts: np.ndarray, coverage: float) -> np.ndarray:
        """Return the largest score of a class that is in the set of each row, (n_rows, n_targets).

        Parameters
        ----------
        counts : ndarray of shape (n_rows, n_categorical)
            Count of each row's levels in the training rows.
        coverage : float
            Share of rows whose set should contain their class.

        Raises
        ------
        ValueError
            There are too few validation rows for this coverage.
        """
        used = self.share * counts[:, self.columns]
        features = _features(used, used == 0)
        by_target = [_coefficients(self, i, coverage) for i in range(self.scores.shape[1])]
        return np.asarray(features @ np.stack(by_target, axis=1) + MARGIN)


@lru_cache(maxsize=16)
def _coefficients(sets: ClassSets, target: int, coverage: float) -> np.ndarray:
    """Return the coefficients of the threshold of a target, raised as new rows need."""
    scores, weights = sets.scores[:, target], sets.weights
    is_real = sets.copies == np.arange(len(scores))
    conformal_quantile(scores[is_real], weights[is_real], coverage)  # raises if rows are too few
    features = _features(sets.counts, sets.is_unseen)
    coefficients = fit_quantile(features, scores, weights, coverage)
    is_top = scores == 0
    covered = is_top | (scores <= features @ coefficients)
    above = np.where(is_top, -np.inf, scores - _of_other_folds(sets, features, scores, coverage))
    n_rows = int(is_real.sum())
    share = np.average(covered[is_real], weights=weights[is_real]) * n_rows / (n_rows + 1)
    # rows of easy buckets are covered anyway, and must not lower the coverage of hard ones
    rise = conformal_quantile(above[is_real], weights[is_real], max(share, coverage))
    coefficients[0] += max(rise, 0.0)
    return coefficients


def _of_other_folds(
    sets: ClassSets, features: np.ndarray, scores: np.ndarray, coverage: float
) -> np.ndarray:
    """Return the threshold of each row, fitted on the rows of other folds."""
    thresholds, folds = np.empty(len(scores)), sets.copies % N_FOLDS
    for fold in np.unique(folds):
        rows, rest = folds == fold, folds != fold
        if not rest.any():
            rest = rows
        coefficients = fit_quantile(features[rest], scores[rest], sets.weights[rest], coverage)
        thresholds[rows] = features[rows] @ coefficients
    return thresholds


def _features(counts: np.ndarray, is_unseen: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(counts)), count_features(counts, is_unseen)])


def fit_quantile(
    features: np.ndarray, scores: np.ndarray, weights: np.ndarray, level: float
) -> np.ndarray:
    """Fit a quantile as a linear function, by Newton's method on a smoothed loss (He et al. 2023).

    All coefficients but the first, which belongs to the feature that is one, have a normal prior.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
    scores : ndarray of shape (n_rows,)
    weights : ndarray of shape (n_rows,)
    level : float
        Share of the rows at or below the quantile.

    Returns
    -------
    ndarray of shape (n_features,)
    """
    order = np.argsort(scores)
    reached = np.cumsum(weights[order])
    start = float(scores[order[np.searchsorted(reached, level * reached[-1])]])
    unit = start or float(scores.max()) or 1.0
    scores, ridge = scores / unit, np.full(features.shape[1], RIDGE)
    ridge[0] = 0
    coefficients = np.zeros(features.shape[1])
    coefficients[0] = start / unit
    for width in WIDTHS:
        coefficients = _newton(features, scores, weights, level, ridge, width, coefficients)
    return coefficients * unit


def _newton(
    features: np.ndarray,
    scores: np.ndarray,
    weights: np.ndarray,
    level: float,
    ridge: np.ndarray,
    width: float,
    coefficients: np.ndarray,
) -> np.ndarray:
    """Return the minimum of the quantile loss, smoothed by a logistic kernel of this width."""

    def loss(coefficients: np.ndarray) -> float:
        above = scores - features @ coefficients
        smooth = level * above + width * np.logaddexp(0, -above / width)
        return float(weights @ smooth + ridge @ coefficients**2 / 2)

    before = loss(coefficients)
    for _ in range(MOST_STEPS):
        above = scores - features @ coefficients
        below = np.exp(-np.logaddexp(0, above / width))  # 1 where the score is below, smoothly
        gradient = features.T @ (weights * (below - level)) + ridge * coefficients
        bend = weights * below * (1 - below) / width
        floor = SMALLEST_CURVATURE * weights.sum()
        curvature = (features.T * bend) @ features + np.diag(ridge + floor)
        step = np.linalg.solve(curvature, gradient)
        while not (after := loss(coefficients - step)) <= before and np.abs(step).max() > 1e-9:
            step = step / 2
        if not before - after > 1e-9 * weights.sum():
            break
        coefficients, before = coefficients - step, after
    return coefficients


def most_rows_of(target: Target) -> int:
    """Return the largest number of validation rows that calibrate."""
    return min(MOST_ROWS, MOST_OUTPUTS // target.n_outputs)


def fit_sets(calibration: Calibration, target: Target) -> ClassSets:
    """Return the sets, with the scores of the rows."""
    columns = list(calibration.columns)
    probabilities = by_target(target, torch.cat(calibration.outputs, dim=1))
    y = calibration.y.reshape(len(calibration.y), -1).T
    scores = [
        _scores(probability, codes_of(classes, column))
        for probability, classes, column in zip(probabilities, classes_by_target(target), y)
    ]
    return ClassSets(
        calibration.columns,
        np.stack(scores, axis=1),
        calibration.counts[:, columns],
        calibration.is_unseen[:, columns],
        calibration.weights,
        calibration.copies,
        calibration.share,
    )


def _scores(probability: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the score of the true class of each row."""
    scores = scores_of(probability[np.arange(len(codes)), codes])
    return np.where(probability.argmax(axis=1) == codes, 0.0, scores)


def scores_of(probability: np.ndarray) -> np.ndarray:
    """Return the negative logarithm of probabilities, which is finite."""
    return np.asarray(-np.log(np.maximum(probability, np.finfo(float).tiny)))


def by_target(target: Target, outputs: Tensor) -> list[np.ndarray]:
    """Return the probability of each class of each target, (n_rows, n_classes), from outputs."""
    predicted = target.predict(outputs)
    if isinstance(target, MultilabelTarget):
        return [np.column_stack([1 - column, column]) for column in predicted.T]
    return predicted if isinstance(predicted, list) else [predicted]


def classes_by_target(target: Target) -> list[Any]:
    """Return the classes of each target."""
    return target.classes_ if isinstance(target.classes_, list) else [target.classes_]
