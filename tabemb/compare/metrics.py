"""Errors of predictions: the main error, which is a mean over rows, and other common ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import metrics

from tabemb.labels import codes_of

MAIN_METRIC = {"regression": "rmse", "binary": "log_loss", "multiclass": "log_loss"}
OTHER_METRICS = {
    "regression": ("mse", "mae", "mape", "r2"),
    "binary": ("roc_auc", "accuracy"),
    "multiclass": ("roc_auc", "accuracy"),
}
# smaller probabilities are raised to this, so that a single row does not dominate the mean
SMALLEST_PROBABILITY = 1e-7


def row_losses(
    task: str, y: np.ndarray, predictions: np.ndarray, classes: np.ndarray | None = None
) -> np.ndarray:
    """Compute the squared error of each row, or minus the log of the predicted probability of its class.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression"}
    y : array of shape (n_rows,)
    predictions : array of shape (n_rows,) or (n_rows, n_classes)
    classes : array of shape (n_classes,), optional
        The class of each column of the predictions.

    Returns
    -------
    array of shape (n_rows,)
    """
    if task == "regression":
        losses: np.ndarray = (np.asarray(y, dtype=float) - predictions) ** 2
        return losses
    assert classes is not None
    chosen = predictions[np.arange(len(y)), codes_of(classes, np.asarray(y))]
    return np.asarray(-np.log(chosen))


def main_error(metric: str, losses: np.ndarray) -> float:
    """Return the main error from the losses of the rows: their mean, or its root for "rmse"."""
    mean = float(np.mean(losses))
    return mean**0.5 if metric == "rmse" else mean


def score(
    task: str, y: np.ndarray, predictions: np.ndarray, classes: np.ndarray | None = None
) -> dict[str, float]:
    """Compute the main error and the other ones, in the unit of the target; undefined ones are NaN.

    Parameters
    ----------
    task, y, predictions, classes
        As in `row_losses`.

    Returns
    -------
    dict
        "rmse", "mse", "mae", "mape", "r2" for a regression, else "log_loss", "roc_auc" (mean over
        one class against the rest), "accuracy".
    """
    main = {MAIN_METRIC[task]: main_error(MAIN_METRIC[task], row_losses(task, y, predictions, classes))}
    if task == "regression":
        return main | _regression_scores(np.asarray(y, dtype=float), predictions)
    assert classes is not None
    accuracy = float(np.mean(classes[predictions.argmax(axis=1)] == y))
    return main | {"roc_auc": _roc_auc(y, predictions, classes), "accuracy": accuracy}


def _regression_scores(y: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    # the relative error of a target of zero is undefined
    mape = metrics.mean_absolute_percentage_error(y, predictions) if np.all(y != 0) else np.nan
    r2 = metrics.r2_score(y, predictions) if len(y) > 1 else np.nan
    mse, mae = metrics.mean_squared_error(y, predictions), metrics.mean_absolute_error(y, predictions)
    return {"mse": float(mse), "mae": float(mae), "mape": float(mape), "r2": float(r2)}


def _roc_auc(y: np.ndarray, predictions: np.ndarray, classes: np.ndarray) -> float:
    present = [(y == c, p) for c, p in zip(classes, predictions.T) if 0 < np.sum(y == c) < len(y)]
    if not present:
        return float("nan")
    return float(np.mean([metrics.roc_auc_score(is_class, p) for is_class, p in present]))


def class_probabilities(model: Any, X: Any, classes: np.ndarray) -> np.ndarray:
    """Return a model's probabilities with a column for every class, known to the model or not.

    Parameters
    ----------
    model : estimator
        Fitted, with `predict_proba` and `classes_`.
    X : DataFrame or matrix of shape (n_rows, n_columns)
    classes : array of shape (n_classes,)
        All classes of the data set, sorted.

    Returns
    -------
    array of shape (n_rows, n_classes)
        Rows sum to one; a class that the model does not know has the smallest probability.
    """
    # training rows of a small fold may lack a class
    given = np.asarray(model.predict_proba(X), dtype=float)
    full = np.zeros((len(given), len(classes)))
    full[:, codes_of(classes, np.asarray(model.classes_))] = given
    full = np.clip(full, SMALLEST_PROBABILITY, 1)
    return np.asarray(full / full.sum(axis=1, keepdims=True))


def predicted(model: Any, X: Any, classes: np.ndarray | None) -> np.ndarray:
    """Return a model's predicted numbers or, with `classes`, its probability of each class.

    Parameters
    ----------
    model : estimator
    X : DataFrame or matrix of shape (n_rows, n_columns)
    classes : array of shape (n_classes,) or None
        As in `class_probabilities`; None for a regression.

    Returns
    -------
    array of shape (n_rows,) or (n_rows, n_classes)
    """
    if classes is None:
        return np.asarray(model.predict(X), dtype=float).ravel()
    return class_probabilities(model, X, classes)
