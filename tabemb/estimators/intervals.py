"""Prediction intervals of the regressors."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from tabemb.estimators.base import RowEstimator
from tabemb.fitting.calibration import check_coverage
from tabemb.fitting.intervals import member_predictions
from tabemb.fitting.memory import memory_checked
from tabemb.targets import NumberTarget
from tabemb.training.threads import threads


class PredictsIntervals(RowEstimator):
    """Base class of the regressors, with prediction intervals."""

    target_: NumberTarget

    @memory_checked
    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Return an interval for the target of each row.

        Intervals are calibrated on the validation rows of ``fit``, by the counts of the row's levels and
        the disagreement of the members. They contain the targets of new rows of the same distribution
        with the given probability, also among rows with rare or unseen levels. This is split conformal
        prediction (Lei et al. 2018) with a fitted scale. If the validation rows also train in the end,
        the intervals are those of the network before that, and a little too wide.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
        coverage : float, default=0.9
            Share of targets that lie in their interval, above 0 and below 1.

        Returns
        -------
        ndarray of shape (n_rows, 2) or (n_rows, n_targets, 2)
            Lower and upper bound, in the unit of y.

        Raises
        ------
        ValueError
            ``fit`` had no validation rows, or too few for this coverage.

        Examples
        --------
        >>> import pandas as pd
        >>> from tabemb import EmbeddingRegressor
        >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 100, "size": range(200)})
        >>> model = EmbeddingRegressor(random_state=0).fit(X, X["size"])
        >>> model.predict_interval(X.head(3), coverage=0.8).shape
        (3, 2)
        """
        check_coverage(coverage)
        check_is_fitted(self)
        intervals = getattr(self, "intervals_", None)
        if intervals is None:
            raise ValueError(
                "predict_interval needs the errors of validation rows, and this model has none: it was "
                "fitted without such rows or saved by tabemb 0.2; fit it with early_stopping=True, or "
                "pass eval_X and eval_y to fit."
            )
        with threads(self.n_jobs):
            outputs, counts = self._outputs_and_counts(X, lambda output: output.outputs)
            predicted, spread = member_predictions(self.target_, outputs)
        halves = intervals.half_widths(counts, spread, float(coverage))
        bounds = np.stack([predicted - halves, predicted + halves], axis=-1)
        bounds = np.maximum(bounds, self.target_.smallest)
        return np.asarray(bounds[:, 0] if self.target_.one_dimensional else bounds)
