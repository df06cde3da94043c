"""Event estimators as ONNX files: raw events of an entity give the predictions of its state."""

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb import EventClassifier, EventRegressor

pytest.importorskip("onnx", reason="onnx is not installed: pip install tabemb[onnx]")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: tabemb[onnx]")
SMALL = {
    "hidden": (16,),
    "d_history": 8,
    "max_epochs": 1,
    "batch_size": 64,
    "random_state": 0,
    "n_jobs": 1,
}
SMALL |= {"entity": "user", "time": "at", "outcome_fields": ["late"], "roles": {"k": "categorical"}}
CLOSE = 1e-5
START = pd.Timestamp("2020-01-01")


def log(n=900, unit="us", seed=0):
    """Return events of 40 users, some simultaneous, and a target from fields and earlier events."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "user": rng.integers(0, 40, n),
            "at": START + pd.to_timedelta(rng.integers(0, 150, n), unit="h"),
            "item": rng.choice(["p", "q", "", None], n),
            "k": rng.choice([0.5, 1.5, np.nan], n),
            "x": rng.normal(size=n),
            "late": rng.random(n),
        }
    )
    X["at"] = (
        (X["at"] - START) // pd.Timedelta("1h")
        if unit is None
        else X["at"].astype(f"datetime64[{unit}]")
    )
    return X, (X.x + (X["item"] == "p") + 0.3 * rng.normal(size=n)).to_numpy()


def later_events(X):
    """Return events after the log, of known and new users, with unseen items."""
    later = X.sample(150, random_state=1).reset_index(drop=True).drop(columns="late")
    later["at"] = X["at"].max()
    later.loc[:9, "user"], later.loc[5:20, "item"] = 999, "never"
    return later


def assert_same(model, X, y, folder):
    later = later_events(X)
    tabemb.to_onnx(model, folder / "m.onnx")
    session = ort.InferenceSession(str(folder / "m.onnx"))
    names = [output.name for output in session.get_outputs()]
    given = dict(zip(names, session.run(None, tabemb.onnx_inputs(model, later, X, y))))
    is_class = hasattr(model, "predict_proba")
    expected = model.predict_proba(later) if is_class else model.predict(later)
    kind = "probabilities" if is_class else "prediction"
    for i, of_target in enumerate(expected if isinstance(expected, list) else [expected]):
        ending = f"_{i}" if isinstance(expected, list) else ""
        np.testing.assert_allclose(given[f"{kind}{ending}"], of_target, rtol=0, atol=CLOSE)


EVERY_SETTING = [
    {},
    {"ties": "order", "history": "lstm", "example_age": True},
    {"history": "mean", "n_networks": 2},
    {"encounters": False},
    {"ties": "merge"},
    {"ties": "merge", "history": "mean", "n_networks": 2},
]
UNITS = ["us", "ns", "s", None]


@pytest.mark.parametrize(
    ("settings", "unit"),
    [
        # every unit with the defaults, every setting with one unit
        pytest.param(settings, unit, marks=pytest.mark.slow if settings and unit != UNITS[i % 4] else [])
        for i, settings in enumerate(EVERY_SETTING)
        for unit in UNITS
    ],
    ids=str,
)
def test_the_events_of_an_entity_give_the_prediction_of_its_kept_state(settings, unit, tmp_path):
    X, y = log(unit=unit)
    assert_same(EventRegressor(**SMALL, **settings).fit(X, y), X, y, tmp_path)


def labels(y, kind):
    if kind == "two classes":
        return np.where(y > 0, "a", "b")
    if kind == "booleans":
        return y > 0
    three = np.array(["a", "b", "c"])[np.digitize(y, [0, 1])]
    if kind == "two targets":
        return np.stack([three, np.where(y > 0, "u", "v")], 1)
    return np.stack([y > 0, y > 1], 1).astype(int) if kind == "labels" else three


@pytest.mark.parametrize("kind", ["two classes", "booleans", "three classes", "labels", "two targets"])
def test_earlier_classes_are_read(kind, tmp_path):
    X, y = log()
    y = labels(y, kind)
    assert_same(EventClassifier(**SMALL).fit(X, y), X, y, tmp_path)


def test_vectors_of_classes_are_those_of_earlier_ones(tmp_path):
    X, y = log()
    y = labels(y, "three classes")
    assert_same(EventClassifier(**SMALL, class_vectors=True).fit(X, y), X, y, tmp_path)


@pytest.mark.parametrize("loss", ["poisson", "absolute_percentage_error"])
def test_earlier_numbers_are_read_in_the_unit_of_the_target(loss, tmp_path):
    X, y = log()
    y = np.abs(y) + 0.1
    assert_same(EventRegressor(**SMALL, loss=loss).fit(X, y), X, y, tmp_path)


@pytest.mark.filterwarnings("ignore:X has many categories")
def test_events_that_update_has_read_are_read_from_the_log_too(tmp_path):
    X, y = log()
    first, second = X["at"] <= X["at"].median(), X["at"] > X["at"].median()
    model = EventRegressor(**SMALL).fit(X[first], y[first]).update(X[second], y[second])
    assert_same(model, X, y, tmp_path)


def test_earlier_events_come_with_their_targets_and_for_a_log_alone():
    X, y = log()
    model = EventRegressor(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="must be passed together"):
        tabemb.onnx_inputs(model, later_events(X), X)
    rows = tabemb.EmbeddingRegressor(max_epochs=1, batch_size=64, trees=False).fit(X[["item"]], y)
    with pytest.raises(ValueError, match="reads no log"):
        tabemb.onnx_inputs(rows, X, X, y)
