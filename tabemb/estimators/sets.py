"""Prediction sets of the classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from tabemb.estimators.base import RowEstimator
from tabemb.fitting.calibration import check_coverage
from tabemb.fitting.memory import memory_checked
from tabemb.fitting.sets import by_target, classes_by_target, scores_of
from tabemb.training.threads import threads


class PredictsSets(RowEstimator):
    """Base of classifiers, whose predictions have sets of classes."""

    @memory_checked
    def predict_set(self, X: Any, coverage: float = 0.9) -> Any:
        """Return the set of classes that each row may have.

        The most probable class is in every set, and beside it each class whose probability is above a
        threshold. Thresholds are calibrated on the validation rows of ``fit``, by the counts of the
        row's levels: the sets hold the classes of new rows of the same distribution with the given
        probability, also among the rows whose level is rare or unseen, or more often where the most
        probable class alone is right more often. This is split conformal prediction (Sadinle, Lei &
        Wasserman 2019). Where the validation rows train in the end, thresholds are those of the network
        before, and sets a little too large. With ``class_weight``, the probability is that among rows
        of these weights.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
        coverage : float, default=0.9
            Share of rows whose class is in their set, above 0 and below 1.

        Returns
        -------
        DataFrame of bool of shape (n_rows, n_classes), or a list of them
            True where the class is in the set. The columns are ``classes_``, the index is that of X if
            X is a pandas frame. A list with a frame for each target or label where y has several; each
            has the coverage for itself.

        Raises
        ------
        ValueError
            ``fit`` had no validation rows, or too few for this coverage.

        Examples
        --------
        >>> import pandas as pd
        >>> from tabemb import EmbeddingClassifier
        >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 100, "size": range(200)})
        >>> model = EmbeddingClassifier(random_state=0).fit(X, X["city"])
        >>> model.predict_set(X.head(2), coverage=0.9)
            Bonn   Rome
        0   True  False
        1  False   True
        """
        check_coverage(coverage)
        check_is_fitted(self)
        sets = getattr(self, "sets_", None)
        if sets is None:
            raise ValueError(
                "predict_set needs the predictions of validation rows, and this model has none: it was "
                "fitted without such rows or saved by tabemb 0.2; fit it with early_stopping=True, or "
                "pass eval_X and eval_y to fit."
            )
        index = X.index if isinstance(X, pd.DataFrame) else None
        with threads(self.n_jobs):
            outputs, counts = self._outputs_and_counts(
                X, lambda output: self.target_.average(output.outputs)
            )
            probabilities = by_target(self.target_, outputs)
        thresholds = sets.thresholds(counts, float(coverage)).T
        frames = [
            pd.DataFrame(_members(probability, threshold), index, _columns(classes))
            for probability, threshold, classes in zip(
                probabilities, thresholds, classes_by_target(self.target_)
            )
        ]
        return frames if isinstance(self.target_.classes_, list) else frames[0]


def _members(probability: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return whether each class is in the set of each row, bool (n_rows, n_classes)."""
    members = scores_of(probability) <= threshold[:, None]
    members[np.arange(len(members)), probability.argmax(axis=1)] = True
    return np.asarray(members)


def _columns(classes: np.ndarray) -> pd.Index:
    """Return classes as labels of columns, tuples among them as they are."""
    dtype: Any = None if classes.dtype != object else object
    labels: pd.Index = pd.Index(classes, dtype=dtype, tupleize_cols=False)
    return labels
