"""Updates that replay earlier rows forget nothing, leak nothing, and find new relations."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingRegressor
from tabemb.estimators.base import check_rows
from tabemb.estimators.growth import start_of
from tabemb.fitting import replay
from tabemb.training.loop import Budget

SMALL = {
    "hidden": (16,),
    "n_members": 1,
    "max_epochs": 12,
    "batch_size": 64,
    "learning_rate": 0.01,
    "random_state": 0,
    "n_jobs": 1,
}


def draw(n, groups, seed, slope=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"group": rng.choice(groups, n), "size": rng.normal(size=n)})
    return X, slope * X["size"].to_numpy() + shift + 0.1 * rng.normal(size=n)


def error(model, X, y):
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))


def after_nights(first, nights):
    model = pickle.loads(pickle.dumps(first))
    for X, y in nights:
        model.partial_fit(X, y)
    return model


@pytest.mark.slow
def test_what_new_rows_do_not_show_is_not_forgotten():
    first = EmbeddingRegressor(**SMALL).fit(*draw(800, ["a", "b"], 0))
    nights = [draw(100, ["c"], seed, slope=-1.0, shift=2.0) for seed in range(1, 6)]
    held = draw(400, ["a", "b"], 9)
    replayed = after_nights(first, nights)
    alone = after_nights(pickle.loads(pickle.dumps(first)).forget_rows(), nights)
    before = error(first, *held)
    assert error(replayed, *held) < before + 0.3
    assert error(alone, *held) > error(replayed, *held) + 0.5
    assert error(replayed, *draw(400, ["c"], 10, slope=-1.0, shift=2.0)) < 0.7


def test_a_relation_of_later_nights_is_found_by_new_trees():
    def rows(n, seed, far):
        rng = np.random.default_rng(seed)
        X = pd.DataFrame({"u": rng.uniform(-1, 1, n), "v": rng.uniform(-1, 1, n)})
        if not far:
            X["v"] = X["v"].abs()
        return X, 3 * np.sign(X["u"] * X["v"]).to_numpy() + 0.1 * rng.normal(size=n)

    first = EmbeddingRegressor(**SMALL).fit(*rows(1200, 0, far=False))
    model = after_nights(first, [rows(200, 1, far=True)])
    assert model.trees_.texts == first.trees_.texts  # the rows have not grown by a quarter
    model = after_nights(model, [rows(600, 2, far=True)])
    assert model.trees_.texts != first.trees_.texts
    held = rows(400, 3, far=True)
    assert error(model, *held) < 0.5 * error(first, *held)


def test_scores_of_kept_rows_are_those_of_trees_that_did_not_see_them():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"u": rng.normal(size=1800), "v": rng.normal(size=1800)})
    y = X["u"].to_numpy() + 2 * rng.normal(size=1800)
    first = EmbeddingRegressor(**SMALL).fit(X[:1200], y[:1200])
    model = after_nights(first, [(X[1200:1300], y[1200:1300]), (X[1300:], y[1300:])])
    for fitted in (first, model):
        kept = fitted.growth_.kept
        noise = kept.y - kept.inputs.numbers[:, 0].numpy() * X["u"].std()
        numbers = kept.inputs.numbers.numpy()
        seen = fitted.trees_(np.zeros((len(numbers), 0), int), numbers)[:, 0]
        assert abs(np.corrcoef(kept.scores[:, 0], noise)[0, 1]) < 0.1
        assert np.corrcoef(seen, noise)[0, 1] > 0.12


def test_an_effect_of_a_kept_row_does_not_hold_its_target():
    X = pd.DataFrame({"kind": ["a", "b", "c"] * 100})
    y = np.random.default_rng(0).normal(size=300) + (X["kind"] == "a") * 5
    model = EmbeddingRegressor(**SMALL).fit(X[:200], y[:200])
    start = start_of(model, model)
    rows = check_rows(X[200:], y[200:], None, numeric=True, estimator=model)
    night = model._recipe(rows, start, None)
    prepared = night.prepare(rows)
    holdout = night.hold_out(prepared, None)
    encoder = night.fit_encoder(prepared)
    batch = night.encode(encoder, prepared)
    sample = night.fit_trees(night.sample(batch, holdout), Budget())
    _, out_of_fold = night.fit_effects(encoder, batch, holdout, sample)
    features = out_of_fold(np.random.default_rng(1).permutation(300))
    counts = np.expm1(features[:, 0, -1] * out_of_fold.effects.count_units_[0])
    # a batch of all rows has ten folds: each row reads about 90 others of its kind
    assert counts.min() > 80
    assert counts.max() < 99


def test_a_night_trains_as_long_as_the_first_fit_did_for_as_many_rows():
    model = EmbeddingRegressor(**SMALL).fit(*draw(400, ["a", "b"], 0))
    start = start_of(model, model)
    for n, epochs, rate in ((4, 1, 12 * 4 / 404), (44, 1, 1.0), (200, 4, 1.0), (1200, 9, 1.0)):
        rows = check_rows(*draw(n, ["a", "b"], 1), None, numeric=True, estimator=model)
        schedule = model._recipe(rows, start, None).schedule
        assert schedule.n_epochs == epochs
        assert schedule.rate == schedule.table_rate == pytest.approx(rate)


def test_a_sample_stays_a_sample_through_files(tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "MOST_KEPT", 150)
    first = EmbeddingRegressor(**SMALL).fit(*draw(400, ["a", "b"], 0))
    nights = [draw(60, ["a", "b", "c"], seed) for seed in (1, 2)]
    grown = after_nights(first, nights)
    assert len(grown.growth_.kept) == 150
    assert grown.growth_.kept.total == 520
    tabemb.save(first, tmp_path / "first")
    loaded = tabemb.load(tmp_path / "first").partial_fit(*nights[0])
    tabemb.save(loaded, tmp_path / "second")
    loaded = tabemb.load(tmp_path / "second").partial_fit(*nights[1])
    assert np.array_equal(loaded.growth_.kept.y, grown.growth_.kept.y)
    X = nights[0][0]
    assert np.array_equal(loaded.predict(X), grown.predict(X))
    assert np.array_equal(loaded.spaces_["group"].vectors, grown.spaces_["group"].vectors)


def test_rows_are_forgotten_on_request(tmp_path):
    model = EmbeddingRegressor(**SMALL).fit(*draw(400, ["a", "b"], 0))
    tabemb.save(model, tmp_path / "with")
    before = model.predict(draw(9, ["a"], 1)[0])
    assert model.forget_rows() is model
    assert np.array_equal(model.predict(draw(9, ["a"], 1)[0]), before)
    tabemb.save(model, tmp_path / "without")
    sizes = [(tmp_path / name).stat().st_size for name in ("with", "without")]
    assert sizes[0] - sizes[1] > 400 * 8
    loaded = tabemb.load(tmp_path / "without").partial_fit(*draw(100, ["a"], 2))
    assert loaded.growth_.kept is None


def test_a_file_whose_kept_rows_do_not_fit_is_refused(tmp_path):
    model = EmbeddingClassifier(**SMALL).fit(pd.DataFrame({"a": ["x", "y"] * 60}), [0, 1] * 60)
    kept = model.growth_.kept
    kept.inputs.codes[3, 0] = 99
    tabemb.save(model, tmp_path / "model")
    with pytest.raises(ValueError, match="its kept rows have codes that are none of its categories"):
        tabemb.load(tmp_path / "model")
    kept.inputs.codes[3, 0] = 2
    model.growth_ = replace(model.growth_, kept=replace(kept, y=np.arange(120)))
    tabemb.save(model, tmp_path / "model")
    with pytest.raises(ValueError, match="holds no model that can be used here"):
        tabemb.load(tmp_path / "model")


@pytest.mark.slow
def test_new_classes_follow_kept_rows_with_trees():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.choice(["x", "y"], 1600), "u": rng.normal(size=1600)})
    X.loc[rng.choice(np.arange(1200, 1600), 130, replace=False), "a"] = "z"
    y = np.where(X["u"] > 0, "p", "q")
    model = EmbeddingClassifier(**SMALL).fit(X[:1200], y[:1200])
    assert model.trees_.responses.tolist() == [0]
    later = np.where(X["a"] == "z", "o", y)
    model.partial_fit(X[1200:1400], later[1200:1400], classes=["o", "p", "q"])
    assert model.trees_.responses.tolist() == [2]
    model.partial_fit(X[1400:], later[1400:])
    assert model.trees_.responses.tolist() == [2]
    assert model.score(X[1400:], later[1400:]) > 0.7
