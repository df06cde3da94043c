"""Prediction sets: coverage by the count of a level, and one interface for all kinds of input."""

import datetime
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest

import tabemb
from tabemb import EmbeddingClassifier, EventClassifier

BUCKETS = (0.5, 2.5, 9.5, 99.5)
"""Bounds of the counts: unseen, 1-2, 3-9, 10-99, 100 and more."""
QUICK = {
    "hidden": (16,),
    "n_members": 1,
    "n_jobs": 1,
    "max_epochs": 6,
    "batch_size": 128,
    "learning_rate": 0.01,
    "early_stopping": True,
    "trees": False,
}


def draw(n, seed, n_classes=3):
    """Return rows of shops whose class is harder to predict for rarer shops."""
    rng = np.random.default_rng(seed)
    sizes = [n // 6, n // 20, n // 100, 4]
    chances = np.repeat([1.0, 5.0, 30.0, n / 10], sizes)
    sharpness = np.repeat([0.7, 1.0, 1.5, 2.0], sizes)
    shop = rng.choice(len(chances), n, p=chances / chances.sum())
    size = rng.normal(size=n)
    likes = np.random.default_rng(99).normal(size=(len(chances), n_classes))
    logits = likes[shop] + 1.5 * size[:, None] * np.linspace(-1, 1, n_classes)
    y = (sharpness[shop, None] * logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return pd.DataFrame({"shop": [f"s{code}" for code in shop], "size": size}), np.array(
        [*"abcdefghij"]
    )[y]


@pytest.fixture(scope="module")
def fitted():
    X, y = draw(2000, 0)
    return EmbeddingClassifier(random_state=0, **QUICK).fit(X, y), X


def is_held(sets, y):
    return sets.to_numpy()[np.arange(len(y)), sets.columns.get_indexer(pd.Index(y))]


@pytest.mark.parametrize("n_classes", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_coverage_holds_in_each_bucket_of_the_count(n_classes):
    hits, buckets = [], []
    for seed in range(2):
        X, y = draw(16_000, seed, n_classes)
        model = EmbeddingClassifier(random_state=seed, **QUICK)
        model.fit(X[:4000], y[:4000], eval_X=X[4000:8000], eval_y=y[4000:8000])
        counts = X["shop"][8000:].map(X["shop"][:4000].value_counts()).fillna(0)
        hits.append(is_held(model.predict_set(X[8000:]), y[8000:]))
        buckets.append(np.digitize(counts, BUCKETS))
    shares = pd.Series(np.concatenate(hits)).groupby(np.concatenate(buckets)).mean()
    np.testing.assert_allclose(shares, 0.9, atol=0.03)


def test_coverage_holds_where_the_validation_rows_train_in_the_end():
    X, y = draw(12_000, 5)
    model = EmbeddingClassifier(random_state=0, validation_fraction=0.3, **QUICK).fit(X[:8000], y[:8000])
    counts = X["shop"][8000:].map(X["shop"][:8000].value_counts()).fillna(0)
    hits = pd.Series(is_held(model.predict_set(X[8000:]), y[8000:]))
    np.testing.assert_allclose(hits.groupby(np.digitize(counts, BUCKETS)).mean(), 0.9, atol=0.04)


def test_a_set_is_a_row_of_booleans_by_class_and_holds_the_prediction(fitted):
    model, X = fitted
    part = X.sample(100, random_state=0)
    narrow, wide = (model.predict_set(part, coverage=share) for share in (0.5, 0.95))
    assert narrow.columns.tolist() == model.classes_.tolist()
    assert narrow.index.equals(part.index)
    assert set(narrow.dtypes) == {np.dtype(bool)}
    for sets in (narrow, wide):
        assert is_held(sets, model.predict(part)).all()
    assert (narrow <= wide).all(axis=None)
    assert narrow.sum(axis=None) < wide.sum(axis=None)


def test_the_classes_of_a_set_are_the_most_probable_ones(fitted):
    model, X = fitted
    sets, probability = model.predict_set(X).to_numpy(), model.predict_proba(X)
    least_in = np.where(sets, probability, np.inf).min(axis=1)
    most_out = np.where(sets, -np.inf, probability).max(axis=1)
    assert (least_in > most_out).all()


@pytest.mark.filterwarnings("ignore:X has many categories that training did not have")
def test_an_unseen_shop_has_a_larger_set_than_a_frequent_one(fitted):
    model, X = fitted
    counts = X["shop"].value_counts()
    rows = pd.DataFrame({"shop": counts.index[0], "size": np.linspace(-2, 2, 41)})
    known, new = (
        model.predict_set(rows.assign(shop=shop)).sum(axis=None) for shop in (counts.index[0], "new")
    )
    assert new > 1.3 * known


def test_where_the_most_probable_class_is_right_often_enough_it_stands_alone():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"shop": rng.choice([*"abcdef"], 2000)})
    y = np.where(rng.random(2000) < 0.97, X["shop"], "a")
    sets = EmbeddingClassifier(random_state=0, **QUICK).fit(X, y).predict_set(X)
    assert (sets.sum(axis=1) == 1).all()


def test_two_classes():
    X, y = draw(3000, 1, n_classes=2)
    model = EmbeddingClassifier(random_state=0, **QUICK).fit(X[:1500], y[:1500] == "a")
    sets = model.predict_set(X[1500:])
    assert sets.columns.tolist() == [False, True]
    assert is_held(sets, y[1500:] == "a").mean() == pytest.approx(0.9, abs=0.04)


def test_several_targets_have_a_frame_each():
    X, y = draw(3000, 2)
    targets = np.column_stack([y, np.where(X["size"] > 0, "big", "small")])
    model = EmbeddingClassifier(random_state=0, **QUICK).fit(X[:1500], targets[:1500])
    first, second = model.predict_set(X[1500:])
    assert first.columns.tolist() == ["a", "b", "c"]
    assert second.columns.tolist() == ["big", "small"]
    assert is_held(first, y[1500:]).mean() == pytest.approx(0.9, abs=0.05)
    assert (second.sum(axis=1) >= 1).all()


def test_labels_that_are_set_or_not_have_a_frame_each():
    X, y = draw(3000, 3)
    labels = np.column_stack([y == "a", y == "b"]).astype(int)
    model = EmbeddingClassifier(random_state=0, **QUICK).fit(X[:1500], labels[:1500])
    for sets, column in zip(model.predict_set(X[1500:]), labels[1500:].T, strict=True):
        assert sets.columns.tolist() == [0, 1]
        assert is_held(sets, column).mean() == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize(
    "classes",
    [
        [("a", 1), ("b", 2), "c"],
        [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2), datetime.date(2024, 1, 3)],
        [1.5, None, "x"],
    ],
)
def test_columns_are_labels_of_any_type(classes):
    X, y = draw(300, 0)
    labels = np.empty(300, dtype=object)
    labels[:] = [classes["abc".index(label)] for label in y]
    if None in classes:
        labels[labels == None] = "none"  # noqa: E711
    model = EmbeddingClassifier(random_state=0, **QUICK).fit(X, labels)
    assert model.predict_set(X).columns.tolist() == model.classes_.tolist()


