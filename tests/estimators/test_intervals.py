"""Prediction intervals: coverage by the count of a level, and one interface for all kinds of input."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tabemb
from tabemb import EmbeddingRegressor, EventRegressor, Table
from tabemb.fitting.calibration import counts_of, level_counts

BUCKETS = (0.5, 2.5, 9.5, 99.5)
"""Bounds of the counts: unseen, 1-2, 3-9, 10-99, 100 and more."""
QUICK = {
    "hidden": (16,),
    "n_members": 1,
    "n_pairs": 18,
    "max_epochs": 6,
    "batch_size": 128,
    "learning_rate": 0.01,
    "early_stopping": True,
    "trees": False,
    "n_jobs": 1,
}

AUTO = {"max_epochs": "auto", "early_stopping": "auto"}
"""Changes with which the validation rows choose the number of epochs, and train in the end."""


def draw(n, seed):
    """Return rows of shops with more noise for rarer shops; the effect of the number is exact."""
    rng = np.random.default_rng(seed)
    chances = np.repeat([1.0, 5.0, 30.0, n / 10], [n // 6, n // 20, n // 100, 4])
    noise = np.repeat([4.0, 2.0, 1.0, 0.3], [n // 6, n // 20, n // 100, 4])
    shop = rng.choice(len(chances), n, p=chances / chances.sum())
    size = rng.normal(size=n)
    y = 2 * size + noise[shop] * rng.normal(size=n)
    return pd.DataFrame({"shop": [f"s{code}" for code in shop], "size": size}), y


@pytest.fixture(scope="module")
def fitted():
    X, y = draw(2000, 0)
    return EmbeddingRegressor(random_state=0, **QUICK | AUTO).fit(X, y), X


def covered(bounds, y):
    return (bounds[:, 0] <= y) & (y <= bounds[:, 1])


def bucket_shares(n_seeds, fit):
    """Return the share of covered targets of new rows in each bucket of the count."""
    hits, buckets = [], []
    for seed in range(n_seeds):
        X, y = draw(16_000, seed)
        model = fit(EmbeddingRegressor(random_state=seed, **QUICK), X[:8000], y[:8000])
        trained = X["shop"][: int(model.encoder_.vocabularies_["shop"].counts.sum())]
        counts = X["shop"][8000:].map(trained.value_counts()).fillna(0)
        hits.append(covered(model.predict_interval(X[8000:]), y[8000:]))
        buckets.append(np.digitize(counts, BUCKETS))
    return pd.Series(np.concatenate(hits)).groupby(np.concatenate(buckets)).mean()


def test_coverage_holds_in_each_bucket_of_the_count_where_the_noise_depends_on_it():
    shares = bucket_shares(
        2, lambda model, X, y: model.fit(X[:4000], y[:4000], eval_X=X[4000:], eval_y=y[4000:])
    )
    np.testing.assert_allclose(shares, 0.9, atol=0.03)


@pytest.mark.slow
def test_coverage_holds_where_the_validation_rows_train_in_the_end():
    shares = bucket_shares(
        2, lambda model, X, y: model.set_params(validation_fraction=0.3, **AUTO).fit(X, y)
    )
    np.testing.assert_allclose(shares, 0.9, atol=0.04)


def test_an_interval_is_around_the_prediction_and_grows_with_the_coverage(fitted):
    model, X = fitted
    narrow, wide = (model.predict_interval(X, coverage=share) for share in (0.5, 0.95))
    np.testing.assert_allclose(narrow.mean(1), model.predict(X), atol=1e-9)
    assert narrow.shape == (len(X), 2)
    assert (wide[:, 0] < narrow[:, 0]).all()
    assert (narrow[:, 1] < wide[:, 1]).all()


def test_an_unseen_shop_has_a_wider_interval_than_a_frequent_one(fitted):
    model, X = fitted
    frequent = X["shop"].value_counts().index[0]
    widths = np.ptp(
        model.predict_interval(pd.DataFrame({"shop": [frequent, "new"], "size": 0.0})), axis=1
    )
    assert widths[1] > 4 * widths[0]


def test_frames_of_all_kinds_and_pickles_have_the_same_intervals(fitted):
    model, X = fitted
    expected = model.predict_interval(X.head(50))
    for frame in (pa.Table.from_pandas(X.head(50)), pl.from_pandas(X.head(50))):
        np.testing.assert_array_equal(model.predict_interval(frame), expected)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_interval(X.head(50)), expected)


def test_a_row_has_the_same_interval_whatever_is_beside_it(fitted):
    model, X = fitted
    together = model.predict_interval(X.head(20))
    alone = np.concatenate([model.predict_interval(X.iloc[[i]]) for i in range(20)])
    np.testing.assert_allclose(alone, together, rtol=1e-12)


def test_a_file_keeps_the_intervals(fitted, tmp_path):
    model, X = fitted
    tabemb.save(model, tmp_path / "m.tabemb")
    again = tabemb.load(tmp_path / "m.tabemb")
    np.testing.assert_array_equal(again.predict_interval(X), model.predict_interval(X))


@pytest.mark.parametrize("changed", [{"columns": (5,)}, {"share": float("inf")}])
def test_a_file_with_intervals_of_another_table_is_refused(fitted, tmp_path, changed):
    forged = pickle.loads(pickle.dumps(fitted[0]))
    forged.intervals_ = replace(forged.intervals_, **changed)
    tabemb.save(forged, tmp_path / "m.tabemb")
    with pytest.raises(ValueError, match="holds no model that can be used here"):
        tabemb.load(tmp_path / "m.tabemb")


@pytest.mark.parametrize("rows", [50, 500])
def test_without_validation_rows_the_error_says_what_to_do(rows):
    X, y = draw(500, 0)
    X, y = X[:rows], y[:rows]
    params = {**AUTO, "max_epochs": 2} if rows == 500 else AUTO
    model = EmbeddingRegressor(random_state=0, **QUICK | params).fit(X, y)
    with pytest.raises(ValueError, match=r"fit it with early_stopping=True, or pass eval_X and eval_y"):
        model.predict_interval(X)


def test_a_file_of_tabemb_0_2_has_none(fitted, tmp_path):
    model, X = fitted
    old = pickle.loads(pickle.dumps(model))
    del old.intervals_
    tabemb.save(old, tmp_path / "old.tabemb")
    with pytest.raises(ValueError, match=r"saved by tabemb 0.2"):
        tabemb.load(tmp_path / "old.tabemb").predict_interval(X)


def test_other_validation_rows_calibrate_too():
    X, y = draw(2000, 3)
    model = EmbeddingRegressor(random_state=0, **QUICK).fit(
        X[:1000], y[:1000], eval_X=X[1000:], eval_y=y[1000:]
    )
    assert len(model.intervals_.scores) == 1000
    X, y = draw(2000, 4)
    assert covered(model.predict_interval(X), y).mean() == pytest.approx(0.9, abs=0.05)


def test_several_targets_have_intervals_each():
    X, y = draw(1500, 0)
    noise = np.random.default_rng(0).normal(size=len(y))
    targets = np.column_stack([y, 1000 * (X["size"] + noise)])
    model = EmbeddingRegressor(random_state=0, **QUICK).fit(X[:1000], targets[:1000])
    bounds = model.predict_interval(X[1000:])
    assert bounds.shape == (500, 2, 2)
    for i in range(2):
        assert covered(bounds[:, i], targets[1000:, i]).mean() == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize(("loss", "shift"), [("poisson", 0), ("absolute_percentage_error", 0.1)])
def test_a_number_that_cannot_be_negative_has_no_negative_bound(loss, shift):
    X, _ = draw(2000, 0)
    y = shift + np.random.default_rng(0).poisson(1, len(X))
    model = EmbeddingRegressor(random_state=0, loss=loss, **QUICK).fit(X[:1000], y[:1000])
    bounds = model.predict_interval(X[1000:], 0.8)
    assert bounds.min() == 0
    assert covered(bounds, y[1000:]).mean() > 0.75


@pytest.mark.parametrize("scale", [1e-200, 1e150])
def test_intervals_have_the_unit_of_y(scale):
    X, y = draw(600, 0)
    plain, scaled = (
        EmbeddingRegressor(random_state=0, **QUICK).fit(X, y * unit).predict_interval(X) / unit
        for unit in (1.0, scale)
    )
    np.testing.assert_allclose(scaled, plain, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_several_networks_calibrate_together():
    X, y = draw(800, 0)
    model = EmbeddingRegressor(random_state=0, n_networks=2, **QUICK).fit(X, y)
    bounds = model.predict_interval(X)
    np.testing.assert_allclose(bounds.mean(1), model.predict(X), atol=1e-9)


def test_counts_are_sums_of_weights_and_those_of_shared_tables_are_joint():
    X = pd.DataFrame({"a": ["x", "y"] * 100, "b": ["y", "z"] * 100})
    tables = {"t": Table(["a", "b"])}
    model = EmbeddingRegressor(random_state=0, tables=tables, **QUICK | AUTO).fit(
        X, np.arange(200.0), sample_weight=np.full(200, 2.0)
    )
    counts = level_counts(model._fitted)
    codes = model.encoder_.transform(pa.Table.from_pandas(X.head(1))).codes
    assert counts_of(codes, counts).tolist() == [[200.0, 400.0]]


def test_a_fit_that_goes_on_from_a_checkpoint_has_the_same_intervals(tmp_path):
    X, y = draw(600, 0)
    fits = [
        EmbeddingRegressor(random_state=0, checkpoint=tmp_path, **QUICK).fit(X, y).predict_interval(X)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*fits)


def test_events_have_intervals():
    rng = np.random.default_rng(0)
    user, at = np.repeat(np.arange(150), 11), np.tile(np.arange(11), 150)
    X = pd.DataFrame({"user": user, "at": at, "item": rng.choice(list("abc"), len(at))})
    y = (X["item"].map({"a": 0.0, "b": 5.0, "c": 9.0}) + rng.normal(size=len(at))).to_numpy()
    params = {**QUICK, "entity": "user", "time": "at"}
    del params["trees"]  # events have none
    model = EventRegressor(random_state=0, **params).fit(X[at < 10], y[at < 10])
    bounds = model.predict_interval(X[at == 10])
    np.testing.assert_allclose(bounds.mean(1), model.predict(X[at == 10]), atol=1e-9)
    assert covered(bounds, y[at == 10]).mean() == pytest.approx(0.9, abs=0.07)
