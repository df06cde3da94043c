"""Prediction sets: the classes that a row may have, by the counts of its levels.

Split conformal prediction (Vovk et al. 2005) with the score of Sadinle, Lei & Wasserman (2019): a class
is in the set if its probability is above a threshold. The threshold is a quantile regression (Koenker &
Bassett 1978) on the buckets of the counts of the row's levels. Such a regression leaves the same share
of its rows above it in each bucket of each column, so the coverage holds in each (Gibbs, Cherian &
Candès 2025). A ridge draws the steps between buckets to zero.
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
"""Validation rows that calibrate; of more, evenly spaced ones do."""
MOST_OUTPUTS = 2**26
"""Outputs that are kept until the scores are known: with very many classes, fewer rows calibrate."""
RIDGE = 1.0
"""Prior of a step or slope, whose unit is the quantile of all rows."""
SMALLEST_CURVATURE = 1e-6
MARGIN = 0.05
"""Rise of all thresholds: rows may have few distinct probabilities, and those of the network that has
trained on the validation rows too differ a little."""
N_FOLDS = 5
WIDTHS = (0.5, 0.1, 0.02, 0.005)
"""Widths to which the bend of the quantile's loss is smoothed, in the same unit, one after the other."""
MOST_STEPS = 50
"""Steps of Newton's method at each width."""


@dataclass(frozen=True, eq=False)
class ClassSets:
    """Scores of validation rows, and of copies with hidden levels, from which thresholds are fitted.

    Parameters
    ----------
    columns : tuple of int
        Positions, among the categorical columns, of those whose counts the threshold reads.
    scores : ndarray of shape (n_rows, n_targets)
        Minus the logarithm of the probability of the true class; zero if it is the most probable one.
    counts : ndarray of shape (n_rows, len(columns))
        Count of each row's levels in the rows that trained; copies keep that of their hidden level.
    is_unseen : bool ndarray of shape (n_rows, len(columns))
    weights : ndarray of shape (n_rows,)
    copies : ndarray of shape (n_rows,)
        For each row the row that it is a copy of, or itself.
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
            Share of rows whose set should hold their class.

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
    """Return the coefficients of the threshold of a target, with the rise that new rows need."""
    scores, weights = sets.scores[:, target], sets.weights
    is_real = sets.copies == np.arange(len(scores))
    conformal_quantile(scores[is_real], weights[is_real], coverage)  # there are rows enough
    features = _features(sets.counts, sets.is_unseen)
    coefficients = fit_quantile(features, scores, weights, coverage)
    is_top = scores == 0
    covered = is_top | (scores <= features @ coefficients)
    above = np.where(is_top, -np.inf, scores - _of_other_folds(sets, features, scores, coverage))
    n_rows = int(is_real.sum())
    share = np.average(covered[is_real], weights=weights[is_real]) * n_rows / (n_rows + 1)
    # rows of easy buckets, which are covered anyway, take nothing from those of hard ones
    rise = conformal_quantile(above[is_real], weights[is_real], max(share, coverage))
    coefficients[0] += max(rise, 0.0)
    return coefficients


def _of_other_folds(
    sets: ClassSets, features: np.ndarray, scores: np.ndarray, coverage: float
) -> np.ndarray:
    """Return the threshold of each row that the rows of other folds fitted."""
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

    All coefficients but the first, of a feature that is one, have a normal prior.

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
    """Return the minimum of the quantile's loss, smoothed by a logistic kernel of a width."""

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
    """Return how many validation rows calibrate at most."""
    return min(MOST_ROWS, MOST_OUTPUTS // target.n_outputs)


def fit_sets(calibration: Calibration, target: Target) -> ClassSets:
    """Return the scores of the rows."""
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
    """Return minus the logarithm of probabilities; it is finite."""
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
