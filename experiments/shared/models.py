"""The models of the comparison on inputs that are already encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from experiments.shared.tables import Encoded, TableProblem, draw_rows
from tabemb.compare import ModelSpec, build_model
from tabemb.compare.models import calibrated


@dataclass(frozen=True)
class EncodedModel:
    """A model of the comparison with the settings of the experiments.

    Parameters
    ----------
    name : str
        As `tabemb.compare.ModelSpec` takes it.
    params : mapping
        Parameters that differ from the comparison's defaults.
    measures_distances : bool
        Whether inputs must be standardised.
    max_rows : int, optional
        Most training rows, drawn at random, for models whose time grows with the square of the rows.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    measures_distances: bool = False
    max_rows: int | None = None

    def predict(
        self, problem: TableProblem, encoded: Encoded, seed: int, n_jobs: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Fit the model and predict the test rows.

        Returns
        -------
        predicted : ndarray of shape (n_test,) or (n_test, n_classes)
        classes : ndarray of shape (n_classes,) or None
            The class of each column; None for a regression.
        """
        encoded, params = self._native(encoded)
        train, y = encoded.train, problem.y
        if self.max_rows is not None:
            rows = draw_rows(np.arange(len(y)), self.max_rows, np.random.default_rng(0))
            train, y = train[rows], y[rows]
        model: Any = build_model(
            ModelSpec(self.name, {**self.params, **params}), problem.kind, seed=seed, n_jobs=n_jobs
        )
        model.fit(train, y)
        if problem.is_regression:
            return model.predict(encoded.test), None
        return model.predict_proba(encoded.test), model.classes_

    def _native(self, encoded: Encoded) -> tuple[Encoded, dict[str, Any]]:
        """Return text columns as native categories of the library, and the parameters that name them."""
        names = encoded.categorical
        if not names:
            return encoded, {}
        if self.name == "catboost":
            texts = dict.fromkeys(names, "(missing)")
            return Encoded(encoded.train.fillna(texts), encoded.test.fillna(texts)), {
                "cat_features": names
            }
        return Encoded(*_pandas_categories(encoded)), {}


def _pandas_categories(encoded: Encoded) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return text columns as pandas categoricals; categories not in the training rows are missing."""
    train, test = encoded.train, encoded.test
    for name in encoded.categorical:
        levels = pd.Index(train[name].dropna().unique())
        known = test[name].where(test[name].isin(levels))
        train = train.assign(**{name: pd.Categorical(train[name], levels)})
        test = test.assign(**{name: pd.Categorical(known, levels)})
    return train, test


def gaussian_svm(task: str, columns: None, seed: int, n_jobs: int | None) -> BaseEstimator:
    """Build a support vector machine with a Gaussian kernel and calibrated probabilities."""
    if task == "regression":
        return TransformedTargetRegressor(SVR(), transformer=StandardScaler())
    return calibrated(SVC(random_state=seed))


MODELS = {
    "lightgbm": EncodedModel(
        "lightgbm", {"n_estimators": 2000, "learning_rate": 0.05, "early_stopping_rounds": 100}
    ),
    "catboost": EncodedModel("catboost"),
    "histogram trees": EncodedModel("hist_gradient_boosting", {"early_stopping": True}),
    "random forest": EncodedModel("random_forest", {"max_features": 1 / 3, "min_samples_leaf": 5}),
    "nearest neighbours": EncodedModel("nearest_neighbors", measures_distances=True, max_rows=30_000),
    "linear": EncodedModel("linear", measures_distances=True),
    "svm": EncodedModel(f"{__name__}:gaussian_svm", measures_distances=True, max_rows=5_000),
}
