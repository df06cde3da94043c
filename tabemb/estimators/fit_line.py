"""A fit in one line."""

from __future__ import annotations

import math
from typing import Any


def fit_line(estimator: Any) -> str:
    """Return the epochs of a fit, the loss of the best one, and the seconds.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> curve = {"epoch": [0, 1, 2], "train_loss": [0.9, 0.8, 0.7], "eval_loss": [0.9, 0.86, math.nan]}
    >>> fit_line(SimpleNamespace(learning_curve_=curve, best_epoch_=1, fit_seconds_=4.26))
    'SimpleNamespace: best epoch 2 of 3, validation loss 0.86, 4.3 s'
    """
    curve, best = estimator.learning_curve_, estimator.best_epoch_
    n_epochs, validation = len(curve["epoch"]), curve["eval_loss"][best]
    epochs = f"{n_epochs} epoch{'s' * (n_epochs != 1)}"
    if math.isnan(validation):
        result = f"{epochs}, training loss {curve['train_loss'][-1]:.4g}"
    else:
        result = f"best epoch {best + 1} of {n_epochs}, validation loss {validation:.4g}"
    return f"{type(estimator).__name__}: {result}, {estimator.fit_seconds_:.1f} s"
