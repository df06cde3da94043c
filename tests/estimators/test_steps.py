"""Histories whose events come in steps: lists of lists, and events of one time."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tabemb
from tabemb import (
    EmbeddingClassifier,
    EmbeddingRegressor,
    EventClassifier,
    HistoryJoiner,
    SequenceEncoder,
    Table,
)

NETWORK = {"hidden": (16,), "n_members": 2, "d_history": 8}
QUICK = {**NETWORK, "max_epochs": 2, "random_state": 0, "n_jobs": 1}


@pytest.fixture
def log():
    rng = np.random.default_rng(0)
    n = 600
    return pd.DataFrame(
        {
            "who": rng.integers(0, 60, n),
            "at": rng.integers(0, 8, n),
            "what": rng.choice(list("abcd"), n),
            "size": rng.normal(size=n),
        }
    )


@pytest.fixture
def rows(log):
    X = HistoryJoiner(log, entity="who", time="at", simultaneous="merge", name="log").fit_transform(
        pa.table({"who": np.arange(60)})
    )
    y = log[log["what"] == "a"].groupby("who").size().reindex(np.arange(60), fill_value=0)
    return X.drop_columns(["who"]), y.to_numpy(float)


def shuffled(X, seed=0):
    rng = np.random.default_rng(seed)
    steps = [[list(rng.permutation(step)) for step in row] for row in X["log"].to_pylist()]
    return pa.table({"log": pa.array(steps, X["log"].type)})


@pytest.mark.parametrize("history", ["gru", "lstm", "mean"])
def test_the_order_of_the_events_of_a_step_changes_no_prediction(rows, history):
    X, y = rows
    model = EmbeddingRegressor(**QUICK, history=history).fit(X, y)
    np.testing.assert_allclose(model.predict(shuffled(X)), model.predict(X), rtol=1e-5)
    other = pa.table({"log": pa.array([row[::-1] for row in X["log"].to_pylist()], X["log"].type)})
    assert not np.allclose(model.predict(other), model.predict(X), rtol=1e-4)


def test_events_of_a_step_are_counted():
    rng = np.random.default_rng(0)
    steps = [
        [["a"] * rng.integers(0, 4) + ["b"] * rng.integers(0, 4) for _ in range(3)] for _ in range(800)
    ]
    y = [float(sum(step.count("a") for step in row)) for row in steps]
    X = pd.DataFrame({"log": steps})
    settings = {**QUICK, "max_epochs": 12, "batch_size": 64, "learning_rate": 0.03, "n_members": 1}
    model = EmbeddingRegressor(**settings)
    assert model.fit(X[:700], y[:700]).score(X[700:], y[700:]) > 0.9


def test_polars_arrow_and_objects_of_pandas_give_the_same(rows):
    X, y = rows
    expected = EmbeddingRegressor(**QUICK).fit(X, y).predict(X)
    for other in (pl.from_arrow(X), pd.DataFrame({"log": X["log"].to_pylist()})):
        found = EmbeddingRegressor(**QUICK).fit(other, y).predict(other)
        np.testing.assert_array_equal(found, expected)
    arrays = pd.DataFrame({"log": pl.from_arrow(X).to_pandas()["log"]})  # arrays of arrays of dicts
    np.testing.assert_array_equal(EmbeddingRegressor(**QUICK).fit(arrays, y).predict(X), expected)


def test_a_model_of_steps_survives_its_file(rows, tmp_path):
    X, y = rows
    model = EmbeddingClassifier(**QUICK).fit(X, y > 2)
    tabemb.save(model, tmp_path / "model.tabemb")
    loaded = tabemb.load(tmp_path / "model.tabemb")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.spaces_["log.what"].vectors.tolist() == model.spaces_["log.what"].vectors.tolist()


def test_empty_steps_missing_steps_and_empty_histories_have_predictions(rows):
    X, y = rows
    model = EmbeddingRegressor(**QUICK).fit(X, y)
    event = X["log"][0].as_py()[0][0]
    others = [[], None, [[]], [None], [[event], [], [event]], [[None]], [[event] * 400], [[event]] * 700]
    found = model.predict(pa.table({"log": pa.array(others, X["log"].type)}))
    assert np.isfinite(found).all()
    assert found[0] == found[1]
    assert found[2] == found[3]
    alone = [model.predict(pa.table({"log": pa.array([other], X["log"].type)}))[0] for other in others]
    np.testing.assert_allclose(found, alone, rtol=1e-6)


@pytest.mark.parametrize("steps", [[[], None] * 20, [[[]], [[], []]] * 20, [[["a"]], []] * 20])
def test_histories_without_any_event_and_of_one_step_are_fitted(steps):
    X = pa.table({"log": pa.array(steps, pa.list_(pa.list_(pa.string()))), "x": np.arange(40.0)})
    model = EmbeddingRegressor(**QUICK).fit(X, np.arange(40.0))
    assert np.isfinite(model.predict(X)).all()
    assert model.summary() is not None
    assert all(np.isfinite(space.vectors).all() for space in model.spaces_.values())


def test_fields_of_steps_have_roles_tables_and_names(rows):
    X, y = rows
    model = EmbeddingRegressor(
        **QUICK, roles={"log.at": "ignored"}, tables={"kind": Table(["log.what"], dim=3)}
    ).fit(X, y)
    assert model.spaces_["kind"].categories.tolist() == sorted("abcd")
    assert list(model.encoder_.schema.histories["log"].roles) == ["log.at", "log.what", "log.size"]
    changed = [[[{**e, "at": 5} for e in step] for step in row] for row in X["log"].to_pylist()]
    changed = pa.table({"log": pa.array(changed, X["log"].type)})
    np.testing.assert_array_equal(model.predict(changed), model.predict(X))
    assert (model.importances(X, y, n_repeats=1)["importance"] != 0).all()


def test_max_events_counts_steps(rows):
    X, y = rows
    model = EmbeddingRegressor(**QUICK, max_events=2).fit(X, y)
    newest = [row[-2:] for row in X["log"].to_pylist()]
    newest = pa.table({"log": pa.array(newest, X["log"].type)})
    np.testing.assert_allclose(model.predict(newest), model.predict(X), rtol=1e-6)


def test_a_sequence_encoder_reads_steps(rows):
    X, _ = rows
    encoder = SequenceEncoder(d_history=8, max_epochs=1, random_state=0, n_jobs=1).fit(X)
    np.testing.assert_allclose(encoder.transform(shuffled(X)), encoder.transform(X), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("simultaneous", ["keep", "merge"])
def test_an_early_event_is_not_lost_among_four_hundred(simultaneous):
    rng = np.random.default_rng(0)
    n, n_events = 400, 401
    is_old = rng.integers(0, 2, n)
    what = rng.choice(list("abcdef"), (n, n_events))
    what[:, 0] = np.where(is_old, "o", "y")
    at = np.tile(np.arange(n_events) // 10, n)
    log = pd.DataFrame({"who": np.repeat(np.arange(n), n_events), "at": at, "what": what.ravel()})
    joiner = HistoryJoiner(log, entity="who", time="at", simultaneous=simultaneous)
    X = joiner.fit_transform(pd.DataFrame({"who": np.arange(n)}))[["history"]]
    model = EmbeddingClassifier(**{**QUICK, "max_epochs": 12, "learning_rate": 0.01})
    assert model.fit(X[:300], is_old[:300]).score(X[300:], is_old[300:]) > 0.95


# Events of one time in a log


def in_other_order(log, y):
    """Return the same log with the events of each time in another order."""
    order = np.random.default_rng(1).permutation(len(log))
    return log.iloc[order], y[order], order


def test_events_of_one_time_are_one_step_in_whatever_order(log):
    y = (log["what"] == "a").to_numpy()
    settings = {**QUICK, "entity": "who", "time": "at", "encounters": False, "early_stopping": False}
    model = EventClassifier(**settings, ties="merge").fit(log, y)
    later = log.assign(at=log["at"] + 10)
    expected = model.replay_proba(later, y)
    other, other_y, order = in_other_order(later, y)
    np.testing.assert_allclose(model.replay_proba(other, other_y), expected[order], rtol=1e-4)
    hidden = EventClassifier(**settings).fit(log, y)
    kept = hidden.replay_proba(later, y)
    assert not np.allclose(hidden.replay_proba(other, other_y), kept[order], rtol=1e-4)


def test_predictions_go_on_from_merged_steps(log, tmp_path):
    y = (log["what"] == "a").to_numpy()
    model = EventClassifier(**QUICK, entity="who", time="at", ties="merge").fit(log, y)
    later = log.assign(at=log["at"] + 10)
    expected = model.replay_proba(later, y)
    first = (later["at"] == 10).to_numpy()
    np.testing.assert_allclose(model.predict_proba(later[first]), expected[first], atol=1e-5)
    model.update(later[first], y[first])
    second = (later["at"] == 11).to_numpy()
    tabemb.save(model, tmp_path / "model.tabemb")
    loaded = tabemb.load(tmp_path / "model.tabemb")
    np.testing.assert_allclose(loaded.predict_proba(later[second]), expected[second], atol=1e-5)