def test_frames_of_all_kinds_pickles_and_files_have_the_same_sets(fitted, tmp_path):
    model, X = fitted
    expected = model.predict_set(X.head(50))
    pd.testing.assert_frame_equal(model.predict_set(pl.from_pandas(X.head(50))), expected)
    again = pickle.loads(pickle.dumps(model))
    pd.testing.assert_frame_equal(again.predict_set(X.head(50)), expected)
    tabemb.save(model, tmp_path / "m.tabemb")
    pd.testing.assert_frame_equal(tabemb.load(tmp_path / "m.tabemb").predict_set(X.head(50)), expected)


@pytest.mark.parametrize("changed", [{"columns": (5,)}, {"share": float("inf")}])
def test_a_file_with_sets_of_another_table_is_refused(fitted, tmp_path, changed):
    forged = pickle.loads(pickle.dumps(fitted[0]))
    forged.sets_ = replace(forged.sets_, **changed)
    tabemb.save(forged, tmp_path / "m.tabemb")
    with pytest.raises(ValueError, match="holds no model that can be used here"):
        tabemb.load(tmp_path / "m.tabemb")


@pytest.mark.parametrize("rows", [50, 500])
def test_without_validation_rows_the_error_says_what_to_do(rows):
    X, y = draw(500, 0)
    params = {**QUICK, "max_epochs": 2} if rows == 500 else {"hidden": (4,)}
    model = EmbeddingClassifier(random_state=0, **{**params, "early_stopping": "auto"}).fit(
        X[:rows], y[:rows]
    )
    with pytest.raises(ValueError, match=r"fit it with early_stopping=True, or pass eval_X and eval_y"):
        model.predict_set(X)


def test_a_coverage_beyond_the_validation_rows_is_an_error(fitted):
    model, X = fitted
    with pytest.raises(ValueError, match=r"coverage=0.999 needs more validation rows than the 200"):
        model.predict_set(X, coverage=0.999)
    with pytest.raises(ValueError, match="coverage must be above 0 and below 1; got 90"):
        model.predict_set(X, coverage=90)


def test_several_networks_calibrate_together():
    X, y = draw(800, 0)
    model = EmbeddingClassifier(random_state=0, n_networks=2, **QUICK).fit(X, y)
    assert is_held(model.predict_set(X), model.predict(X)).all()


def test_a_fit_that_goes_on_from_a_checkpoint_has_the_same_sets(tmp_path):
    X, y = draw(600, 0)
    fits = [
        EmbeddingClassifier(random_state=0, checkpoint=tmp_path, **QUICK).fit(X, y).predict_set(X)
        for _ in range(2)
    ]
    pd.testing.assert_frame_equal(*fits)


def test_events_have_sets():
    rng = np.random.default_rng(0)
    user, at = np.repeat(np.arange(150), 11), np.tile(np.arange(11), 150)
    X = pd.DataFrame({"user": user, "at": at, "item": rng.choice([*"abc"], len(at))})
    y = np.where(rng.random(len(at)) < 0.6, X["item"], rng.choice([*"abc"], len(at)))
    params = {**QUICK, "entity": "user", "time": "at"}
    del params["trees"]  # events have none
    model = EventClassifier(random_state=0, **params).fit(X[at < 10], y[at < 10])
    sets = model.predict_set(X[at == 10])
    assert sets.index.equals(X.index[at == 10])
    assert is_held(sets, y[at == 10]).mean() == pytest.approx(0.9, abs=0.08)
