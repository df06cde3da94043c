"""Prediction intervals, from the errors of validation rows and the counts of their levels.

The method is split conformal prediction (Vovk et al. 2005; Lei et al. 2018) with a fitted scale. The
errors of rows that the networks have not trained on yet are divided by a scale. Half the width of a new
row's interval is a quantile of these scores, corrected for the finite sample, times the row's scale.
The scale is a regression on the disagreement of the members and, for each column, on steps between the
buckets of a level's count and on whether the level is unseen. A ridge penalty shrinks the steps, so a
bucket with few rows borrows from its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tabemb.fitting.calibration import N_FEATURES, Calibration, conformal_quantile, count_features
from tabemb.targets import NumberTarget

RIDGE = 4.0
"""Prior precision of a step or slope: the prior standard deviation is a half, on the log scale."""
SMALLEST_ERROR = 1e-6
"""Smallest error, in units of the mean error, so that no scale is zero."""
N_FOLDS = 10
MOST_STEPS = 50
"""Largest number of Newton steps; about six are usual."""


@dataclass(frozen=True)
class Intervals:
    """Widths of intervals around predictions, calibrated on validation rows.

    Parameters
    ----------
    columns : tuple of int
        Positions of the columns whose counts the scale reads, among the categorical columns.
    coefficients : ndarray of shape (n_targets, n_features)
        The logarithm of the scale as a linear function of :meth:`features`.
    spreads : ndarray of shape (2, n_targets)
        Smallest and largest logarithm of the members' disagreement among validation rows.
    scores : ndarray of shape (n_rows, n_targets)
        Absolute errors of the validation rows in units of their scale, which is fitted on other rows.
    errors : ndarray of shape (n_rows, n_targets)
        The absolute errors, in the unit of y.
    weights : ndarray of shape (n_rows,)
    share : float
        Share of all training rows that trained before the validation rows were predicted. Counts of a
        new row are multiplied by it, to compare a level with levels that were as frequent at that time.
    """

    columns: tuple[int, ...]
    coefficients: np.ndarray
    spreads: np.ndarray
    scores: np.ndarray
    errors: np.ndarray
    weights: np.ndarray
    share: float

    def __post_init__(self) -> None:
        n_rows, n_targets = self.scores.shape
        n_features = 2 + N_FEATURES * len(self.columns)
        arrays = self.coefficients, self.spreads, self.errors, self.weights
        shapes = [(n_targets, n_features), (2, n_targets), (n_rows, n_targets), (n_rows,)]
        if [array.shape for array in arrays] != shapes or not n_rows:
            raise ValueError("the intervals have arrays of other shapes than their columns and scores.")

    def half_widths(self, counts: np.ndarray, spread: np.ndarray, coverage: float) -> np.ndarray:
        """Return half the width of the interval of each row, (n_rows, n_targets).

        Parameters
        ----------
        counts : ndarray of shape (n_rows, n_categorical)
            Count of each row's levels in the training rows.
        spread : ndarray of shape (n_rows, n_targets)
            Mean absolute deviation of the members' predictions.
        coverage : float
            Share of rows whose interval should contain their target.

        Raises
        ------
        ValueError
            There are too few validation rows for this coverage.
        """
        halves, used = np.empty(spread.shape), self.share * counts[:, self.columns]
        by_count = count_features(used, used == 0)
        for i, (scores, coefficients) in enumerate(zip(self.scores.T, self.coefficients)):
            features = _features(by_count, spread[:, i], self.spreads[:, i])
            quantile = conformal_quantile(scores, self.weights, coverage)
            halves[:, i] = quantile * np.exp(features @ coefficients)
        return halves


def member_predictions(target: NumberTarget, outputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions and the mean absolute deviation of the members, (n_rows, n_targets) each.

    Parameters
    ----------
    target : NumberTarget
    outputs : Tensor of shape (n_rows, n_members, n_targets)
    """
    n_rows, n_members, _ = outputs.shape
    by_member = [target.predict(outputs[:, [i]]).reshape(n_rows, -1) for i in range(n_members)]
    spread = np.abs(by_member - np.mean(by_member, axis=0)).mean(axis=0)
    return target.predict(target.average(outputs)).reshape(n_rows, -1), spread


def _features(by_count: np.ndarray, spread: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return the features of the scale's logarithm, (n_rows, n_features).

    They are a one, the disagreement of the members, and `count_features`.
    """
    low, high = bounds
    disagreement = np.clip(_log(spread), low, high) - low
    return np.column_stack([np.ones(len(spread)), disagreement, by_count])


def _log(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.clip(values, np.finfo(float).tiny, np.finfo(float).max)))


def fit_intervals(calibration: Calibration, target: NumberTarget) -> Intervals:
    """Fit the scale, and return intervals with the rows' errors in units of it."""
    predicted, spread = member_predictions(target, torch.cat(calibration.outputs, dim=1))
    errors = np.abs(calibration.y.reshape(predicted.shape) - predicted)
    is_real, weights = calibration.is_real, calibration.weights
    logs = _log(spread[is_real])
    bounds = np.stack([logs.min(axis=0), logs.max(axis=0)])
    scores, coefficients = np.empty(errors.shape), []
    for i in range(errors.shape[1]):
        features = _features(calibration.features, spread[:, i], bounds[:, i])
        scores[:, i] = _scores(calibration, features, errors[:, i])
        coefficients.append(fit_scale(features, errors[:, i], weights))
    return Intervals(
        calibration.columns,
        np.stack(coefficients),
        bounds,
        scores[is_real],
        errors[is_real],
        weights[is_real],
        calibration.share,
    )


def _scores(calibration: Calibration, features: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return errors in units of scales that are fitted on the rows of other folds."""
    scores, folds = np.empty(len(errors)), calibration.copies % N_FOLDS
    for fold in np.unique(folds):
        rows, rest = folds == fold, folds != fold
        if not rest.any():
            rest = rows
        coefficients = fit_scale(features[rest], errors[rest], calibration.weights[rest])
        scores[rows] = errors[rows] / np.exp(features[rows] @ coefficients)
    return scores


def fit_scale(features: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fit the logarithm of the mean error as a linear function, by Newton's method.

    The likelihood is that of exponential errors, which is convex in the coefficients. All coefficients
    but the first, which belongs to the feature that is one, have a normal prior.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
    errors : ndarray of shape (n_rows,), at least 0
    weights : ndarray of shape (n_rows,)

    Returns
    -------
    ndarray of shape (n_features,)
    """
    unit = float(np.average(errors, weights=weights)) or 1.0
    errors = np.maximum(errors / unit, SMALLEST_ERROR)
    ridge = np.full(features.shape[1], RIDGE)
    ridge[0] = 0

    def loss(coefficients: np.ndarray) -> float:
        logs = features @ coefficients
        with np.errstate(over="ignore"):  # such a step is too long
            relative = errors * np.exp(-logs)
        return float(weights @ (relative + logs) + ridge @ coefficients**2 / 2)

    coefficients = np.zeros(features.shape[1])
    before = loss(coefficients)
    for _ in range(MOST_STEPS):
        relative = weights * errors * np.exp(-features @ coefficients)
        gradient = features.T @ (weights - relative) + ridge * coefficients
        curvature = (features.T * relative) @ features + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        while not (after := loss(coefficients - step)) <= before and np.abs(step).max() > 1e-9:
            step = step / 2
        if not before - after > 1e-9 * weights.sum():
            break
        coefficients, before = coefficients - step, after
    coefficients[0] += np.log(unit)
    return coefficients
