"""Boosted trees on prepared inputs: with equal rows and settings, results are those of the library."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.model_selection import train_test_split

from tabemb.compare import MODELS, ModelSpec, build_model

N_ROWS = 600
LIGHTGBM = {"n_estimators": 60, "learning_rate": 0.2}
STOPPING = {**LIGHTGBM, "early_stopping_rounds": 5}


@pytest.fixture
def numbers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 4))
    return X, X[:, 0] + rng.normal(size=N_ROWS)


def library(y, **params):
    model = lightgbm.LGBMRegressor if y.dtype.kind == "f" else lightgbm.LGBMClassifier
    return model(n_jobs=1, random_state=3, verbose=-1, **LIGHTGBM, **params)


def built(task, params=STOPPING):
    return build_model(ModelSpec("lightgbm", params), task, seed=3, n_jobs=1)


def stopped(X, y, train, rows):
    stop = lightgbm.early_stopping(5, verbose=False)
    return library(y).fit(X[train], y[train], eval_X=(X[rows],), eval_y=(y[rows],), callbacks=[stop])


@pytest.mark.parametrize("matrix", [np.asarray, csr_matrix])
def test_a_tenth_of_the_rows_stops_a_regression(numbers, matrix):
    X, y = numbers
    train, rows = train_test_split(np.arange(N_ROWS), test_size=0.1, random_state=3)
    expected = stopped(X, y, train, rows)
    model = built("regression").fit(matrix(X), y)
    assert model.trees_.best_iteration_ == expected.best_iteration_ < 60
    np.testing.assert_array_equal(model.predict(matrix(X)), expected.predict(X))


def test_the_tenth_has_the_shares_of_the_classes(numbers):
    X, y = numbers[0], (numbers[1] > 1).astype(int)
    train, rows = train_test_split(np.arange(N_ROWS), test_size=0.1, random_state=3, stratify=y)
    expected = stopped(X, y, train, rows)
    model = built("binary").fit(X, np.where(y == 1, "yes", "no"))
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    assert set(model.predict(X)) == {"yes", "no"}


def test_validation_rows_can_be_given(numbers):
    X, y = numbers
    expected = stopped(X, y, slice(0, 500), slice(500, None))
    model = built("regression").fit(X[:500], y[:500], X[500:], y[500:])
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    labels = np.where(y > 0, "yes", "no")
    classes = stopped(X, (y > 0).astype(int), slice(0, 500), slice(500, None))
    model = built("binary").fit(X[:500], labels[:500], eval_X=X[500:], eval_y=labels[500:])
    np.testing.assert_array_equal(model.predict_proba(X), classes.predict_proba(X))


def test_without_stopping_all_rows_train_all_rounds(numbers):
    X, y = numbers
    model = built("regression", LIGHTGBM).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), library(y).fit(X, y).predict(X))


def test_pandas_categories_are_native(numbers):
    frame = pd.DataFrame(numbers[0]).add_prefix("x")
    frame["level"] = pd.Categorical(np.random.default_rng(1).choice(list("zyx"), N_ROWS), list("zyx"))
    y = numbers[1] + 2 * (frame["level"] == "y").to_numpy()
    model = built("regression", LIGHTGBM).fit(frame, y)
    np.testing.assert_array_equal(model.predict(frame), library(y).fit(frame, y).predict(frame))


def test_the_tuned_defaults_stop_early_and_the_rounds_can_be_changed():
    tuned = build_model(ModelSpec("lightgbm_td"), "regression")
    assert tuned.early_stopping_rounds == 100
    assert "early_stopping_rounds" not in tuned.params
    changed = ModelSpec("lightgbm_td", {"early_stopping_rounds": None, "num_leaves": 7})
    model = build_model(changed, "regression")
    assert model.early_stopping_rounds is None
    assert model.params["num_leaves"] == 7


@pytest.mark.parametrize("task", ["regression", "binary"])
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("embedding", "dummy")])
def test_every_model_takes_a_prepared_matrix(name, task, numbers):
    if name == "catboost":
        pytest.importorskip("catboost")
    X, y = numbers if task == "regression" else (numbers[0], np.where(numbers[1] > 0, "yes", "no"))
    quick = {"catboost": {"iterations": 50}, "random_forest": {"n_estimators": 20}}
    spec = ModelSpec(name, quick.get(name, {}))
    model = build_model(spec, task, seed=0, n_jobs=1).fit(X[:500], y[:500])
    # noise has the signal's variance: the best possible R2 is one half, the best accuracy three quarters
    assert model.score(X[500:], y[500:]) > (0.15 if task == "regression" else 0.6)


def test_classes_may_be_of_any_type():
    labels = [1, "1", (2, 3)]
    y = np.fromiter((labels[i % 3] for i in range(300)), object)
    X = np.arange(300.0)[:, None] % 3
    assert built("multiclass").fit(X, y).predict(X).tolist() == y.tolist()
    watched = built("multiclass").fit(X, y, eval_X=X, eval_y=y)
    assert watched.predict(X).tolist() == y.tolist()
