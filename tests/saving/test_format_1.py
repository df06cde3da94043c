"""Files of tabemb 0.1 still load and predict the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import tabemb

FOLDER = Path(__file__).parent / "format_1"
PREDICTIONS = np.load(FOLDER / "predictions.npz")


def load(name):
    return tabemb.load(FOLDER / f"{name}.tabemb")


@pytest.fixture
def rows():
    return pd.read_parquet(FOLDER / "rows.parquet")


@pytest.fixture
def log():
    return pd.read_parquet(FOLDER / "log.parquet")


def test_classifier_with_a_table(rows):
    model = load("classifier")
    np.testing.assert_allclose(model.predict_proba(rows), PREDICTIONS["classifier"], atol=1e-6)
    assert model.spaces_["city"].vectors.shape[1] == 3


def test_regressor_without_offsets_has_no_biases(rows):
    model = load("regressor")
    np.testing.assert_allclose(model.predict(rows), PREDICTIONS["regressor"], atol=1e-6)
    assert model.biases is False
    assert set(model.learning_curve_) == {"epoch", "seconds", "train_loss", "eval_loss"}


@pytest.mark.parametrize(("name", "method"), [("histories", "predict"), ("sequences", "transform")])
def test_lists_of_events(name, method):
    histories = pq.read_table(FOLDER / "histories.parquet")
    found = getattr(load(name), method)(histories)
    np.testing.assert_allclose(found, PREDICTIONS[name], atol=1e-6)


def test_events_go_on_from_the_states_in_the_file(log):
    model = load("events")
    new = log.drop(columns="result").assign(at=9000)
    np.testing.assert_allclose(model.predict_proba(new), PREDICTIONS["events"], atol=1e-6)
    assert model.encounters is True
    later = log.assign(at=9001)
    model.update(later, log["what"] == "buy")  # the states can be updated, too
    assert not np.allclose(model.predict_proba(new.assign(at=9002)), PREDICTIONS["events"])


def test_encoder_with_the_estimator_it_was_given(rows):
    model = load("encoder")
    found = model.transform(rows).select_dtypes("number").to_numpy()
    np.testing.assert_allclose(found, PREDICTIONS["encoder"], atol=1e-6)
    assert model.pairs_ == [(model.columns_[a], model.columns_[b]) for a, b in model.pair_codes_.pairs]


def test_a_file_of_format_1_is_saved_again_as_the_present_format(rows, tmp_path):
    tabemb.save(load("regressor"), tmp_path / "again.tabemb")
    found = tabemb.load(tmp_path / "again.tabemb").predict(rows)
    np.testing.assert_allclose(found, PREDICTIONS["regressor"], atol=1e-6)
