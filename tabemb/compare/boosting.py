"""Boosted trees that handle categories themselves and hold back a tenth of the rows for early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split

from tabemb.compare.preparation import Columns, as_numbers, as_text, datetime_numbers, native_inputs


class _BoostedTrees(BaseEstimator):
    """What the boosted trees share: coded inputs, an inner split, and answers of the fitted model.

    Parameters
    ----------
    columns : Columns
        The kinds of the training frame's columns.
    params : mapping
        Constructor arguments of the wrapped model.
    patience : int or None
        Rounds without gain on a tenth of the training rows before it stops; None trains all rounds on all rows.
    seed : int
        Seed of the inner split.
    """

    def __init__(
        self, columns: Columns, params: Mapping[str, Any], patience: int | None, seed: int
    ) -> None:
        self.columns = columns
        self.params = params
        self.patience = patience
        self.seed = seed

    def fit(self, X, y) -> _BoostedTrees:
        """Fit the inputs' coding, then the trees."""
        inputs, y = self._fit_inputs(X), self._fit_target(np.asarray(y))
        if self.patience is None:
            self._fit_trees(inputs, y, None)
        else:
            stratify = (
                y
                if isinstance(self, ClassifierMixin) and np.unique(y, return_counts=True)[1].min() > 1
                else None
            )
            a, b = train_test_split(
                np.arange(len(y)), test_size=0.1, random_state=self.seed, stratify=stratify
            )
            self._fit_trees(_rows(inputs, a), y[a], (_rows(inputs, b), y[b]))
        self.is_fitted_ = True
        return self

    def predict(self, X) -> np.ndarray:
        """Return the predicted target of each row."""
        return np.asarray(self.trees_.predict(self._inputs(X))).ravel()

    def _fit_target(self, y: np.ndarray) -> np.ndarray:
        return y

    def _fit_inputs(self, X) -> Any:
        raise NotImplementedError

    def _inputs(self, X) -> Any:
        raise NotImplementedError

    def _fit_trees(self, inputs: Any, y: np.ndarray, held_back: tuple[Any, np.ndarray] | None) -> None:
        raise NotImplementedError


class _Classes(ClassifierMixin):
    """Classes for a wrapped model, which sees them as 0, 1, ..."""

    def _fit_target(self, y: np.ndarray) -> np.ndarray:
        self.classes_, codes = np.unique(y, return_inverse=True)
        return codes

    def predict(self, X) -> np.ndarray:
        """Return the most probable class of each row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def predict_proba(self, X) -> np.ndarray:
        """Return the probability of each class, of shape (n_rows, n_classes)."""
        return np.asarray(self.trees_.predict_proba(self._inputs(X)))


def _rows(inputs: Any, rows: np.ndarray) -> Any:
    return inputs.iloc[rows] if isinstance(inputs, pd.DataFrame) else inputs[rows]


class _LightGBM(_BoostedTrees):
    """LightGBM on codes that it is told to take as categories; a level never seen goes the way of a missing one."""

    def _fit_inputs(self, X) -> np.ndarray:
        self.inputs_ = native_inputs(self.columns)
        return np.asarray(self.inputs_.fit_transform(X))

    def _inputs(self, X) -> np.ndarray:
        return np.asarray(self.inputs_.transform(X))

    def _fit_trees(self, inputs: Any, y: np.ndarray, held_back: tuple[Any, np.ndarray] | None) -> None:
        import lightgbm

        model = lightgbm.LGBMClassifier if isinstance(self, ClassifierMixin) else lightgbm.LGBMRegressor
        fit_params: dict[str, Any] = {"categorical_feature": list(range(len(self.columns.categorical)))}
        if held_back is not None:
            fit_params |= {"eval_X": (held_back[0],), "eval_y": (held_back[1],)}
            fit_params["callbacks"] = [lightgbm.early_stopping(int(self.patience or 0), verbose=False)]
        self.trees_ = model(**self.params).fit(inputs, y, **fit_params)


class LightGBMClassifier(_Classes, _LightGBM):
    """LightGBM for classes on any frame, with native categories."""


class LightGBMRegressor(RegressorMixin, _LightGBM):
    """LightGBM for numbers on any frame, with native categories."""


class _CatBoost(_BoostedTrees):
    """CatBoost on categories as text, in which a missing one is a category of its own."""

    def _fit_inputs(self, X) -> pd.DataFrame:
        return self._inputs(X)

    def _inputs(self, X) -> pd.DataFrame:
        kinds = self.columns
        parts = [
            as_text(X[kinds.categorical]).fillna("(missing)").astype(object),
            as_numbers(X[kinds.numbers]),
        ]
        return pd.concat(
            [*parts, *([datetime_numbers(X[kinds.datetimes])] if kinds.datetimes else [])], axis=1
        )

    def _fit_trees(self, inputs: Any, y: np.ndarray, held_back: tuple[Any, np.ndarray] | None) -> None:
        import catboost

        model = (
            catboost.CatBoostClassifier
            if isinstance(self, ClassifierMixin)
            else catboost.CatBoostRegressor
        )
        self.trees_ = model(**self.params, cat_features=list(range(len(self.columns.categorical))))
        self.trees_.fit(inputs, y, eval_set=held_back, early_stopping_rounds=self.patience)


class CatBoostClassifier(_Classes, _CatBoost):
    """CatBoost for classes on any frame."""


class CatBoostRegressor(RegressorMixin, _CatBoost):
    """CatBoost for numbers on any frame."""
