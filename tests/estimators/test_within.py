"""Numbers of events whose meaning depends on a category, in the estimators."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tabemb
from tabemb import EmbeddingRegressor, EventClassifier, EventRegressor, SequenceEncoder
from tabemb.data import encoding

SETTINGS = {
    "history": "mean",
    "hidden": (32,),
    "n_members": 1,
    "batch_size": 32,
    "effects": False,
    "random_state": 0,
    "n_jobs": 1,
}
QUICK = {"hidden": (8,), "n_members": 1, "d_history": 8, "max_epochs": 1, "random_state": 0, "n_jobs": 1}
KINDS = [f"k{i:02d}" for i in range(40)]
CENTERS = 10 ** np.linspace(-2, 6, 40)
SIGNS = np.where(np.arange(40) % 2, 1, -1)


def planted(n, seed=0, kinds=40):
    """Return rows with events, and as target the sum of their values on the scales of their kinds."""
    rng = np.random.default_rng(seed)
    rows, y = [], np.zeros(n)
    for i in range(n):
        of_row, z = rng.integers(0, kinds, rng.integers(1, 6)), rng.normal(size=5)
        rows.append(
            [{"what": KINDS[k], "value": CENTERS[k] * (1 + 0.02 * x)} for k, x in zip(of_row, z)]
        )
        y[i] = sum(SIGNS[k] * x for k, x in zip(of_row, z))
    return pd.DataFrame({"events": rows}), y


def error(model, X, y):
    return np.sqrt(np.mean((model.predict(X) - y) ** 2)) / y.std()


@pytest.fixture(scope="module")
def fitted():
    X, y = planted(1000)
    return EmbeddingRegressor(**SETTINGS, max_epochs=12, learning_rate=0.02).fit(X, y)


def test_a_value_that_means_something_within_its_category_only_is_learned(fitted, monkeypatch):
    X, y = planted(500, seed=1)
    assert error(fitted, X, y) < 0.35
    monkeypatch.setattr(encoding, "find_within", lambda *args: None)
    plain = EmbeddingRegressor(**SETTINGS, max_epochs=12, learning_rate=0.02).fit(*planted(1000))
    assert error(plain, X, y) > 0.7


def test_summary_and_spaces_say_what_was_scaled(fitted):
    assert fitted.summary().facts["numbers scaled"] == "events.value within what"
    lines = fitted.summary().columns.set_index("column")
    assert lines.loc["events.value", "table"] == "events.what x value"
    labels = fitted.spaces_["events.what x value"].categories
    assert lines.loc["events.value", "levels"] == len(labels) > 100
    assert {label.split(" ")[0] for label in labels} == set(KINDS)


def test_unseen_missing_and_rare_have_predictions_and_one_row_is_enough(fitted):
    events = [
        {"what": "new", "value": 5.0},
        {"what": None, "value": 5.0},
        {"what": KINDS[3], "value": None},
        {"what": KINDS[3], "value": 1e300},
        {"what": KINDS[3], "value": CENTERS[3]},
    ]
    X = pd.DataFrame({"events": [[event] for event in events]})
    together = fitted.predict(X)
    assert np.isfinite(together).all()
    alone = [fitted.predict(X.iloc[[i]])[0] for i in range(len(X))]
    np.testing.assert_allclose(alone, together, rtol=1e-6)


def test_values_of_an_unseen_category_decide_little(fitted):
    """An unseen category has no scale, so its values must matter less than those of the others."""
    X = pd.DataFrame({"events": [[{"what": "new", "value": v}] for v in np.geomspace(0.01, 1e6, 50)]})
    known = pd.DataFrame(
        {"events": [[{"what": KINDS[20], "value": CENTERS[20] * (1 + z)}] for z in (-0.04, 0.04)]}
    )
    assert np.ptp(fitted.predict(X)) < np.ptp(fitted.predict(known))


def test_libraries_of_frames_and_files_give_the_same_predictions(fitted, tmp_path):
    X, _ = planted(20, seed=2)
    predictions = fitted.predict(X)
    table = pa.Table.from_pandas(X)
    np.testing.assert_array_equal(fitted.predict(table), predictions)
    np.testing.assert_array_equal(fitted.predict(pl.from_arrow(table)), predictions)
    tabemb.save(fitted, tmp_path / "model.tabemb")
    again = tabemb.load(tmp_path / "model.tabemb")
    np.testing.assert_array_equal(again.predict(X), predictions)
    assert again.summary().facts["numbers scaled"] == "events.value within what"


# Events and sequences


def log_of(n=60, seed=0):
    """Return a log whose answer is whether the event is above the median of its kind."""
    rng = np.random.default_rng(seed)
    k = rng.integers(0, 5, n * 10)
    z = rng.normal(size=n * 10)
    frame = {"who": np.repeat(np.arange(n), 10), "at": np.tile(np.arange(10.0), n)}
    log = pd.DataFrame(
        {**frame, "what": np.array(KINDS)[k * 8], "value": CENTERS[k * 8] * (1 + 0.1 * z)}
    )
    return log, z


@pytest.mark.filterwarnings("ignore:X has many categories that training did not have")
@pytest.mark.parametrize("model", [EventClassifier, EventRegressor])
def test_an_event_and_those_before_it_are_scaled_alike(model, tmp_path):
    log, z = log_of()
    y = z > 0 if model is EventClassifier else z
    fitted = model(entity="who", time="at", outcome_fields=["late"], **QUICK)
    fitted.fit(log.assign(late=np.tile(["a", "b"], 300)), y)
    encoder = fitted.encoder_
    rows, earlier = encoder.inputs_
    assert rows.within["value"].by == "what"
    assert earlier.within["earlier.value"].by == "earlier.what"
    np.testing.assert_array_equal(rows.within["value"].units, earlier.within["earlier.value"].units)
    table = encoder.schema.tables["what x value"]
    assert table.columns == ["what x value", "earlier.what x value"]
    assert encoder.vocabularies_["what x value"].counts.sum() == 2 * len(log)
    new = log.groupby("who").tail(1).assign(at=20.0)
    before = fitted.predict(new.head(3))
    tabemb.save(fitted, tmp_path / "model.tabemb")
    np.testing.assert_array_equal(tabemb.load(tmp_path / "model.tabemb").predict(new.head(3)), before)
    fitted.update(new.assign(late="a"), y[9::10])
    later = new.assign(at=21.0, what="new", value=None)
    assert np.isfinite(np.asarray(fitted.predict(later), float)).all()


def test_effects_intervals_and_importances_of_an_event_that_is_scaled():
    log, z = log_of()
    model = EventRegressor(entity="who", time="at", early_stopping=True, **QUICK).fit(log, z)
    effects = model.effects_frame("what x value").set_index("level")["effect"]
    of_kind = effects[effects.index.notna() & effects.index.astype(str).str.startswith(f"{KINDS[8]} ")]
    assert of_kind.is_monotonic_increasing
    assert len(of_kind) >= 4
    new = log.groupby("who").tail(1).assign(at=20.0)
    assert np.isfinite(np.asarray(model.predict_interval(new), float)).all()
    importances = model.importances(new, z[9::10], n_repeats=1).set_index("column")["importance"]
    assert importances.idxmax() == "value"


def test_the_value_of_an_event_is_learned_within_its_category():
    log, z = log_of(200)
    model = EventClassifier(entity="who", time="at", **(QUICK | {"max_epochs": 8}), learning_rate=0.01)
    model.fit(log, z > 0)
    new, z = log_of(40, seed=1)
    assert (model.predict(new.assign(who=new["who"] + 1000, at=0.0)) == (z > 0)).mean() > 0.9


def test_sequences_scale_their_events():
    X, _ = planted(150, kinds=6)
    encoder = SequenceEncoder(d_history=8, max_epochs=1, random_state=0, n_jobs=1).fit(X)
    assert encoder.summary().facts["numbers scaled"] == "events.value within what"
    assert np.isfinite(np.asarray(encoder.transform(X))).all()


def test_roles_decide_which_fields_take_part():
    X, y = planted(150, kinds=6)
    plain = EmbeddingRegressor(**QUICK, roles={"events.what": "ignored"}).fit(X, y)
    assert "numbers scaled" not in plain.summary().facts
