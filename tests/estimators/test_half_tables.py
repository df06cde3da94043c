"""Tables in half precision in the estimators: the same answers, half the bytes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingEncoder, EmbeddingRegressor, Table
from tabemb.network.halves import HALF

FAST = {
    "hidden": (16,),
    "n_members": 2,
    "max_epochs": 5,
    "batch_size": 128,
    "learning_rate": 0.01,
    "trees": False,
    "random_state": 0,
    "n_jobs": 1,
}


def half(**settings):
    return {"shop": Table(["shop"], precision="bfloat16", describe=None, **settings)}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    effect = rng.normal(size=200)
    shop = rng.integers(0, 200, 4000)
    frame = pd.DataFrame({"shop": [f"s{i}" for i in shop], "size": rng.normal(size=4000)})
    return frame, effect[shop] + frame["size"] + 0.3 * rng.normal(size=4000)


@pytest.fixture(scope="module")
def model(rows):
    return EmbeddingRegressor(**FAST, tables=half()).fit(rows[0][:3000], rows[1][:3000])


def error(model, rows):
    return float(np.sqrt(np.mean((model.predict(rows[0][3000:]) - rows[1][3000:]) ** 2)))


def test_the_error_is_that_of_float32(model, rows):
    whole = EmbeddingRegressor(**FAST, tables={"shop": Table(["shop"], describe=None, sparse=True)})
    whole.fit(rows[0][:3000], rows[1][:3000])
    assert error(model, rows) < 1.03 * error(whole, rows)
    weights = model.network_.tables.groups[0].weight, whole.network_.tables.groups[0].weight
    assert weights[0].dtype is HALF
    assert 2 * weights[0].nbytes == weights[1].nbytes


def test_the_same_seed_gives_the_same_model(model, rows):
    again = clone(model).fit(rows[0][:3000], rows[1][:3000])
    assert again.predict(rows[0][3000:]).tolist() == model.predict(rows[0][3000:]).tolist()


def test_a_file_has_half_the_bytes_and_gives_the_same_answers(rows, tmp_path):
    frame = pd.DataFrame({"shop": [f"s{i % 4000}" for i in range(8000)]})
    settings = {**FAST, "max_epochs": 1, "batch_size": 1024, "effects": False}
    sizes = {}
    for precision in ("float32", "bfloat16"):
        table = Table(["shop"], dim=64, precision=precision, describe=None)
        model = EmbeddingRegressor(**settings, tables={"shop": table}).fit(frame, np.arange(8000) % 7)
        model.forget_rows()
        path = tmp_path / precision
        tabemb.save(model, path)
        sizes[precision] = path.stat().st_size
        loaded = tabemb.load(path)
        assert loaded.predict(frame[:2000]).tolist() == model.predict(frame[:2000]).tolist()
        assert loaded.predict(frame[:3]).tolist() == model.predict(frame[:3]).tolist()
    assert sizes["float32"] - sizes["bfloat16"] == pytest.approx(4002 * 64 * 2, rel=0.01)


@pytest.mark.slow
def test_spaces_nights_and_checkpoints(model, rows, tmp_path):
    assert model.spaces_.raw["shop"].vectors.dtype == np.float32
    grown = clone(model).fit(rows[0][:3000], rows[1][:3000])
    grown.partial_fit(rows[0][3000:].assign(shop="new"), np.full(1000, 3.0))
    assert grown.network_.tables.groups[0].weight.dtype is HALF
    assert np.isfinite(grown.predict(rows[0][3000:])).all()
    checked = clone(model).set_params(checkpoint=tmp_path)
    first = checked.fit(rows[0][:3000], rows[1][:3000]).predict(rows[0][3000:])
    again = clone(checked).fit(rows[0][:3000], rows[1][:3000]).predict(rows[0][3000:])
    assert first.tolist() == model.predict(rows[0][3000:]).tolist()
    assert again.tolist() == first.tolist()


def test_a_classifier_with_a_history_and_an_encoder(rows):
    frame, y = rows
    bags = pd.DataFrame({"shops": [[a, b] for a, b in zip(frame["shop"], np.roll(frame["shop"], 1))]})
    tables = {"shops": Table(["shops"], precision="bfloat16", max_norm=1.0)}
    settings = {**FAST, "max_epochs": 2, "tables": tables}
    model = EmbeddingClassifier(**settings).fit(bags[:600], y[:600] > 0)
    assert np.isfinite(model.predict_proba(bags[:5])).all()
    estimator = EmbeddingRegressor(**{**FAST, "max_epochs": 1}, tables=half())
    encoder = EmbeddingEncoder(estimator=estimator, columns=["shop"], cv=2, random_state=0)
    assert np.isfinite(encoder.fit_transform(frame[:600], y[:600])).all(axis=None)


def test_onnx_has_the_same_answers(model, rows, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    tabemb.to_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    later = rows[0][3000:3100]
    (prediction,) = session.run(["prediction"], tabemb.onnx_inputs(model, later))
    np.testing.assert_allclose(prediction.ravel(), model.predict(later), atol=1e-4)


def test_settings_that_contradict_one_another_are_refused(rows):
    cases = [
        ({"precision": "float16"}, "precision must be 'float32' or 'bfloat16'; got 'float16'"),
        ({"sparse": False}, "sparse must be True or None with precision='bfloat16'"),
        ({"frozen": True, "pretrained": pd.DataFrame([[1.0]], ["s1"])}, "frozen vectors stay as they"),
    ]
    for settings, message in cases:
        tables = {"shop": Table(["shop"], **{"precision": "bfloat16", **settings})}
        with pytest.raises(ValueError, match=f"Table 'shop': {message}"):
            EmbeddingRegressor(**FAST, tables=tables).fit(*rows)
