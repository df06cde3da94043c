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
    """Base class of the classifiers, with prediction sets."""

    @memory_checked
    def predict_set(self, X: Any, coverage: float = 0.9) -> Any:
        """Return the set of classes that each row may have.

        A set contains the most probable class, and each class whose probability is above a threshold.
        Thresholds are calibrated on the validation rows of ``fit``, by the counts of the row's levels.
        The sets contain the classes of new rows of the same distribution with the given probability,
        also among rows with rare or unseen levels; or more often, if the most probable class alone is
        right more often. This is split conformal prediction (Sadinle, Lei & Wasserman 2019). If the
        validation rows also train in the end, the thresholds are those of the network before that, and
        the sets a little too large. With ``class_weight``, the probability is that among rows with these
        weights.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
        coverage : float, default=0.9
            Share of rows whose class is in their set, above 0 and below 1.

        Returns
        -------
        DataFrame of bool of shape (n_rows, n_classes), or a list of them
            True if the class is in the set. The columns are ``classes_``; the index is that of X if X is
            a pandas frame. If y has several targets or labels, a list with a frame for each; each frame
            has the coverage separately.

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
    """Return classes as labels of columns; tuples stay tuples."""
    dtype: Any = None if classes.dtype != object else object
    labels: pd.Index = pd.Index(classes, dtype=dtype, tupleize_cols=False)
    return labels
