"""The line that is printed after a fit."""

from __future__ import annotations

import math
from typing import Any


def fit_line(estimator: Any) -> str:
    """Return the epochs of a fit, the loss of the best one, and the seconds.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from tabemb.targets import ClassTarget
    >>> curve = {"epoch": [0, 1, 2], "train_loss": [0.9, 0.8, 0.7], "eval_loss": [0.9, 0.86, math.nan]}
    >>> fitted = {"best_epoch_": 1, "fit_seconds_": 4.26, "target_": ClassTarget()}
    >>> fit_line(SimpleNamespace(learning_curve_=curve, **fitted))
    'SimpleNamespace: best epoch 2 of 3, validation log loss 0.86, 4.3 s'
    """
    curve, best = estimator.learning_curve_, estimator.best_epoch_
    n_epochs, validation = len(curve["epoch"]), curve["eval_loss"][best]
    name, unit = estimator.target_.loss_name, estimator.target_.loss_unit
    epochs = f"{n_epochs} epoch{'s' * (n_epochs != 1)}"
    if math.isnan(validation):
        loss = f"training {name} {curve['train_loss'][-1]:.4g}"
    else:
        epochs = f"best epoch {best + 1} of {epochs.removesuffix(' epochs')}"
        loss = f"validation {name} {validation:.4g}"
    parts = epochs, f"{loss} {unit}".rstrip(), f"{estimator.fit_seconds_:.1f} s"
    return f"{type(estimator).__name__}: {', '.join(parts)}"
