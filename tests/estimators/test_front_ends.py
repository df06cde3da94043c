"""The encoder in front of models that cannot read columns with many categories."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from tabemb import EmbeddingClassifier, EmbeddingEncoder

N_LEVELS = 300


def sellers(n=3000):
    """Return rows whose class depends on the effects of 300 sellers, and slightly on a colour."""
    rng = np.random.default_rng(0)
    seller = rng.integers(0, N_LEVELS, n)
    X = pd.DataFrame(
        {
            "seller": pd.Series([f"s{i}" for i in seller], dtype="category"),
            "colour": pd.Series(rng.choice(["red", "blue"], n), dtype="category"),
            "price": rng.normal(size=n),
        }
    )
    log_odds = 3 * rng.normal(size=N_LEVELS)[seller] + (X["colour"] == "red") + 0.3 * X["price"]
    return X, np.where(rng.random(n) < 1 / (1 + np.exp(-log_odds)), "yes", "no")


class InContext(ClassifierMixin, BaseEstimator):
    """A stand-in for TabICL and TabPFN that drops text columns of more than 40 categories as they do."""

    def fit(self, X, y):
        if X.shape[1] > 500:
            raise ValueError(f"at most 500 features; got {X.shape[1]}.")
        texts = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
        self.dropped_ = [name for name in texts if X[name].nunique() > 40]
        self.kept_ = [name for name in texts if name not in self.dropped_]
        self.codes_ = OrdinalEncoder().fit(X[self.kept_])
        self.model_ = KNeighborsClassifier(30).fit(self._numbers(X), y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(self._numbers(X))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]

    def _numbers(self, X):
        numbers = X.drop(columns=[*self.dropped_, *self.kept_]).to_numpy(float)
        return np.hstack([numbers, self.codes_.transform(X[self.kept_])])


def wide_columns(X, most):
    """Return the columns with more categories than a model accepts, as docs/encoder.md does."""
    return [
        name for name in X.select_dtypes(["object", "category", "string"]) if X[name].nunique() > most
    ]


@pytest.mark.parametrize(
    ("model", "most"),
    [(InContext(), 40), (HistGradientBoostingClassifier(max_iter=30, random_state=0), 255)],
)
def test_a_model_gets_what_many_categories_say(model, most):
    X, y = sellers()
    assert wide_columns(X, most) == ["seller"]
    network = EmbeddingClassifier(
        max_epochs=5, n_members=1, hidden=(16,), batch_size=128, learning_rate=0.02, trees=False
    )
    encoder = EmbeddingEncoder(columns=["seller"], estimator=network, cv=3, random_state=0)
    pipeline = make_pipeline(encoder, model).fit(X[:2000], y[:2000])
    names = list(pipeline[0].get_feature_names_out())
    assert names[:2] == ["colour", "price"]  # columns with few categories are unchanged
    assert names[2] == "seller_0"
    alone = type(model)(**model.get_params()).fit(X.drop(columns="seller")[:2000], y[:2000])
    without = alone.score(X.drop(columns="seller")[2000:], y[2000:])
    assert pipeline.score(X[2000:], y[2000:]) > without + 0.15


def test_such_models_lose_or_refuse_the_column_by_themselves():
    X, y = sellers()
    assert InContext().fit(X, y).dropped_ == ["seller"]
    with pytest.raises(ValueError, match="cardinality"):
        HistGradientBoostingClassifier(categorical_features="from_dtype").fit(X, y)
