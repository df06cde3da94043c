"""Details of a cell: how predictions are calibrated, and which columns they need."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd

from tabemb.compare.metrics import MAIN_METRIC, main_error, predicted, row_losses

N_BINS = 10
"""Bins of equal size, by prediction, in which predictions and targets are compared."""
MAX_ROWS, MAX_REPEATS, SEED = 1000, 3, 0
"""Most test rows to permute, most permutations, and the seed, which is the same for all models."""
SECONDS = 60.0
"""Seconds for the importances of one fit; slower models get fewer permutations, or none."""


def calibration(task: str, y: np.ndarray, predictions: np.ndarray) -> dict[str, list[float]]:
    """Compare predictions with targets in tenths of the test rows, sorted by the prediction.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression"}
    y : array of shape (n_rows,)
        Codes of the classes, or numbers.
    predictions : array of shape (n_rows,) or (n_rows, n_classes)

    Returns
    -------
    dict
        For each tenth `n_rows`, the means `predicted` and `observed`, and the `variance` of the
        targets. For two classes, the prediction is the probability of the second class, and the target
        is whether a row belongs to it. For more classes, both refer to the row's most probable class.
        Equal predictions are in the same tenth.

    Examples
    --------
    >>> calibration("regression", np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    {'n_rows': [2], 'predicted': [2.0], 'observed': [2.0], 'variance': [1.0]}
    """
    guess, truth = _pairs(task, y, predictions)
    edges = np.unique(np.quantile(guess, np.arange(1, N_BINS) / N_BINS, method="inverted_cdf"))
    tenth = np.searchsorted(edges, guess)
    tenths = [(truth[tenth == t], guess[tenth == t]) for t in np.unique(tenth)]
    return {
        "n_rows": [len(truth) for truth, _ in tenths],
        "predicted": [float(guess.mean()) for _, guess in tenths],
        "observed": [float(truth.mean()) for truth, _ in tenths],
        "variance": [float(truth.var()) for truth, _ in tenths],
    }


def _pairs(task: str, y: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's prediction, and the target that it should equal on average."""
    if task == "regression":
        return predictions, np.asarray(y, dtype=float)
    if task == "binary":
        return predictions[:, -1], (y == predictions.shape[1] - 1).astype(float)
    return predictions.max(axis=1), (y == predictions.argmax(axis=1)).astype(float)


def importances(
    model: Any, task: str, X: pd.DataFrame, y: np.ndarray, classes: np.ndarray | None
) -> dict[str, Any]:
    """Measure how much the main error rises when the values of a column are permuted (Breiman 2001).

    Parameters
    ----------
    model : estimator
        Fitted.
    task : {"binary", "multiclass", "regression"}
    X : DataFrame of shape (n_rows, n_columns)
        Test rows; up to 1,000 of them, drawn at random, are used.
    y : array of shape (n_rows,)
    classes : array of shape (n_classes,) or None

    Returns
    -------
    dict
        `column`, `rise` (mean over the permutations), `n_rows`, `n_repeats` and `error`, the main error
        of these rows without permutation. If the model is too slow for one permutation of each column
        within a minute, `column` and `rise` are empty.
    """
    generator = np.random.default_rng(SEED)
    rows = np.sort(generator.permutation(len(X))[:MAX_ROWS])
    X, y = X.iloc[rows], y[rows]
    metric = MAIN_METRIC[task]

    def error(frame: pd.DataFrame) -> float:
        return main_error(metric, row_losses(task, y, predicted(model, frame, classes), classes))

    start = time.perf_counter()
    before = error(X)
    n_repeats = _n_repeats(time.perf_counter() - start, X.shape[1])
    orders = [generator.permutation(len(X)) for _ in range(n_repeats)]
    columns = list(X.columns) if n_repeats else []
    errors = [[error(_permuted(X, i, order)) for order in orders] for i in range(len(columns))]
    return {
        "column": [str(column) for column in columns],
        "rise": [float(np.mean(of_column)) - before for of_column in errors],
        "n_rows": len(X),
        "n_repeats": n_repeats,
        "error": before,
    }


def _n_repeats(seconds: float, n_columns: int) -> int:
    """Return how many permutations of each column there is time for, given the seconds of one."""
    return int(min(SECONDS / max(seconds * n_columns, 1e-9), MAX_REPEATS))


def _permuted(X: pd.DataFrame, position: int, order: np.ndarray) -> pd.DataFrame:
    frame = X.copy(deep=False)
    # by position, as a name may be a number
    frame.isetitem(position, X.iloc[order, position].array)
    return frame
