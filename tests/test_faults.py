"""Faults that libraries for networks on tabular data have had; each test excludes one of them."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingRegressor
from tabemb.data.vocabulary import Vocabulary


@pytest.fixture
def brief(small):
    """Settings of a network whose accuracy does not matter."""
    return {**small, "max_epochs": 2}


@pytest.fixture
def visits():
    """400 rows with every kind of column; the target is 1 for category "b" and for flags."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "page": rng.choice(["a", "b", "c"], 400),
            "flag": rng.random(400) < 0.3,
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, 400), unit="D"),
            "price": rng.exponential(size=400),
        }
    )
    return X, ((X["page"] == "b") | X["flag"]).astype(int)


def test_an_unseen_category_does_not_get_a_random_vector(small, visits):
    X, y = visits
    predictions = [
        EmbeddingClassifier(**{**small, "random_state": seed}).fit(X[["page"]], y).predict_proba(
            pd.DataFrame({"page": ["never seen"]})
        )[0, 1]
        for seed in range(3)
    ]  # fmt: skip
    assert predictions == pytest.approx([y.mean()] * 3, abs=0.15)


def test_fifty_missing_numbers_are_neither_an_error_nor_missing_predictions(brief, visits):
    X, y = visits
    X = X.assign(price=X["price"].where(X.index >= 50))
    assert np.isfinite(EmbeddingClassifier(**brief).fit(X, y).predict_proba(X)).all()


def test_flags_and_times_are_not_dropped_and_polars_numbers_stay_numbers(small, brief, visits):
    X, y = visits
    schema = EmbeddingClassifier(**brief).fit(pl.from_pandas(X), y).encoder_.schema
    assert schema.roles == {
        "page": "categorical",
        "flag": "categorical",
        "at": "datetime",
        "price": "number",
    }
    assert EmbeddingClassifier(**small).fit(X[["flag"]], X["flag"]).score(X[["flag"]], X["flag"]) == 1


def test_sample_weights_are_not_ignored(small, visits):
    X, _ = visits
    y = np.arange(400) % 2
    model = EmbeddingClassifier(**small).fit(X[["flag"]], y, sample_weight=np.where(y, 9.0, 1.0))
    assert model.predict_proba(X[["flag"]])[:, 1].mean() == pytest.approx(0.9, abs=0.05)


def test_a_nearly_constant_number_does_not_explode(small):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": 1 + 1e-9 * rng.normal(size=300), "c": rng.choice(list("ab"), 300)})
    y = (X["c"] == "a").astype(float)
    model = EmbeddingRegressor(**small).fit(X, y)
    assert np.abs(model.predict(X.assign(x=1e6))).max() < 5


def test_ids_above_two_to_the_24_do_not_collide(small):
    ids = np.tile([2**24, 2**24 + 1, 2**60, 2**60 + 1], 100)
    y = np.tile([0.0, 10.0, -5.0, 5.0], 100)
    X = pd.DataFrame({"id": ids})
    model = EmbeddingRegressor(**{**small, "max_epochs": 20}, roles={"id": "categorical"}).fit(X, y)
    assert np.abs(model.predict(X) - y).max() < 1


@pytest.mark.parametrize("columns", [["price"], ["page"], ["at"]])
def test_no_category_no_number_and_one_row_are_fine(small, brief, visits, columns):
    X, y = visits
    assert np.isfinite(EmbeddingRegressor(**brief).fit(X[columns], y).predict(X[columns])).all()
    assert EmbeddingRegressor(**small).fit(X[columns][:1], y[:1]).predict(
        X[columns][:1]
    ) == pytest.approx(y[:1], abs=0.1)


def test_no_variance_is_fine(brief, visits):
    X, y = visits
    gaps = pd.DataFrame({"same": [5.0, np.nan] * 200, "price": X["price"]})
    assert np.isfinite(EmbeddingRegressor(**brief).fit(gaps, y).predict(gaps)).all()


def test_dots_in_names_duplicates_and_turned_columns(brief, visits):
    X, y = visits
    dotted = X.rename(columns={"page": "at.month", "price": "0.price"})
    model = EmbeddingClassifier(**brief).fit(dotted, y)
    np.testing.assert_array_equal(
        model.predict_proba(dotted[dotted.columns[::-1]]), model.predict_proba(dotted)
    )
    with pytest.raises(ValueError, match="several columns named 'x'"):
        model.predict(dotted.set_axis(["x", "x", "y", "z"], axis=1))


def test_saving_leaves_one_file_that_loads_without_pickle(brief, visits, tmp_path, monkeypatch):
    X, y = visits
    monkeypatch.chdir(tmp_path)
    model = EmbeddingClassifier(**brief).fit(X, y)
    assert list(tmp_path.iterdir()) == []  # fit writes nothing
    tabemb.save(model, "model.tabemb")
    assert [path.name for path in tmp_path.iterdir()] == ["model.tabemb"]
    monkeypatch.setattr(pickle, "loads", lambda *a, **k: pytest.fail("unpickled"))
    np.testing.assert_array_equal(tabemb.load("model.tabemb").predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("n_columns", [3, 30])
def test_prediction_reads_each_column_once(small, monkeypatch, n_columns):
    X = pd.DataFrame({f"c{i}": ["a", "b"] * 20 for i in range(n_columns)})
    model = EmbeddingRegressor(**{**small, "max_epochs": 1}).fit(X, np.arange(40.0))
    calls, codes = [], Vocabulary.codes
    monkeypatch.setattr(Vocabulary, "codes", lambda *a: calls.append(1) or codes(*a))
    model.predict(X[:1])
    assert len(calls) == n_columns
