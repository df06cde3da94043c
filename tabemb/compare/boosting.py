"""Boosted trees as scikit-learn estimators, with early stopping on a tenth of the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split

from tabemb.compare.live import report
from tabemb.compare.preparation import Columns, as_numbers, as_text, datetime_numbers, native_inputs
from tabemb.extras import need
from tabemb.labels import codes_of, distinct

VALIDATION_SHARE = 0.1


class _BoostedTrees(BaseEstimator):
    """Base of the boosted trees: prepared inputs, validation rows, and predictions of the fitted trees.

    Parameters
    ----------
    columns : Columns or None
        The kinds of the training frame's columns, which are encoded for the library. None passes
        the inputs unchanged: a dense or sparse matrix, or a frame that the library accepts.
    params : mapping
        Constructor arguments of the wrapped model.
    early_stopping_rounds : int or None
        Rounds without improvement on the validation rows before training stops; None trains all
        rounds on all rows.
    seed : int
        Seed for drawing the validation rows.
    """

    def __init__(
        self,
        columns: Columns | None,
        params: Mapping[str, Any],
        early_stopping_rounds: int | None = None,
        seed: int = 0,
    ) -> None:
        self.columns = columns
        self.params = params
        self.early_stopping_rounds = early_stopping_rounds
        self.seed = seed

    def fit(self, X: Any, y: Any, eval_X: Any = None, eval_y: Any = None) -> Self:
        """Fit the encoding of the inputs, then the trees.

        Parameters
        ----------
        X : DataFrame or matrix of shape (n_rows, n_columns)
        y : array of shape (n_rows,)
        eval_X, eval_y : as X and y, optional
            Validation rows for early stopping; by default a tenth of the training rows, which are
            then not trained on.
        """
        inputs, target = self._fit_inputs(X), self._fit_target(np.asarray(y))
        if self.early_stopping_rounds is None:
            self._fit_trees(inputs, target, None)
        elif eval_X is not None:
            validation = self._inputs(eval_X), self._encoded_target(np.asarray(eval_y))
            self._fit_trees(inputs, target, validation)
        else:
            train, rows = self._validation_split(target)
            self._fit_trees(_take(inputs, train), target[train], (_take(inputs, rows), target[rows]))
        self.is_fitted_ = True
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted target of each row."""
        return np.asarray(self.trees_.predict(self._inputs(X))).ravel()

    def _validation_split(self, target: np.ndarray) -> list[np.ndarray]:
        """Return training and validation rows, stratified by class where possible."""
        # a class with a single row cannot be in both parts
        can_stratify = isinstance(self, ClassifierMixin) and np.bincount(target).min() > 1
        rows: list[np.ndarray] = train_test_split(
            np.arange(len(target)),
            test_size=VALIDATION_SHARE,
            random_state=self.seed,
            stratify=target if can_stratify else None,
        )
        return rows

    def _fit_target(self, y: np.ndarray) -> np.ndarray:
        return y

    def _encoded_target(self, y: np.ndarray) -> np.ndarray:
        return y

    def _fit_inputs(self, X: Any) -> Any:
        raise NotImplementedError

    def _inputs(self, X: Any) -> Any:
        raise NotImplementedError

    def _fit_trees(self, inputs: Any, y: np.ndarray, validation: tuple[Any, np.ndarray] | None) -> None:
        raise NotImplementedError


class _Classes(ClassifierMixin):
    """Mixin that encodes classes as 0, 1, ... for the wrapped model."""

    def _fit_target(self, y: np.ndarray) -> np.ndarray:
        self.classes_, codes = distinct(y)
        return codes

    def _encoded_target(self, y: np.ndarray) -> np.ndarray:
        return codes_of(self.classes_, y)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, of shape (n_rows, n_classes)."""
        return np.asarray(self.trees_.predict_proba(self._inputs(X)))


def _take(inputs: Any, rows: np.ndarray) -> Any:
    return inputs.iloc[rows] if isinstance(inputs, pd.DataFrame) else inputs[rows]


def _report_round(state: Any) -> None:
    """Report the progress of LightGBM after each boosting round."""
    done, n_rounds = (
        state.iteration + 1 - state.begin_iteration,
        state.end_iteration - state.begin_iteration,
    )
    report(done / n_rounds, f"round {done} of {n_rounds}")


class _LightGBM(_BoostedTrees):
    """LightGBM with codes as native categories; unseen categories count as missing values."""

    def _fit_inputs(self, X: Any) -> Any:
        if self.columns is None:
            return X
        self.inputs_ = native_inputs(self.columns)
        return np.asarray(self.inputs_.fit_transform(X))

    def _inputs(self, X: Any) -> Any:
        return X if self.columns is None else np.asarray(self.inputs_.transform(X))

    def _fit_trees(self, inputs: Any, y: np.ndarray, validation: tuple[Any, np.ndarray] | None) -> None:
        import lightgbm

        model = lightgbm.LGBMClassifier if isinstance(self, ClassifierMixin) else lightgbm.LGBMRegressor
        fit_params: dict[str, Any] = {"callbacks": [_report_round]}
        if self.columns is not None:
            fit_params["categorical_feature"] = list(range(len(self.columns.categorical)))
        if validation is not None:
            fit_params |= {"eval_X": (validation[0],), "eval_y": (validation[1],)}
            rounds = int(self.early_stopping_rounds or 0)
            fit_params["callbacks"].append(lightgbm.early_stopping(rounds, verbose=False))
        self.trees_ = model(**self.params).fit(inputs, y, **fit_params)


class LightGBMClassifier(_Classes, _LightGBM):
    """LightGBM classifier for any frame, with native categories."""


class LightGBMRegressor(RegressorMixin, _LightGBM):
    """LightGBM regressor for any frame, with native categories."""


class _CatBoost(_BoostedTrees):
    """CatBoost with categories as text; a missing value is one more category."""

    def _fit_inputs(self, X: Any) -> Any:
        return self._inputs(X)

    def _inputs(self, X: Any) -> Any:
        if self.columns is None:
            return X
        kinds = self.columns
        categories = as_text(X[kinds.categorical]).fillna("(missing)").astype(object)
        parts = [categories, as_numbers(X[kinds.numbers])]
        parts += [datetime_numbers(X[kinds.datetimes])] if kinds.datetimes else []
        return pd.concat(parts, axis=1)

    def _fit_trees(self, inputs: Any, y: np.ndarray, validation: tuple[Any, np.ndarray] | None) -> None:
        catboost = need("catboost", "catboost")
        is_classifier = isinstance(self, ClassifierMixin)
        model = catboost.CatBoostClassifier if is_classifier else catboost.CatBoostRegressor
        native = {}
        if self.columns is not None:
            native["cat_features"] = list(range(len(self.columns.categorical)))
        self.trees_ = model(**self.params, **native)
        self.trees_.fit(inputs, y, eval_set=validation, early_stopping_rounds=self.early_stopping_rounds)


class CatBoostClassifier(_Classes, _CatBoost):
    """CatBoost classifier for any frame."""


class CatBoostRegressor(RegressorMixin, _CatBoost):
    """CatBoost regressor for any frame."""
